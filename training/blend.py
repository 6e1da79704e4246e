"""Chooses the weights of the blend on validation readers; the test readers are never looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bookworks.models.bundle import POPULARITY, TASTES, VECTORS, Blend, Bundle, scaled
from bookworks.models.bundle_files import ITEM_FILTER
from bookworks.models.ordering import top
from bookworks.models.reader import ReaderState
from training.params import Params

K = 20
NAMED = 3  # authors a reader names
Values = npt.NDArray[np.float64]


class BlendGrid(Params):
    """Where the search begins and what it tries; the item filter's weight is 1."""

    history_share: tuple[float, ...] = (0.0, 0.3, 0.6, 0.9)
    start: dict[str, float] = Field({VECTORS: 0.5, POPULARITY: 0.1})
    start_others: float = Field(0.25, ge=0)
    steps: tuple[float, ...] = Field((0.0, 0.25, 0.5, 2.0, 4.0), description="Factors that are tried for a weight.")
    rounds: int = Field(3, ge=0)
    depth: int = Field(200, ge=K, description="Works of each source that are looked at.")
    tastes_popularity: float = Field(0.3, ge=0)
    named_lengths: tuple[int, ...] = Field((1, 3, 5), description="Histories beside which named tastes are tried.")
    named_weights: tuple[float, ...] = Field((0.0, 1.0, 2.0, 4.0, 8.0, 16.0), description="What they may weigh there.")


@dataclass(frozen=True)
class Choice:
    """The best weights of one tier and their NDCG@20 on validation."""

    weights: dict[str, float]
    history_share: float
    valid_ndcg_at_20: float


def choose_blend(
    bundle: Bundle, states: list[ReaderState], relevant: list[list[int]], grid: BlendGrid, session_length: int
) -> tuple[Blend, dict[str, Choice]]:
    """Weights of the tiers warm and session; tastes and cold need none, and for `named` see `choose_named`."""
    read = [state.history for state in states]
    warm = _choose(bundle, "warm", states, read, relevant, grid)
    session = _choose(bundle, "session", as_sessions(states, session_length), read, relevant, grid)
    tiers = {
        "warm": warm.weights,
        "session": session.weights,
        "tastes": {TASTES: 1.0, POPULARITY: grid.tastes_popularity},
        "cold": {POPULARITY: 1.0},
    }
    shares = {"warm": warm.history_share, "session": session.history_share}
    return Blend(tiers, shares), {"warm": warm, "session": session}


def choose_named(
    bundle: Bundle, states: list[ReaderState], relevant: list[list[int]], grid: BlendGrid
) -> dict[int, float]:
    """Length of a history -> weight of named tastes beside it, never more beside a longer one."""
    named, most = dict[int, float](), max(grid.named_weights, default=0.0)
    for n in sorted(grid.named_lengths):
        most = named[n] = min(most, _choose_named(bundle, n, states, relevant, grid))
    return named


def naming(bundle: Bundle, state: ReaderState, clicks: int) -> ReaderState:
    """The reader as a session of the last `clicks` works that has named authors of up to three earlier ones."""
    (session,) = as_sessions([state], clicks)
    authors = [bundle.author_of(work) for work in reversed(state.history[:-clicks])]
    return replace(session, tastes=list(dict.fromkeys(author for author in authors if author))[:NAMED])


def _choose_named(
    bundle: Bundle, clicks: int, states: list[ReaderState], relevant: list[list[int]], grid: BlendGrid
) -> float:
    """The weight of named tastes beside a history of so many works; 0 where none ranks surely better.

    Training rows name nothing, so readers name the authors of works that the session is not told of; readers of fewer
    works than that takes do not count, as they would name fewer authors than a new reader does.
    """
    trial = bundle.with_blend(replace(bundle.blend, named={clicks: 1.0}))
    able = [pair for pair in zip(states, relevant, strict=True) if len(pair[0].history) >= clicks + NAMED]
    asked = [(naming(bundle, state, clicks), state.history, wanted) for state, wanted in able]
    readers = [_Scored(trial, *reader, grid.depth) for reader in asked if reader[0].tastes]
    session = bundle.blend.tiers["session"]
    plain = np.array([session.get(name, 0.0) for name in bundle.sources], dtype=np.float32)
    best, before = 0.0, _ndcg(readers, np.append(plain, np.float32(0.0)))
    for weight in grid.named_weights if readers else ():
        values = _ndcg(readers, np.append(plain, np.float32(weight)))
        gain = values - before
        if gain.mean() > 0.5 * gain.std() / np.sqrt(gain.size):
            best, before = weight, values
    return best


def as_sessions(states: list[ReaderState], length: int) -> list[ReaderState]:
    """The same readers as sessions know them: nobody's id, the last `length` works."""
    return [replace(s, user_id=None, history=s.history[-length:], weights=s.weights[-length:]) for s in states]


def _choose(
    bundle: Bundle,
    tier: str,
    states: list[ReaderState],
    read: list[list[int]],
    relevant: list[list[int]],
    grid: BlendGrid,
) -> Choice:
    readers = zip(states, read, relevant, strict=True)
    usable = [reader for reader in readers if reader[0].history and bundle.tier_of(reader[0]) == tier]
    start = {name: grid.start.get(name, grid.start_others) for name in bundle.sources} | {ITEM_FILTER: 1.0}
    best = Choice(start, 0.5, 0.0)
    for share in grid.history_share if usable else ():
        trial = bundle.with_blend(Blend({tier: start}, {"warm": share, "session": share}))
        weights, value = _search([_Scored(trial, *reader, grid.depth) for reader in usable], start, grid)
        if value > best.valid_ndcg_at_20:
            best = Choice(weights, share, value)
    return best


def _search(readers: Sequence[_Scored], start: Mapping[str, float], grid: BlendGrid) -> tuple[dict[str, float], float]:
    """Weights by coordinate search; one moves only where that gains more than half of a standard error.

    A weight that has become 0 stays there: what is tried are factors.
    """
    names, weights = list(start), np.array(list(start.values()), dtype=np.float32)
    best = _ndcg(readers, weights)
    for _ in range(grid.rounds):
        before = weights.copy()
        for place in (place for place, name in enumerate(names) if name != ITEM_FILTER):
            trials = [np.where(np.arange(len(names)) == place, weights * step, weights) for step in grid.steps]
            values = [_ndcg(readers, trial) for trial in trials]
            at = int(np.argmax([value.mean() for value in values]))
            gain = values[at] - best
            if gain.mean() > 0.5 * gain.std() / np.sqrt(gain.size):
                weights, best = trials[at], values[at]
        if np.array_equal(weights, before):
            break
    return {name: float(weight) for name, weight in zip(names, weights, strict=True)}, float(best.mean())


class _Scored:
    """One reader's works that any source has among its first, and where the relevant ones are among them.

    All that was `read` before is left out, also what a session does not know of.
    """

    def __init__(self, bundle: Bundle, state: ReaderState, read: list[int], relevant: list[int], depth: int) -> None:
        own = bundle.score(state, every=True).own
        names = [*bundle.sources, *(name for name in (TASTES,) if name in own)]
        table = np.stack([scaled(name, own[name]) for name in names])
        table[:, read] = -np.inf
        kept = np.unique(np.concatenate([np.asarray(relevant), *(top(row, depth) for row in table)]).astype(np.int64))
        self.scores = table[:, kept]
        self.places = np.searchsorted(kept, relevant)

    def ndcg(self, weights: npt.NDArray[np.float32]) -> float:
        """NDCG@20 under these weights, from the ranks of the relevant works alone."""
        total = weights @ self.scores
        ranks = (total >= total[self.places, None]).sum(axis=1)
        gains = np.where(ranks <= K, 1.0 / np.log2(ranks + 1.0), 0.0).sum()
        return float(gains / (1.0 / np.log2(np.arange(2, min(len(self.places), K) + 2))).sum())


def _ndcg(readers: Sequence[_Scored], weights: npt.NDArray[np.float32]) -> Values:
    return np.array([reader.ndcg(weights) for reader in readers])
