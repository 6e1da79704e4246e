"""What every recommender offers: config, fit, scores, recommend, save, load. No torch here."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bookworks.metrics.ranking import PAD, Ranked
from training.dataset import Dataset
from training.params import Options, Params

Floats = npt.NDArray[np.float32]
P, R = TypeVar("P"), TypeVar("R")
CHUNK = 512  # readers that are scored at a time
BLOCK = 64  # of so many scores, evenly spread, the largest is looked at first


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

    def parts(self, size: int = CHUNK) -> Iterator[Batch]:
        """All readers, `size` at a time."""
        return (self.part(start, start + size) for start in range(0, len(self), size))


class Lists(NamedTuple):
    """Ranked lists.

    Attributes:
        works: work indices, best first, int64 [n_readers, n], padded with -1.
        scores: the score of each, float32 [n_readers, n]; -inf where padded.
    """

    works: Ranked
    scores: Floats


class Recommender(ABC):
    """A model that ranks the whole catalogue."""

    Config: ClassVar[type[Params]]
    composite: ClassVar[bool] = False  # made of others, which its `fit` takes from a `Fitter`

    @classmethod
    def fit(cls, data: Dataset, config: Any, options: Options) -> Self:
        """Learn from the rows of part `train`; those of part `valid`, if any, tell when to stop.

        Args:
            data: the split.
            config: an instance of `Config`.
            options: seed and threads; the same seed gives the same model.
        """
        raise NotImplementedError(f"{cls.__name__} is loaded, not fitted")

    @abstractmethod
    def scores(self, batch: Batch) -> Floats:
        """Scores, float32 [len(batch), n_works]; a fresh array."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model into `folder`."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote."""

    def recommend(self, batch: Batch, n: int, threads: int = 1) -> Lists:
        """The best `n` works of each reader without the history."""
        return best_of_parts(lambda part: self.best(part, n), batch, n, threads)

    def best(self, part: Batch, n: int) -> Lists:
        """`recommend` for a few readers at a time."""
        return best_of(without_history(self.scores(part), part.histories), n)


def best_of_parts(best: Callable[[Batch], Lists], batch: Batch, n: int, threads: int = 1) -> Lists:
    """`best(part)` of all parts of a batch, put together; parts are worked on side by side."""
    if not len(batch):
        return Lists(np.full((0, n), PAD, dtype=np.int64), np.zeros((0, n), dtype=np.float32))
    return joined(side_by_side(best, batch.parts(), threads))


def joined(parts: Sequence[Lists]) -> Lists:
    """Lists of readers, one part after the other."""
    return Lists(np.concatenate([part.works for part in parts]), np.concatenate([part.scores for part in parts]))


def side_by_side(work: Callable[[P], R], parts: Iterable[P], threads: int) -> list[R]:
    """`work` of every part, by `threads` threads, each with one of BLAS."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1 if threads > 1 else None, "blas"), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def without_history(scores: Floats, histories: sparse.csr_matrix) -> Floats:
    """`scores` with -inf where a reader's history is; changed in place."""
    owner = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
    scores[owner, histories.indices] = -np.inf
    return scores


def best_of(scores: Floats, n: int) -> Lists:
    """The `n` best finite scores of each row, best first, padded to `n`; ties go to the lower index."""
    found = np.flatnonzero(_among_the_best(scores, min(n, scores.shape[1])))
    rows, places = np.divmod(found, scores.shape[1])
    values = scores[rows, places]
    order = np.lexsort((-values, rows))  # stable, and places rise
    rank = np.arange(order.size) - np.searchsorted(rows, rows)
    first, at = order[rank < n], (rows[rank < n], rank[rank < n])
    works = np.full((scores.shape[0], n), PAD, dtype=np.int64)
    best = np.full((scores.shape[0], n), -np.inf, dtype=np.float32)
    works[at], best[at] = places[first], values[first]
    works[~np.isfinite(best)] = PAD
    return Lists(works, best)


def _among_the_best(scores: Floats, n: int) -> npt.NDArray[np.bool_]:
    """Marks the `n` best of each row and few others.

    The n-th largest of the blocks' maxima is no larger than the n-th largest score. Rows in which many are as large
    (zeros of a sparse model) are looked at whole.
    """
    width = scores.shape[1]
    blocks = width // BLOCK
    if blocks <= 2 * n:
        return _exactly_the_best(scores, n)
    maxima = scores[:, : blocks * BLOCK].reshape(-1, BLOCK, blocks).max(axis=1)
    found: npt.NDArray[np.bool_] = scores >= np.partition(maxima, blocks - n, axis=1)[:, blocks - n, None]
    crowded = np.flatnonzero(np.count_nonzero(found, axis=1) > 8 * n)
    if crowded.size:
        found[crowded] = _exactly_the_best(scores[crowded], n)
    return found


def _exactly_the_best(scores: Floats, n: int) -> npt.NDArray[np.bool_]:
    """Marks the `n` best of each row; of equals the first."""
    width = scores.shape[1]
    if not n:
        return np.zeros(scores.shape, dtype=bool)
    cut = np.partition(scores, width - n, axis=1)[:, width - n, None]
    above, equal = scores > cut, scores == cut
    missing = n - np.count_nonzero(above, axis=1)
    return above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= missing[:, None]))


def write_values(path: Path, value: object) -> None:
    """Small constants of a model, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, sort_keys=True), encoding="utf-8")


def read_values(path: Path) -> dict[str, Any]:
    """What `write_values` wrote."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
