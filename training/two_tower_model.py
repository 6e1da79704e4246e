"""The two-tower model: no I/O, no training loop."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.export_onnx import EncoderWeights
from training.features import Features

SIDE_DIM = 8  # size of the embeddings of age bin and country
CONTENT_DIM = 32  # size of the embeddings of author; half of it for publisher and year bin


class ReaderTower(nn.Module):
    """(reader index, age bin, country) to a unit vector; index 0 means unknown."""

    def __init__(self, readers: int, ages: int, countries: int, dim: int) -> None:
        super().__init__()
        width = dim + 2 * SIDE_DIM
        self.reader = _table(readers + 1, dim)
        self.age, self.country = _table(ages + 1, SIDE_DIM), _table(countries + 1, SIDE_DIM)
        self.skip = nn.Linear(width, dim, bias=False)
        self.hidden, self.output = nn.Linear(width, dim), nn.Linear(dim, dim)
        with torch.no_grad():
            self.skip.weight.copy_(torch.eye(dim, width))

    def forward(self, reader: Tensor, age: Tensor, country: Tensor) -> Tensor:
        """Unit vectors [batch, dim]."""
        x = torch.cat([self.reader(reader), self.age(age), self.country(country)], dim=1)
        return F.normalize(self.skip(x) + self.output(F.relu(self.hidden(x))), dim=1)

    def weights(self) -> EncoderWeights:
        """The weights as the ONNX graph wants them: matrices [in, out]."""
        values = {name: value.detach().numpy() for name, value in self.state_dict().items()}
        return EncoderWeights(
            reader=values["reader.weight"],
            age=values["age.weight"],
            country=values["country.weight"],
            skip=values["skip.weight"].T,
            hidden=values["hidden.weight"].T,
            hidden_bias=values["hidden.bias"],
            output=values["output.weight"].T,
            output_bias=values["output.bias"],
        )


class WorkTower(nn.Module):
    """(work index, author, publisher, year bin, title embedding) to a unit vector."""

    def __init__(self, features: Features, dim: int) -> None:
        super().__init__()
        n_works, title_dim = features.titles.shape
        sizes = features.sizes
        self.work = _table(n_works, dim)
        self.author = _table(sizes["author"], CONTENT_DIM)
        self.publisher = _table(sizes["publisher"], CONTENT_DIM // 2)
        self.year = _table(sizes["year"], CONTENT_DIM // 2)
        self.title = nn.Linear(title_dim, dim)
        width = 2 * CONTENT_DIM + dim
        self.hidden, self.output = nn.Linear(width, 2 * dim), nn.Linear(2 * dim, dim)
        self.register_buffer("author_of", torch.from_numpy(features.work_author), persistent=False)
        self.register_buffer("publisher_of", torch.from_numpy(features.work_publisher), persistent=False)
        self.register_buffer("year_of", torch.from_numpy(features.work_year), persistent=False)
        self.register_buffer("titles", torch.from_numpy(features.titles), persistent=False)

    def forward(self, works: Tensor) -> Tensor:
        """Unit vectors [batch, dim] of work indices [batch]."""
        content = torch.cat(
            [
                self.author(self.author_of[works]),
                self.publisher(self.publisher_of[works]),
                self.year(self.year_of[works]),
                self.title(self.titles[works]),
            ],
            dim=1,
        )
        return F.normalize(self.work(works) + self.output(F.relu(self.hidden(content))), dim=1)


class TwoTower(nn.Module):
    """Both towers."""

    def __init__(self, features: Features, dim: int, reader_dropout: float) -> None:
        super().__init__()
        ages, countries = len(features.age_bins), len(features.countries)
        self.readers = ReaderTower(len(features.reader_age), ages, countries, dim)
        self.works = WorkTower(features, dim)
        self.reader_dropout = reader_dropout
        self.register_buffer("age_of", torch.from_numpy(features.reader_age), persistent=False)
        self.register_buffer("country_of", torch.from_numpy(features.reader_country), persistent=False)

    def forward(self, readers: Tensor, works: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of reader rows and of work indices.

        In training a share of the readers is made unknown, so that the tower learns to encode
        those who come later from age bin and country alone.
        """
        index = readers + 1
        if self.training and self.reader_dropout:
            index = index * (torch.rand(len(index)) >= self.reader_dropout)
        return self.readers(index, self.age_of[readers], self.country_of[readers]), self.works(works)

    @torch.no_grad()
    def tables(self) -> tuple[Tensor, Tensor]:
        """Vectors of all trained readers and of all works."""
        readers = torch.arange(len(self.age_of))
        works = torch.arange(len(self.works.titles))
        vectors = [self.works(part) for part in works.split(8192)]
        return self.readers(readers + 1, self.age_of, self.country_of), torch.cat(vectors)


def _table(rows: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=dim**-0.5 / 4)
    return table
