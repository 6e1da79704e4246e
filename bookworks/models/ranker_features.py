"""What the ranker looks at: of each candidate, what every source says of it and how it stands to the history.

The same code makes the features that the trees learn from and those that they serve with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

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
    scores, share, rank = _of_sources(np.stack([*sources.values(), blend]))
    blocks = [values[source] for source in range(len(scores)) for values in (scores, share, rank)]
    agreeing = (rank[:-1] < AGREE).sum(axis=0)
    blocks += [np.asarray(agreeing, dtype=np.float32), *near.values()]
    blocks += _of_readers(facts, histories, works)
    blocks += [np.broadcast_to(values[:, None], works.shape) for values in (told or {}).values()]
    blocks += [block for field in facts.fields for block in _of_group(facts, field, histories, works)]
    if facts.dated:
        blocks.append(_years_apart(facts.year, histories, works))
    if SERIES in facts.fields:
        blocks.append(_places_on(facts, histories, works))
    return np.stack(blocks, axis=2, dtype=np.float32)


def _of_sources(values: Floats) -> tuple[Floats, Floats, Floats]:
    """The scores, as shares of the reader's best, and the ranks among the candidates, [n_sources, n_readers, n]."""
    best = values.max(axis=2, keepdims=True, initial=-np.inf)
    order = np.argsort(-values, axis=2, kind="stable")
    rank = np.empty_like(values)
    np.put_along_axis(rank, order, np.arange(values.shape[2], dtype=np.float32)[None, None, :], axis=2)
    share = values / np.where(np.abs(best) > 1e-6, best, 1.0)
    return values, np.asarray(share, dtype=np.float32), rank


def _of_readers(facts: WorkFacts, histories: sparse.csr_matrix, works: Ints) -> list[Floats]:
    length = np.diff(histories.indptr).astype(np.float32)
    mean = np.array([facts.log_readers[read].mean() if read.size else 0.0 for read in _each(histories)], np.float32)
    spread = np.ones(works.shape, dtype=np.float32)
    readers = facts.log_readers[works]
    return [readers, facts.expected[works], length[:, None] * spread, mean[:, None] * spread, readers - mean[:, None]]


def _of_group(facts: WorkFacts, field: str, histories: sparse.csr_matrix, works: Ints) -> list[Floats]:
    """Works of the history with the candidate's value: how many, which share, and how many works have that value."""
    group = facts.group[field]
    count = np.zeros(works.shape, dtype=np.float32)
    for row, read in enumerate(_each(histories)):
        values = group[read]
        count[row] = np.count_nonzero(group[works[row]][:, None] == values[values > 0], axis=1)
    length = np.asarray(np.maximum(np.diff(histories.indptr), 1)[:, None], dtype=np.float32)
    return [count, count / length, facts.group_size[field][group[works]]]


def _years_apart(year: Floats, histories: sparse.csr_matrix, works: Ints) -> Floats:
    """Years after the mean year of the history; NaN where one is unknown."""
    known = [year[read][np.isfinite(year[read])] for read in _each(histories)]
    mean = np.array([years.mean() if years.size else np.nan for years in known], dtype=np.float32)
    return np.asarray(year[works] - mean[:, None], dtype=np.float32)


def _places_on(facts: WorkFacts, histories: sparse.csr_matrix, works: Ints) -> Floats:
    """How many places after the last that was read of the series; NaN where none was or no number is known."""
    series = facts.group[SERIES]
    found = np.full(works.shape, np.nan, dtype=np.float32)
    for row, all_read in enumerate(_each(histories)):
        read = all_read[(series[all_read] > 0) & np.isfinite(facts.place[all_read])]
        if read.size:
            places = zip(series[read].tolist(), facts.place[read].tolist(), strict=True)
            last = dict(sorted(places, key=lambda at: at[1]))
            of = [last.get(s, np.nan) for s in series[works[row]].tolist()]
            found[row] = facts.place[works[row]] - np.array(of, dtype=np.float32)
    return found


def _each(histories: sparse.csr_matrix) -> list[npt.NDArray[np.int32]]:
    """The works of each history."""
    return [histories.indices[a:b] for a, b in zip(histories.indptr[:-1], histories.indptr[1:], strict=True)]
