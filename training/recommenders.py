"""The models as they rank: each gives scores of the whole catalogue for a batch of readers. No torch here.

One save and one load each; fitting is in the stage modules.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bookworks.metrics.ranking import PAD, Ranked
from bookworks.models.bundle import top
from bookworks.models.popularity import Popularity

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Readers to rank for.

    Attributes:
        rows: trained row of each reader, -1 for one without, int64 [n].
        histories: likings known at this time, float32 [n, n_works]; what is in it is never recommended.
        age_bins: labels or None, [n].
        countries: labels or None, [n].
    """

    rows: npt.NDArray[np.int64]
    histories: sparse.csr_matrix
    age_bins: Sequence[str | None]
    countries: Sequence[str | None]

    def __len__(self) -> int:
        """Readers."""
        return int(self.rows.size)

    def part(self, start: int, stop: int) -> Batch:
        """Readers `start` to `stop`."""
        span = slice(start, stop)
        return Batch(self.rows[span], self.histories[span], self.age_bins[span], self.countries[span])


class Recommender(Protocol):
    """What every model offers."""

    def scores(self, batch: Batch) -> Floats:
        """Scores, float32 [len(batch), n_works]; a fresh array."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model into `folder`."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote."""
        ...


def rank(model: Recommender, batch: Batch, n: int, chunk: int = 256) -> Ranked:
    """The best `n` works of each reader without their history, int64 [len(batch), n], padded with -1."""
    ranked = np.full((len(batch), n), PAD, dtype=np.int64)
    for start in range(0, len(batch), chunk):
        part = batch.part(start, start + chunk)
        scores = model.scores(part)
        owner = np.repeat(np.arange(len(part)), np.diff(part.histories.indptr))
        scores[owner, part.histories.indices] = -np.inf
        for row, values in enumerate(scores):
            best = top(values, n)
            ranked[start + row, : len(best)] = best
    return ranked


@dataclass(frozen=True)
class RandomRecommender:
    """Floor: a random order, drawn from the seed and the reader's history size and row."""

    n_works: int
    seed: int

    def scores(self, batch: Batch) -> Floats:
        """Random numbers, the same for the same reader and seed."""
        sizes = np.diff(batch.histories.indptr)
        keys = zip(batch.rows + 1, sizes, strict=True)
        drawn = [np.random.default_rng((self.seed, int(row), int(size))) for row, size in keys]
        return np.stack([rng.random(self.n_works, dtype=np.float32) for rng in drawn])

    def save(self, folder: Path) -> None:
        """Write size and seed."""
        _write(folder / "random.json", {"n_works": self.n_works, "seed": self.seed})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read size and seed."""
        return cls(**_read(folder / "random.json"))


@dataclass(frozen=True)
class PopularityRecommender:
    """Floor: what is popular, without regard to the reader, or with age bin and country."""

    popularity: Popularity

    def scores(self, batch: Batch) -> Floats:
        """Popularity of each work for each reader's segment."""
        pairs = zip(batch.age_bins, batch.countries, strict=True)
        return np.stack([self.popularity.scores(age_bin, country) for age_bin, country in pairs])

    def save(self, folder: Path) -> None:
        """Write the lists, as they go into the bundle."""
        lists = {
            "global": self.popularity.everyone,
            "age_bin": self.popularity.age_bin,
            "country": self.popularity.country,
            "weights": self.popularity.weights,
        }
        _write(folder / "popularity.json", lists)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the lists."""
        lists = _read(folder / "popularity.json")
        everyone = lists["global"]
        return cls(Popularity(len(everyone), everyone, lists["age_bin"], lists["country"], lists["weights"]))


@dataclass(frozen=True)
class ItemFilterRecommender:
    """The linear item filter: history times S."""

    matrix: sparse.csr_matrix

    def scores(self, batch: Batch) -> Floats:
        """R S for the batch."""
        dense: Floats = np.asarray((batch.histories @ self.matrix).toarray(), dtype=np.float32)
        return dense

    def save(self, folder: Path) -> None:
        """Write S."""
        folder.mkdir(parents=True, exist_ok=True)
        sparse.save_npz(folder / "item_filter.npz", self.matrix, compressed=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read S."""
        return cls(sparse.csr_matrix(sparse.load_npz(folder / "item_filter.npz")))


@dataclass(frozen=True)
class VectorRecommender:
    """Any model of reader and work vectors (two-tower, GNN): inner products.

    A reader without a trained row is the weighted mean of the history's work vectors.
    """

    readers: Floats  # [n_trained, dim]
    works: Floats  # [n_works, dim]

    def scores(self, batch: Batch) -> Floats:
        """Inner products with every work."""
        vectors = np.asarray(batch.histories @ self.works, dtype=np.float32)
        known = batch.rows >= 0
        vectors[known] = self.readers[batch.rows[known]]
        return vectors @ self.works.T

    def save(self, folder: Path) -> None:
        """Write both tables."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "readers.npy", self.readers)
        np.save(folder / "works.npy", self.works)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read both tables."""
        return cls(np.load(folder / "readers.npy"), np.load(folder / "works.npy"))


@dataclass(frozen=True)
class AlsRecommender:
    """Implicit ALS: each reader's vector is solved from the history, so that nobody is unknown."""

    works: Floats  # [n_works, factors]
    regularization: float
    alpha: float

    def scores(self, batch: Batch) -> Floats:
        """x_u Y' with x_u = (Y'Y + Y'(C_u - I)Y + reg I)^-1 Y'C_u p_u (Hu, Koren, Volinsky 2008, equation 4)."""
        gram = self.works.T @ self.works + self.regularization * np.eye(self.works.shape[1], dtype=np.float32)
        vectors = np.stack([self._solve(gram, *row) for row in _rows_of(batch.histories)])
        scores: Floats = (vectors @ self.works.T).astype(np.float32)
        return scores

    def _solve(self, gram: Floats, works: npt.NDArray[np.int32], weights: Floats) -> Floats:
        liked, confidence = self.works[works], self.alpha * weights
        left = gram + (liked * (confidence - 1.0)[:, None]).T @ liked
        solved: Floats = np.linalg.solve(left, liked.T @ confidence)
        return solved

    def save(self, folder: Path) -> None:
        """Write the works' factors and both constants."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "works.npy", self.works)
        _write(folder / "als.json", {"regularization": self.regularization, "alpha": self.alpha})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the works' factors and both constants."""
        return cls(np.load(folder / "works.npy"), **_read(folder / "als.json"))


def _rows_of(matrix: sparse.csr_matrix) -> list[tuple[npt.NDArray[np.int32], Floats]]:
    spans = zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    return [(matrix.indices[a:b], matrix.data[a:b]) for a, b in spans]


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, sort_keys=True), encoding="utf-8")


def _read(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return content
