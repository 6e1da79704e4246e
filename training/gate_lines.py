"""Conditions of the gate: floors, champion, slices, coverage, cost. Leaks have a file of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from bookworks.metrics.bootstrap import Interval, coverage_interval, mean_interval
from bookworks.metrics.ranking import Ranked, Values
from bookworks.models.bundle import Bundle
from bookworks.models.reader import ReaderState
from training.held_out import HeldOut
from training.reader_groups import groups_of
from training.verdict import GateParams, Line, Slice, Unreadable, shown

MIB = 2**20


def readers_line(n: int) -> Line:
    """Whether there is anybody to judge by."""
    return Line("readers", n > 0, f"{n} readers have held-out works; at least 1 is needed.")


def beats(name: str, own: Values, floor: Values, k: int) -> Line:
    """Surely better than a floor that knows no reader."""
    gain = mean_interval(own - floor)
    return Line(name, gain.low > 0, f"{_against(own, floor, name, k)}; its lower bound must be above 0.", gain)


ALIKE = ("item_filter", "ease")  # two linear item-item models: one of them is the floor


def learned_floor_lines(own: Values, floors: Mapping[str, Values], params: GateParams) -> list[Line]:
    """Worse than no learned floor beyond chance and the tolerance, and better than at least one.

    To be surely better than each would refuse a model that is as good as the best of them, which is itself chosen
    after the fact (docs/adr/0010). With few readers the order of models that are nearly equal is chance: then a
    better one is not asked for.
    """
    gains = {name: mean_interval(own - floor) for name, floor in floors.items()}
    alike = [name for name in gains if name in ALIKE]
    groups = [[name] for name in gains if name not in ALIKE] + ([alike] if alike else [])
    lines = [_not_missed(group, own, floors, gains, params) for group in groups]
    if gains:
        beaten = [name for name, gain in gains.items() if gain.value > 0]
        few = own.size < params.min_readers_to_beat
        needed = f"fewer than {params.min_readers_to_beat} readers cannot tell" if few else "at least one is needed"
        text = f"beats {', '.join(beaten) or 'none'} of the learned floors {', '.join(gains)}; {needed}."
        lines.append(Line("learned_floors", bool(beaten) or few, text))
    return lines


def _not_missed(
    group: list[str], own: Values, floors: Mapping[str, Values], gains: Mapping[str, Interval], params: GateParams
) -> Line:
    """Not surely worse than a floor by more than the tolerance; of floors that are alike, than one of them."""
    said = "; ".join(_against(own, floors[name], name, params.k) for name in group)
    least = max((gains[name] for name in group), key=lambda gain: gain.high)
    most = params.floor_tolerance * max(_mean(floors[name]) for name in group)
    bound = "the upper bound of one" if len(group) > 1 else "its upper bound"
    needed = f"{bound} must not be below {-most:.4f} ({params.floor_tolerance:.0%} of the floor's)"
    return Line("_or_".join(group), least.high >= -most, f"{said}; {needed}.", least)


def _against(own: Values, other: Values, name: str, k: int) -> str:
    gain = shown(mean_interval(own - other))
    return f"NDCG@{k} {_mean(own):.4f} against {_mean(other):.4f} of {name}: difference {gain}"


def _mean(values: Values) -> float:
    return float(values.mean()) if values.size else 0.0


def champion_lines(own: Values, serving: Values, version: str, params: GateParams) -> list[Line]:
    """Two conditions against the serving bundle: not worse beyond chance, and not much worse in any case.

    The first alone would let anything through with few readers, whose interval is wide; the second alone would
    let a small loss through again and again, each time measured against the last loser.

    Args:
        own: NDCG of the challenger, a value for each reader.
        serving: the champion's, for the same readers.
        version: of the champion.
        params: of the gate.
    """
    gain, level = mean_interval(own - serving), _mean(serving)
    most = params.tolerance * level
    measured = f"NDCG@{params.k} against {level:.4f} of the serving {version}: difference {shown(gain)}"
    return [
        Line("champion", gain.high >= 0, f"{measured}; its upper bound must not be below 0.", gain),
        Line(
            "champion_tolerance",
            gain.value >= -most,
            f"{measured}; it must not be below {-most:.4f} ({params.tolerance:.0%} of the champion's).",
        ),
    ]


def no_champion_line() -> Line:
    """The first deployment."""
    return Line("champion", True, "no model serves yet, so the other lines alone decide.")


def unreadable_line(champion: Unreadable) -> Line:
    """What cannot be compared is not known to be as good."""
    text = (
        f"the serving {champion.version} cannot be read, so nothing can be compared with it: {champion.why} "
        "Restore it and run the gate again, or `bookworks models rollback` to one that can be read."
    )
    return Line("champion", False, text)


def slices_of(tests: HeldOut, own: Values, serving: Values | None) -> list[Slice]:
    """NDCG of each part of the readers, and the paired difference to the champion."""
    found = []
    for name, rows in groups_of(tests).items():
        part = Slice(name, int(rows.size), float(own[rows].mean()))
        if serving is not None:
            gain = mean_interval(own[rows] - serving[rows])
            part = Slice(name, part.readers, part.ndcg, gain, float(serving[rows].mean()))
        found.append(part)
    return found


def slices_line(slices: list[Slice], params: GateParams) -> Line:
    """No part of the readers loses more than the tolerance, beyond chance."""
    judged = [(s, s.gain, s.champion) for s in slices if s.gain and s.champion and s.readers >= params.min_slice]
    lost = [
        f"{s.name} ({s.readers} readers) {shown(gain)} of {level:.4f}"
        for s, gain, level in judged
        if gain.high < -params.slice_tolerance * level
    ]
    text = (
        f"of {len(judged)} slices with {params.min_slice} readers or more, these lose more than "
        f"{params.slice_tolerance:.0%} of the champion's NDCG beyond chance: {'; '.join(lost) or 'none'}."
    )
    return Line("slices", not lost, text)


def coverage_line(lists: Ranked, n_works: int, params: GateParams) -> Line:
    """Enough of the catalogue is shown."""
    covered = coverage_interval(lists, n_works, samples=2).value
    text = f"the lists show {covered:.2%} of the catalogue; at least {params.min_coverage:.2%} is needed."
    return Line("coverage", covered >= params.min_coverage, text)


def latency_line(bundle: Bundle, tests: HeldOut, params: GateParams) -> Line:
    """Time of one call, in process, one after the other; the first is not counted."""
    states = tests.states[: params.latency_readers + 1]
    seconds = [_timed(bundle, state, params.k) for state in states][1:] or [0.0]
    median, p99 = (float(np.quantile(seconds, q)) * 1000 for q in (0.5, 0.99))
    text = (
        f"a list takes {median:.1f} ms (median) and {p99:.1f} ms (99 of 100) over {len(seconds)} readers; "
        f"at most {params.max_median_ms:g} and {params.max_p99_ms:g} ms are allowed."
    )
    return Line("latency", median <= params.max_median_ms and p99 <= params.max_p99_ms, text)


def _timed(bundle: Bundle, state: ReaderState, k: int) -> float:
    started = time.perf_counter()
    bundle.recommend(state, k)
    return time.perf_counter() - started


def size_line(bundle: Bundle, params: GateParams) -> Line:
    """What a service must download and hold."""
    mib = sum(part.bytes for part in bundle.manifest.parts.values()) / MIB
    text = f"the bundle has {mib:.1f} MiB; at most {params.max_mib:g} MiB are allowed."
    return Line("size", mib <= params.max_mib, text)
