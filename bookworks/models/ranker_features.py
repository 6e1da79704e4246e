"""What the ranker looks at: of each candidate, what every source says of it and how it stands to the history.

The same code makes the features that the trees learn from and those that they serve with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bookworks.errors import ContractError
from bookworks.models.compiled import compiled
from bookworks.models.ordering import falling
from bookworks.models.reader import ReaderState
from bookworks.models.work_facts import WorkFacts

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
AGREE = 20  # a source agrees when the candidate is among its first so many
SERIES = "series_id"
ABOUT = ("age", "idle_days")  # the reader and the request
_NUMBER = re.compile(r"\d+")


class Histories(NamedTuple):
    """The works that a few readers have read.

    Attributes:
        starts: of each reader's works, then their number, [n_readers + 1].
        works: indices.
    """

    starts: npt.NDArray[np.integer]
    works: npt.NDArray[np.integer]


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
    histories: Histories,
    works: Ints,
    told: Mapping[str, Floats] | None = None,
) -> Floats:
    """Features of the candidates of a few readers, float32 [n_readers, n_candidates, n_features].

    Args:
        sources: what each source says of the candidates, [n_readers, n_candidates].
        blend: their blended score, [n_readers, n_candidates].
        near: how near each is to the history in the eyes of some sources, [n_readers, n_candidates].
        facts: of the works.
        histories: of the readers.
        works: indices of the candidates, [n_readers, n_candidates].
        told: of the readers and the request, [n_readers] each; see `about`.

    Raises:
        ContractError: works that the facts do not tell of.
    """
    _check(histories, works, len(facts))
    told, (starts, read) = told or {}, histories
    rows = np.empty((*works.shape, len(names_of(sources, near, facts, told))), dtype=np.float32)
    scores = np.stack([*sources.values(), blend], dtype=np.float32)
    _of_sources(scores, falling(scores), rows)
    column = 3 * (len(sources) + 1) + 1
    for values in near.values():
        rows[:, :, column] = values
        column += 1
    _of_readers(starts, read, works, facts.log_readers, facts.expected, rows[:, :, column:])
    column += 5
    for values in told.values():
        rows[:, :, column] = values[:, None]
        column += 1
    for field in facts.fields:
        _of_group(starts, read, works, facts.group[field], facts.group_size[field], rows[:, :, column:])
        column += 3
    if facts.dated:
        _years_apart(starts, read, works, facts.year, rows[:, :, column])
        column += 1
    if SERIES in facts.fields:
        _places_on(starts, read, works, facts.group[SERIES], facts.place, rows[:, :, column])
    return rows


def _check(histories: Histories, works: Ints, n_works: int) -> None:
    """Compiled loops look at no bounds, so indices are looked at here."""
    starts, read = histories
    least, most = (min(works.min(initial=0), read.min(initial=0)), max(works.max(initial=0), read.max(initial=0)))
    if least < 0 or most >= n_works or len(starts) != len(works) + 1 or starts[-1] > read.size:
        raise ContractError("Candidates, histories and facts do not fit together",
                            received=f"works {least} to {most}, {len(starts) - 1} histories",
                            allowed=f"works below {n_works}, {len(works)} histories")  # fmt: skip


@compiled
def _of_sources(values, falling, rows):  # type: ignore[no-untyped-def]
    """The scores [n_sources, n_readers, n], as shares of the reader's best, their ranks, and how many agree."""
    sources, agreeing = len(values), 3 * len(values)
    for reader in range(len(rows)):
        rows[reader, :, agreeing] = 0.0
        for source in range(sources):
            own, order = values[source, reader], falling[source, reader]
            best = own[order[0]] if len(order) else np.float32(1.0)
            best = best if abs(best) > 1e-6 else np.float32(1.0)
            for rank, at in enumerate(order):
                rows[reader, at, 3 * source] = own[at]
                rows[reader, at, 3 * source + 1] = own[at] / best
                rows[reader, at, 3 * source + 2] = rank
            if source < sources - 1:  # the last is the blend
                for at in order[:AGREE]:
                    rows[reader, at, agreeing] += 1.0


@compiled
def _of_readers(starts, read, works, log_readers, expected, rows):  # type: ignore[no-untyped-def]
    """Readers of the candidate, as expected, the history's length and its mean readers, and the candidate's against."""
    for reader in range(len(works)):
        history, total = read[starts[reader] : starts[reader + 1]], 0.0
        for work in history:
            total += log_readers[work]
        mean = np.float32(total / max(len(history), 1))
        for at, work in enumerate(works[reader]):
            own = log_readers[work]
            rows[reader, at, 0], rows[reader, at, 1], rows[reader, at, 2] = own, expected[work], len(history)
            rows[reader, at, 3], rows[reader, at, 4] = mean, own - mean


@compiled
def _of_group(starts, read, works, group, size, rows):  # type: ignore[no-untyped-def]
    """Works of the history with the candidate's value: how many, which share, and how many works have that value."""
    for reader in range(len(works)):
        known = group[read[starts[reader] : starts[reader + 1]]]
        for at, work in enumerate(works[reader]):
            own, count = group[work], 0
            if own > 0:
                for one in known:
                    count += one == own
            rows[reader, at, 0], rows[reader, at, 1] = count, np.float32(count) / np.float32(max(len(known), 1))
            rows[reader, at, 2] = size[own]


@compiled
def _years_apart(starts, read, works, year, apart):  # type: ignore[no-untyped-def]
    """Years after the mean year of the history; NaN where one is unknown."""
    for reader in range(len(works)):
        total, count = 0.0, 0
        for work in read[starts[reader] : starts[reader + 1]]:
            if np.isfinite(year[work]):
                total, count = total + year[work], count + 1
        mean = np.float32(total / count if count else np.nan)
        for at, work in enumerate(works[reader]):
            apart[reader, at] = year[work] - mean


@compiled
def _places_on(starts, read, works, series, place, on):  # type: ignore[no-untyped-def]
    """How many places after the last that was read of the series; NaN where none was or no number is known."""
    for reader in range(len(works)):
        history = read[starts[reader] : starts[reader + 1]]
        known, places = series[history], place[history]
        for at, work in enumerate(works[reader]):
            own, last = series[work], np.float32(-np.inf)
            if own > 0:
                for before in range(len(known)):
                    if known[before] == own and places[before] > last:  # never of NaN
                        last = places[before]
            on[reader, at] = place[work] - last if np.isfinite(last) else np.float32(np.nan)
