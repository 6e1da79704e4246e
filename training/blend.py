"""Chooses the weights of the blend on validation readers; the test readers are never looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bookworks.models.bundle import Blend, Bundle
from bookworks.models.reader import ReaderState
from training.params import Params

K = 20
SOURCES = ("item_filter", "vectors", "popularity")


class BlendGrid(Params):
    """What is tried; the item filter's weight is 1."""

    history_share: tuple[float, ...] = (0.0, 0.3, 0.6, 0.9)
    vectors: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    popularity: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
    tastes_popularity: float = Field(0.3, ge=0)


@dataclass(frozen=True)
class Choice:
    """The best weights of one tier and their NDCG@20 on validation."""

    weights: dict[str, float]
    history_share: float
    valid_ndcg_at_20: float


def choose_blend(
    bundle: Bundle, states: list[ReaderState], relevant: list[list[int]], grid: BlendGrid, session_length: int
) -> tuple[Blend, dict[str, Choice]]:
    """Weights of the tiers warm and session; tastes and cold need none."""
    sessions = [replace(s, user_id=None, history=s.history[-session_length:], weights=s.weights[-session_length:])
                for s in states]  # fmt: skip
    warm = _choose(bundle, "warm", states, relevant, grid)
    session = _choose(bundle, "session", sessions, relevant, grid)
    tiers = {
        "warm": warm.weights,
        "session": session.weights,
        "tastes": {"tastes": 1.0, "popularity": grid.tastes_popularity},
        "cold": {"popularity": 1.0},
    }
    shares = {"warm": warm.history_share, "session": session.history_share}
    return Blend(tiers, shares), {"warm": warm, "session": session}


def _choose(bundle: Bundle, tier: str, states: list[ReaderState], relevant: list[list[int]], grid: BlendGrid) -> Choice:
    usable = [(s, r) for s, r in zip(states, relevant, strict=True) if s.history and bundle.tier_of(s) == tier]
    weights = np.array(list(product((1.0,), grid.vectors, grid.popularity)), dtype=np.float32)
    best = Choice(dict(zip(SOURCES, (1.0, 0.5, 0.1), strict=True)), 0.5, 0.0)
    for share in grid.history_share if usable else ():
        everything = dict.fromkeys(SOURCES, 1.0)
        trial = bundle.with_blend(Blend({tier: everything}, {"warm": share, "session": share}))
        values = np.mean([_ndcg(trial, state, works, weights) for state, works in usable], axis=0)
        i = int(np.argmax(values))
        if values[i] > best.valid_ndcg_at_20:
            best = Choice({n: float(w) for n, w in zip(SOURCES, weights[i], strict=True)}, share, float(values[i]))
    return best


def _ndcg(
    bundle: Bundle, state: ReaderState, relevant: list[int], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """NDCG@20 of one reader under each row of `weights`, from the ranks of the relevant works alone."""
    scores = bundle.source_scores(state)
    empty = np.zeros(len(bundle), dtype=np.float32)
    blended = weights @ np.stack([scores.get(name, empty) for name in SOURCES])
    blended[:, state.history] = -np.inf
    ranks = np.stack([(blended >= blended[:, work, None]).sum(axis=1) for work in relevant], axis=1)
    gains = np.where(ranks <= K, 1.0 / np.log2(ranks + 1.0), 0.0).sum(axis=1)
    ideal = (1.0 / np.log2(np.arange(2, min(len(relevant), K) + 2))).sum()
    result: npt.NDArray[np.float64] = gains / ideal
    return result
