"""Floors: what any model must beat, a random order and what is popular."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from bookworks.models.popularity import Popularity
from training.dataset import Dataset
from training.params import Options, Params
from training.popular_lists import popularity_lists
from training.recommenders.base import Batch, Floats, Recommender, read_values, write_values


@dataclass(frozen=True)
class RandomRecommender(Recommender):
    """A random order, drawn from the seed and the reader's history size and row."""

    Config = Params
    n_works: int
    seed: int

    @classmethod
    def fit(cls, data: Dataset, config: Params, options: Options) -> Self:
        """Nothing is learned."""
        return cls(data.n_works, options.seed)

    def scores(self, batch: Batch) -> Floats:
        """Random numbers, the same for the same reader and seed."""
        sizes = np.diff(batch.histories.indptr)
        keys = zip(batch.rows + 1, sizes, strict=True)
        drawn = [np.random.default_rng((self.seed, int(row), int(size))) for row, size in keys]
        return np.stack([rng.random(self.n_works, dtype=np.float32) for rng in drawn])

    def save(self, folder: Path) -> None:
        """Write size and seed."""
        write_values(folder / "random.json", {"n_works": self.n_works, "seed": self.seed})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read size and seed."""
        return cls(**read_values(folder / "random.json"))


class PopularityParams(Params):
    """Section `train_popularity`."""

    global_weight: float = Field(0.6, gt=0)
    age_bin_weight: float = Field(0.15, ge=0)
    country_weight: float = Field(0.25, ge=0)
    min_readers: int = Field(30, ge=1, description="Readers below which an age bin or country gets no list.")
    segment_length: int = Field(300, ge=1)


@dataclass(frozen=True)
class PopularityRecommender(Recommender):
    """What is popular, without regard to the reader, or with age bin and country."""

    Config = PopularityParams
    popularity: Popularity

    @classmethod
    def fit(cls, data: Dataset, config: PopularityParams, options: Options) -> Self:
        """The lists of the training rows."""
        lists = popularity_lists(
            data.train(),
            age_bins=data.labels("age_bin")[: data.n_trained],
            countries=data.labels("country")[: data.n_trained],
            weights={
                "global": config.global_weight,
                "age_bin": config.age_bin_weight,
                "country": config.country_weight,
            },
            min_readers=config.min_readers,
            segment_length=config.segment_length,
        )
        return cls(_popularity(lists))

    def scores(self, batch: Batch) -> Floats:
        """Popularity of each work for each reader's segment."""
        pairs = list(zip(batch.age_bins, batch.countries, strict=True))
        found = {pair: self.popularity.scores(*pair) for pair in set(pairs)}
        return np.stack([found[pair] for pair in pairs])

    def save(self, folder: Path) -> None:
        """Write the lists, as they go into the bundle."""
        lists = {
            "global": self.popularity.everyone.tolist(),
            "age_bin": {label: ranked.tolist() for label, ranked in self.popularity.age_bin.items()},
            "country": {label: ranked.tolist() for label, ranked in self.popularity.country.items()},
            "weights": self.popularity.weights,
        }
        write_values(folder / "popularity.json", lists)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the lists."""
        return cls(_popularity(read_values(folder / "popularity.json")))


def _popularity(lists: dict[str, object]) -> Popularity:
    everyone = lists["global"]
    return Popularity(len(everyone), everyone, lists["age_bin"], lists["country"], lists["weights"])  # type: ignore[arg-type]
