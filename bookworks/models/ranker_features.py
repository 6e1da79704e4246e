"""What the ranker looks at: of each candidate, what every source says of it and how it stands to the history.

The same code makes the features that the trees learn from and those that they serve with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bookworks.models.reader import ReaderState
from bookworks.models.work_facts import WorkFacts

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
AGREE = 20  # a source agrees when the candidate is among its first so many
SERIES = "series_id"
ABOUT = ("age", "idle_days")  # the reader and the request
_NUMBER = re.compile(r"\d+")


def about(state: ReaderState) -> dict[str, Floats]:
    """What is known of one reader and of the request, of each of `ABOUT` a value, [1]; NaN where it is unknown."""
    age = _NUMBER.search(state.age_bin or "")
    values = (float(age[0]) if age else np.nan, state.context.idle_days)
    return {name: np.array([value], dtype=np.float32) for name, value in zip(ABOUT, values, strict=True)}


def names_of(sources: Iterable[str], near: Iterable[str], facts: WorkFacts, told: Iterable[str] = ()) -> list[str]:
    """Names of the features, in the order of `features`."""
    names = [f"{source}_{what}" for source in sources for what in ("score", "share", "rank")]
    names += ["blend_score", "blend_share", "blend_rank", "agreeing"]
    names += [f"near_{name}" for name in near]
    names += ["readers", "expected_readers", "history_length", "history_readers", "readers_against_history"]
    names += told
    names += [f"{field}_{what}" for field in facts.fields for what in ("read", "share", "works")]
    return names + (["years_apart"] if facts.dated else []) + (["places_on"] if SERIES in facts.fields else [])


def features(
    sources: Mapping[str, Floats],
    blend: Floats,
    near: Mapping[str, Floats],
    facts: WorkFacts,
    histories: sparse.csr_matrix,
    works: Ints,
    told: Mapping[str, Floats] | None = None,
) -> Floats:
    """Features of the candidates of a few readers, float32 [n_readers, n_candidates, n_features].

    Args:
        sources: what each source says of the candidates, [n_readers, n_candidates].
        blend: their blended score, [n_readers, n_candidates].
        near: how near each is to the history in the eyes of some sources, [n_readers, n_candidates].
        facts: of the works.
        histories: likings, float32 [n_readers, n_works].
        works: indices of the candidates, [n_readers, n_candidates].
        told: of the readers and the request, [n_readers] each; see `about`.
    """
    scores, share, rank = _of_sources(np.stack([*sources.values(), blend], dtype=np.float32))
    blocks = [values[source] for source in range(len(scores)) for values in (scores, share, rank)]
    agreeing = (rank[:-1] < AGREE).sum(axis=0)
    blocks += [np.asarray(agreeing, dtype=np.float32), *near.values()]
    read = _Read.of(histories)
    blocks += _of_readers(facts, read, works)
    blocks += [np.broadcast_to(values[:, None], works.shape) for values in (told or {}).values()]
    blocks += [block for field in facts.fields for block in _of_group(facts, field, read, works)]
    if facts.dated:
        blocks.append(_years_apart(facts.year, read, works))
    if SERIES in facts.fields:
        blocks.append(_places_on(facts, read, works))
    return np.stack(blocks, axis=2, dtype=np.float32)


def _of_sources(values: Floats) -> tuple[Floats, Floats, Floats]:
    """The scores, as shares of the reader's best, and the ranks among the candidates, [n_sources, n_readers, n]."""
    best = values.max(axis=2, keepdims=True, initial=-np.inf)
    places = np.arange(values.shape[2], dtype=np.int64)
    rank = np.empty_like(values)
    np.put_along_axis(rank, _falling(values, places), places.astype(np.float32)[None, None, :], axis=2)
    share = values / np.where(np.abs(best) > 1e-6, best, 1.0)
    return values, np.asarray(share, dtype=np.float32), rank


def _falling(values: Floats, places: Ints) -> Ints:
    """The order of falling values, none of them NaN, of equals the first, along the last axis.

    Bits of a float rise with it, below 0 once they are turned round: so a value and its place are one whole number,
    and these are sorted several times as fast as a stable sort of floats takes.
    """
    bits = (0.0 - values).view(np.int32).astype(np.int64)
    rising = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return np.sort((rising << 32) | places, axis=-1) & 0xFFFFFFFF


@dataclass(frozen=True)
class _Read:
    """The entries of a few histories: the reader of each, the work of each, and how many each reader has."""

    reader: Ints
    work: npt.NDArray[np.int32]
    length: Ints

    @classmethod
    def of(cls, histories: sparse.csr_matrix) -> Self:
        """Of histories, [n_readers, n_works]."""
        length = np.diff(histories.indptr)
        return cls(np.repeat(np.arange(length.size), length), histories.indices, length)

    def some(self, wanted: npt.NDArray[np.bool_]) -> _Read:
        """These entries alone."""
        return _Read(self.reader[wanted], self.work[wanted], self.length)

    def mean(self, values: Floats, of_none: float) -> Floats:
        """Of each reader the mean over the finite ones of the entries' values, float32 [n_readers]."""
        finite = np.isfinite(values)
        total = np.bincount(self.reader[finite], values[finite], minlength=self.length.size)
        count = np.bincount(self.reader[finite], minlength=self.length.size)
        return np.where(count > 0, total / np.maximum(count, 1), of_none).astype(np.float32)


def _of_readers(facts: WorkFacts, read: _Read, works: Ints) -> list[Floats]:
    mean = read.mean(facts.log_readers[read.work], 0.0)
    readers = facts.log_readers[works]
    of_reader = (np.broadcast_to(values[:, None], works.shape) for values in (read.length.astype(np.float32), mean))
    return [readers, facts.expected[works], *of_reader, readers - mean[:, None]]


def _of_group(facts: WorkFacts, field: str, read: _Read, works: Ints) -> list[Floats]:
    """Works of the history with the candidate's value: how many, which share, and how many works have that value."""
    group, size = facts.group[field], facts.group_size[field]
    known, wanted = _pairs(group, size.size, read.some(group[read.work] > 0), works)
    known.sort()
    count = (np.searchsorted(known, wanted, "right") - np.searchsorted(known, wanted)).astype(np.float32)
    length = np.asarray(np.maximum(read.length, 1)[:, None], dtype=np.float32)
    return [count, count / length, size[group[works]]]


def _years_apart(year: Floats, read: _Read, works: Ints) -> Floats:
    """Years after the mean year of the history; NaN where one is unknown."""
    return np.asarray(year[works] - read.mean(year[read.work], np.nan)[:, None], dtype=np.float32)


def _places_on(facts: WorkFacts, read: _Read, works: Ints) -> Floats:
    """How many places after the last that was read of the series; NaN where none was or no number is known."""
    series = facts.group[SERIES]
    read = read.some((series[read.work] > 0) & np.isfinite(facts.place[read.work]))
    if not read.work.size:
        return np.full(works.shape, np.nan, dtype=np.float32)
    known, wanted = _pairs(series, facts.group_size[SERIES].size, read, works)
    places = facts.place[read.work]
    order = np.lexsort((places, known))
    last = order[np.maximum(np.searchsorted(known[order], wanted, "right") - 1, 0)]
    return np.where(known[last] == wanted, facts.place[works] - places[last], np.float32(np.nan))


def _pairs(group: Ints, size: int, read: _Read, works: Ints) -> tuple[Ints, Ints]:
    """A number for each pair of a reader and one of `size` values: of the entries, and of the candidates."""
    return read.reader * size + group[read.work], np.arange(len(works))[:, None] * size + group[works]
