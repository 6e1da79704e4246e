"""May this bundle serve? Judged against floors and the bundle that serves now, on the same readers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bookworks.contracts.verdict import FAILS, HOLDS, PASSED, REFUSED, headline
from bookworks.metrics.bootstrap import Interval, coverage_interval, mean_interval
from bookworks.metrics.ranking import Ranked, find_hits, ndcg_at, pad
from bookworks.models.bundle import Bundle
from bookworks.models.reader import ReaderState
from training.held_out import HeldOut, rank_with_bundle
from training.params import Params


class GateParams(Params):
    """Section `gate`."""

    k: int = Field(10, ge=1)
    tolerance: float = Field(0.05, ge=0, le=1, description="Most that may be lost, as a share of the champion's NDCG.")
    min_coverage: float = Field(0.01, ge=0, le=1)
    max_readers: int = Field(4000, ge=1)


@dataclass(frozen=True)
class Line:
    """One condition: what it says in words, with numbers, and whether it holds."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Unreadable:
    """A champion that serves, or should, and whose bundle cannot be read: which one, and why."""

    version: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """The gate's answer."""

    challenger: str
    champion: str | None
    readers: int
    lines: list[Line]

    @property
    def passed(self) -> bool:
        """All conditions hold."""
        return all(line.passed for line in self.lines)

    def text(self) -> str:
        """The verdict in words, failed lines first."""
        head = headline(self.challenger, PASSED if self.passed else REFUSED, self.readers)
        ordered = sorted(self.lines, key=lambda line: line.passed)
        return "\n".join([head, *(f"{HOLDS if line.passed else FAILS}{line.text}" for line in ordered)])

    def to_json(self) -> dict[str, Any]:
        """The verdict for programs."""
        return asdict(self) | {"passed": self.passed}


def judge(
    challenger: Bundle, champion: Bundle | Unreadable | None, tests: HeldOut, params: GateParams, seed: int
) -> Verdict:
    """Compare on the same test readers with the same code; `tests` counts works as the challenger does.

    A champion that cannot be read refuses the challenger: what cannot be compared is not known to be as good.
    """
    k = params.k
    lists = rank_with_bundle(challenger, tests.states, k)
    own = tests.ndcg(lists, k)
    floors = {
        "random": tests.ndcg(random_lists(challenger, tests.states, k, seed), k),
        "popularity": tests.ndcg(popular_lists(challenger, tests.states, k), k),
    }
    lines = [_readers_line(len(tests))]
    lines += [_beats(name, own, floor, k) for name, floor in floors.items()]
    lines.append(_coverage_line(lists, len(challenger), params))
    serving = None
    if champion is None:
        lines.append(Line("champion", True, "no model serves yet, so the floors alone decide."))
    elif isinstance(champion, Unreadable):
        serving = champion.version
        lines.append(_unreadable_line(champion))
    else:
        serving = champion.manifest.version
        lines += champion_lines(own, champion_ndcg(champion, challenger, tests, k), serving, params)
    return Verdict(challenger.manifest.version, serving, len(tests), lines)


def random_lists(bundle: Bundle, states: list[ReaderState], k: int, seed: int) -> Ranked:
    """A random list for each reader, without the history."""
    rng = np.random.default_rng(seed)
    return pad([_without(rng.permutation(len(bundle))[: k + len(s.history)].tolist(), s, k) for s in states], k)


def popular_lists(bundle: Bundle, states: list[ReaderState], k: int) -> Ranked:
    """What is popular for each reader, without the history."""
    orders: dict[tuple[str | None, str | None], list[int]] = {}
    for state in states:
        orders.setdefault((state.age_bin, state.country), bundle.popular(state))
    return pad([_without(orders[s.age_bin, s.country], s, k) for s in states], k)


def champion_ndcg(champion: Bundle, challenger: Bundle, tests: HeldOut, k: int) -> npt.NDArray[np.float64]:
    """NDCG@k of the serving bundle for the same readers; works that it does not have cannot be found by it."""
    states = [_as_known_to(champion, challenger, state) for state in tests.states]
    relevant = [_translated(works, challenger, champion) for works in tests.relevant]
    hits = find_hits(rank_with_bundle(champion, states, k), relevant, len(champion))
    return ndcg_at(hits, tests.n_relevant, k)


def _as_known_to(bundle: Bundle, source: Bundle, state: ReaderState) -> ReaderState:
    weights = state.weights or [1.0] * len(state.history)
    pairs = [(bundle.index_of.get(source.work_ids[i]), w) for i, w in zip(state.history, weights, strict=True)]
    known = [(i, w) for i, w in pairs if i is not None]
    return replace(state, history=[i for i, _ in known], weights=[w for _, w in known])


def _translated(works: list[int], source: Bundle, target: Bundle) -> list[int]:
    found = (target.index_of.get(source.work_ids[i]) for i in works)
    return [i for i in found if i is not None]


def _without(ranked: list[int], state: ReaderState, k: int) -> list[int]:
    seen = set(state.history)
    kept: list[int] = []
    for work in ranked:
        if work not in seen:
            kept.append(work)
            if len(kept) == k:
                break
    return kept


def _readers_line(n: int) -> Line:
    return Line("readers", n > 0, f"{n} readers have held-out works; at least 1 is needed.")


def _beats(name: str, own: npt.NDArray[np.float64], floor: npt.NDArray[np.float64], k: int) -> Line:
    gain = mean_interval(own - floor)
    text = (
        f"NDCG@{k} {own.mean() if own.size else 0:.4f} against {floor.mean() if floor.size else 0:.4f} of {name}: "
        f"difference {_shown(gain)}; its lower bound must be above 0."
    )
    return Line(name, gain.low > 0, text)


def _coverage_line(lists: Ranked, n_works: int, params: GateParams) -> Line:
    shown = coverage_interval(lists, n_works, samples=2).value
    text = f"the lists show {shown:.2%} of the catalogue; at least {params.min_coverage:.2%} is needed."
    return Line("coverage", shown >= params.min_coverage, text)


def champion_lines(
    own: npt.NDArray[np.float64], serving: npt.NDArray[np.float64], version: str, params: GateParams
) -> list[Line]:
    """Two conditions against the serving bundle: not worse beyond chance, and not much worse in any case.

    The first alone would let anything through with few readers, whose interval is wide; the second alone would
    let a small loss through again and again, each time measured against the last loser.

    Args:
        own: NDCG of the challenger, a value for each reader.
        serving: the champion's, for the same readers.
        version: of the champion.
        params: of the gate.
    """
    gain, level = mean_interval(own - serving), float(serving.mean() if serving.size else 0)
    most = params.tolerance * level
    measured = f"NDCG@{params.k} against {level:.4f} of the serving {version}: difference {_shown(gain)}"
    return [
        Line("champion", gain.high >= 0, f"{measured}; its upper bound must not be below 0."),
        Line(
            "champion_tolerance",
            gain.value >= -most,
            f"{measured}; it must not be below {-most:.4f} ({params.tolerance:.0%} of the champion's).",
        ),
    ]


def _unreadable_line(champion: Unreadable) -> Line:
    text = (
        f"the serving {champion.version} cannot be read, so nothing can be compared with it: {champion.why} "
        "Restore it and run the gate again, or `bookworks models rollback` to one that can be read."
    )
    return Line("champion", False, text)


def _shown(interval: Interval) -> str:
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
