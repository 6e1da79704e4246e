"""The two-tower model: no I/O, no training loop."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.export_onnx import EncoderWeights
from training.features import Features
from training.histories import Bags
from training.spectral import Start

SIDE_DIM = 8  # size of the embeddings of age bin and country
CONTENT_DIM = 32  # size of the embeddings of author and series; half of it for publisher and year bin
BATCH = 8192  # works whose vectors are made at a time
M = TypeVar("M", bound=nn.Module)


class ReaderTower(nn.Module):
    """(reader index, age bin, country, history) to a unit vector; index 0 means unknown.

    It begins as the history alone: the embedding of readers and the deep part begin at zero.
    """

    def __init__(self, readers: int, ages: int, countries: int, dim: int) -> None:
        super().__init__()
        width = 2 * dim + 2 * SIDE_DIM
        self.reader = _zeros(nn.Embedding(readers + 1, dim))
        self.age, self.country = _table(ages + 1, SIDE_DIM), _table(countries + 1, SIDE_DIM)
        self.skip = nn.Linear(width, dim, bias=False)
        self.hidden, self.output = nn.Linear(width, dim), _zeros(nn.Linear(dim, dim))
        with torch.no_grad():
            same = torch.eye(dim)
            self.skip.weight.copy_(torch.cat([same, same, torch.zeros(dim, 2 * SIDE_DIM)], dim=1))

    def forward(self, reader: Tensor, age: Tensor, country: Tensor, history: Tensor) -> Tensor:
        """Unit vectors [batch, dim]; a reader beyond the table counts as its last row."""
        known = self.reader(reader.clamp(max=self.reader.num_embeddings - 1))
        x = torch.cat([known, history, self.age(age), self.country(country)], dim=1)
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
    """(work index, author, series, publisher, year bin, title embedding) to a unit vector.

    In training a share of the works with content are made known by it alone, so that a work that few have read gets a
    vector that means something.
    """

    def __init__(self, features: Features, start: Tensor, dropout: float) -> None:
        super().__init__()
        dim, title_dim = start.shape[1], features.titles.shape[1]
        sizes = features.sizes
        self.dropout = dropout
        self.work = nn.Embedding.from_pretrained(start.clone(), freeze=False)
        self.author, self.series = (_table(sizes[name], CONTENT_DIM) for name in ("author", "series"))
        self.publisher, self.year = (_table(sizes[name], CONTENT_DIM // 2) for name in ("publisher", "year"))
        self.title = nn.Linear(title_dim, dim)
        width = 3 * CONTENT_DIM + dim
        self.hidden, self.output = nn.Linear(width, 2 * dim), _zeros(nn.Linear(2 * dim, dim))
        labels = (features.work_author, features.work_series, features.work_publisher, features.work_year)
        self.register_buffer("labels", torch.stack([*map(torch.from_numpy, labels)], dim=1), persistent=False)
        self.register_buffer("titles", torch.from_numpy(features.titles), persistent=False)

    def forward(self, works: Tensor) -> Tensor:
        """Unit vectors [batch, dim] of work indices [batch]."""
        labels, titles = self.labels[works], self.titles[works]
        author, series, publisher, year = labels.unbind(dim=1)
        content = torch.cat(
            [self.author(author), self.series(series), self.publisher(publisher), self.year(year), self.title(titles)],
            dim=1,
        )
        work = self.work(works)
        if self.training and self.dropout:
            described = labels.any(dim=1) | titles.any(dim=1)
            work = work * ~(described & (torch.rand(len(works)) < self.dropout))[:, None]
        return F.normalize(work + self.output(F.relu(self.hidden(content))), dim=1)


class TwoTower(nn.Module):
    """Both towers, and the table that histories are summed from (`read`)."""

    def __init__(
        self, features: Features, start: Start, reader_ids: bool, reader_dropout: float, work_dropout: float
    ) -> None:
        super().__init__()
        dim, readers = start.works.shape[1], len(features.reader_age)
        ages, countries = len(features.age_bins), len(features.countries)
        self.readers = ReaderTower(readers if reader_ids else 0, ages, countries, dim)
        self.works = WorkTower(features, start.works, work_dropout)
        self.read = nn.Parameter(start.read.clone())
        self.reader_dropout = reader_dropout
        self.register_buffer("age_of", torch.from_numpy(features.reader_age), persistent=False)
        self.register_buffer("country_of", torch.from_numpy(features.reader_country), persistent=False)

    def forward(self, readers: Tensor, known: Bags, works: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of reader rows, who have read `known`, and of work indices.

        In training a share of the readers is made unknown, so that the tower learns to encode
        those who come later from their history, age bin and country alone.
        """
        history = self.bag(known)
        index = readers + 1
        if self.training and self.reader_dropout:
            index = index * (torch.rand(len(index)) >= self.reader_dropout)
        return self.readers(index, self.age_of[readers], self.country_of[readers], history), self.works(works)

    def bag(self, known: Bags) -> Tensor:
        """Each history as one vector [batch, dim]."""
        return F.embedding_bag(known.works, self.read, known.starts, mode="sum", per_sample_weights=known.weights)

    @torch.no_grad()
    def work_vectors(self) -> Tensor:
        """Vectors of all works [n_works, dim]."""
        works = torch.arange(len(self.works.titles))
        return torch.cat([self.works(part) for part in works.split(BATCH)])


def _table(rows: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=dim**-0.5 / 4)
    return table


def _zeros(layer: M) -> M:
    for values in layer.parameters():
        nn.init.zeros_(values)
    return layer
