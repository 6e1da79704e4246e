"""What the ranker looks at: of each candidate, what every source says of it and how it stands to the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.dataset import Dataset
from training.recommenders.als import AlsRecommender
from training.recommenders.base import Batch, Floats, Lists, Recommender
from training.recommenders.content import column, expected_readers, readers_of
from training.recommenders.item_item import ItemItemRecommender

GROUPS = ("author_id", "series_id", "publisher", "language")
AGREE = 20  # a source agrees when the candidate is among its first so many
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WorkFacts:
    """What is known of the works, whoever reads them.

    Attributes:
        readers: training readers, float32 [n_works].
        year: NaN where unknown, float32 [n_works].
        place: number in the series, NaN where none, float32 [n_works].
        group: of each field of `GROUPS` the value's number, int64 [n_works]; the last number stands for none.
        expected: log of the readers that the work has, or may get where it is new, float32 [n_works].
    """

    readers: Floats
    year: Floats
    place: Floats
    group: Mapping[str, Ints]
    expected: Floats

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The facts of a dataset, counted from its training rows."""
        readers = readers_of(data).astype(np.float32)
        group = {name: _codes(column(data, name)) for name in GROUPS}
        numbers = (_numbers(column(data, name)) for name in ("year", "series_number"))
        return cls(readers, *numbers, group, np.log(expected_readers(data)).astype(np.float32))

    @property
    def fields(self) -> list[str]:
        """Fields of `GROUPS` that at least one work has."""
        return [name for name in GROUPS if len(set(self.group[name].tolist())) > 1]


def _codes(values: list[Any]) -> Ints:
    """Numbers of values; those without a value, and values of one work, share the last number."""
    names, codes, counts = np.unique([str(v or "") for v in values], return_inverse=True, return_counts=True)
    none = (names == "") | (counts < 2)
    new = np.where(none, int((~none).sum()), np.cumsum(~none) - 1)
    return new[codes].astype(np.int64)


def _numbers(values: list[Any]) -> Floats:
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float32)


def names_of(members: Mapping[str, Recommender], facts: WorkFacts) -> list[str]:
    """Names of the features, in the order of `features`."""
    names = [f"{member}_{what}" for member in members for what in ("score", "share", "rank")]
    names += ["blend_score", "blend_share", "blend_rank", "agreeing"]
    names += [f"near_{name}" for name in _near(members)]
    names += ["readers", "expected_readers", "history_length", "history_readers", "readers_against_history"]
    names += [f"{field}_{what}" for field in facts.fields for what in ("read", "share", "works")]
    return names + (["years_apart"] if _dated(facts) else []) + (["places_on"] if "series_id" in facts.fields else [])


def features(
    members: Mapping[str, Recommender], facts: WorkFacts, part: Batch, scores: Mapping[str, Floats], lists: Lists
) -> Floats:
    """Features of the candidates of a few readers, float32 [len(part), n_candidates, n_features].

    Args:
        members: the sources.
        facts: of the works.
        part: the readers.
        scores: standardised scores of each member, [len(part), n_works].
        lists: candidates with the score of the blend; a padded place has the features of work 0.
    """
    works = np.maximum(lists.works, 0)
    rows = np.arange(len(part))[:, None]
    own = [scores[name][rows, works] for name in members]
    blocks = [block for values in own for block in _of_source(values)]
    blocks += _of_source(np.where(np.isfinite(lists.scores), lists.scores, 0.0))
    blocks.append(sum((rank < AGREE).astype(np.float32) for rank in blocks[2 : 3 * len(own) : 3]))
    blocks += [_nearest(near, part.histories, works) for near in _near(members).values()]
    blocks += _of_readers(facts, part, works)
    blocks += [block for field in facts.fields for block in _of_group(facts.group[field], part.histories, works)]
    if _dated(facts):
        blocks.append(_years_apart(facts.year, part.histories, works))
    if "series_id" in facts.fields:
        blocks.append(_places_on(facts, part.histories, works))
    return np.stack(blocks, axis=2).astype(np.float32)


def _of_source(values: Floats) -> list[Floats]:
    """The score, as a share of the reader's best, and the rank among the candidates."""
    best = values.max(axis=1, keepdims=True)
    order = np.argsort(-values, axis=1, kind="stable")
    rank = np.empty_like(values)
    np.put_along_axis(rank, order, np.arange(values.shape[1], dtype=np.float32)[None, :], axis=1)
    return [values, values / np.where(np.abs(best) > 1e-6, best, 1.0), rank]


def _near(members: Mapping[str, Recommender]) -> dict[str, Floats | sparse.csr_matrix]:
    """How near works are to each other: unit vectors [n_works, dim] or likeness [n_works, n_works]."""
    found: dict[str, Floats | sparse.csr_matrix] = {}
    for name, member in members.items():
        if isinstance(member, AlsRecommender) and "als" not in found:
            found["als"] = member.directions
        if isinstance(member, ItemItemRecommender) and name in {"co_occurrence", "title_text"}:
            found[name] = member.matrix
    return found


def _nearest(near: Floats | sparse.csr_matrix, histories: sparse.csr_matrix, works: Ints) -> Floats:
    """The largest likeness of each candidate to a work of the history."""
    found = np.zeros(works.shape, dtype=np.float32)
    for row, (start, end) in enumerate(zip(histories.indptr[:-1], histories.indptr[1:], strict=True)):
        read = histories.indices[start:end]
        if not read.size:
            continue
        if isinstance(near, np.ndarray):
            found[row] = (near[works[row]] @ near[read].T).max(axis=1)
        else:
            found[row] = near[read].toarray()[:, works[row]].max(axis=0)
    return found


def _of_readers(facts: WorkFacts, part: Batch, works: Ints) -> list[Floats]:
    log_readers = np.log1p(facts.readers)
    length = np.diff(part.histories.indptr).astype(np.float32)
    mean = (_ones(part.histories) @ log_readers) / np.maximum(length, 1.0)
    spread = np.ones(works.shape, dtype=np.float32)
    return [log_readers[works], facts.expected[works], length[:, None] * spread, mean[:, None] * spread,
            log_readers[works] - mean[:, None]]  # fmt: skip


def _of_group(group: Ints, histories: sparse.csr_matrix, works: Ints) -> list[Floats]:
    """Works of the history with the candidate's value: how many, which share, and how many works have that value."""
    none = int(group.max())
    member = sparse.csr_matrix((np.ones(group.size, np.float32), (np.arange(group.size), group)))
    read = np.asarray((_ones(histories) @ member).toarray(), dtype=np.float32)
    read[:, none] = 0.0
    count = np.take_along_axis(read, group[works], axis=1)
    length = np.maximum(np.diff(histories.indptr), 1)[:, None]
    size = np.bincount(group).astype(np.float32)
    size[none] = 0.0
    return [count, count / length, size[group[works]]]


def _years_apart(year: Floats, histories: sparse.csr_matrix, works: Ints) -> Floats:
    known = np.isfinite(year)
    ones = _ones(histories)
    mean = (ones @ np.where(known, year, 0.0)) / np.maximum(ones @ known.astype(np.float32), 1e-9)
    mean[mean < 1000] = np.nan
    return np.asarray(year[works] - mean[:, None], dtype=np.float32)


def _places_on(facts: WorkFacts, histories: sparse.csr_matrix, works: Ints) -> Floats:
    """How many places after the last that was read of the series; NaN where none was or no number is known."""
    series, none = facts.group["series_id"], int(facts.group["series_id"].max())
    found = np.full(works.shape, np.nan, dtype=np.float32)
    for row, (start, end) in enumerate(zip(histories.indptr[:-1], histories.indptr[1:], strict=True)):
        read = histories.indices[start:end]
        read = read[(series[read] != none) & np.isfinite(facts.place[read])]
        if read.size:
            last = dict(
                sorted(zip(series[read].tolist(), facts.place[read].tolist(), strict=True), key=lambda at: at[1])
            )
            of = [last.get(s, np.nan) for s in series[works[row]].tolist()]
            found[row] = facts.place[works[row]] - np.array(of, dtype=np.float32)
    return found


def _ones(histories: sparse.csr_matrix) -> sparse.csr_matrix:
    data = np.ones(histories.indices.size, dtype=np.float32)
    return sparse.csr_matrix((data, histories.indices, histories.indptr), shape=histories.shape)


def _dated(facts: WorkFacts) -> bool:
    return bool(np.isfinite(facts.year).any())
