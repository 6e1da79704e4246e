"""Does the challenger know what it cannot know? Lines of the gate about the split and about the future in a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bookworks.metrics.bootstrap import mean_interval
from bookworks.metrics.ranking import Ranked, Values
from bookworks.models.bundle import Blend, Bundle
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.held_out import HeldOut, rank_with_bundle
from training.verdict import GateParams, Line, shown


@dataclass(frozen=True)
class Span:
    """Times of the rows of one part that have one."""

    first: datetime
    last: datetime
    rows: int


def spans_of(data: Dataset, interactions: pa.Table) -> dict[str, Span]:
    """Part -> its times; a part without times is left out.

    Args:
        data: the split.
        interactions: the snapshot it was made of, with `user_id`, `work_id`, `occurred_at`.
    """
    rows = data.interactions
    parts = pa.table(
        {
            "user_id": data.readers["user_id"].take(rows["reader"]),
            "work_id": data.works["work_id"].take(rows["work"]),
            "part": rows["part"],
        }
    )
    timed = interactions.filter(pc.is_valid(interactions["occurred_at"]))
    times = parts.join(timed.select(["user_id", "work_id", "occurred_at"]), ["user_id", "work_id"], join_type="inner")
    found = times.group_by("part").aggregate([("occurred_at", kind) for kind in ("min", "max", "count")])
    return {
        row["part"]: Span(row["occurred_at_min"], row["occurred_at_max"], row["occurred_at_count"])
        for row in found.to_pylist()
    }


def split_line(spans: dict[str, Span]) -> Line:
    """How the split was made; where there are times, a part begins only after the one before it has ended."""
    ordered = [(part, spans[part]) for part in (TRAIN, VALID, TEST) if part in spans]
    if not ordered:
        return Line("split", True, "no row has a time, so the split is by a hash of reader and work.")
    told = "; ".join(f"{part} {_day(span.first)} to {_day(span.last)} ({span.rows} rows)" for part, span in ordered)
    pairs = pairwise(ordered)
    mixed = [f"{later} begins before {part} ends" for (part, a), (later, b) in pairs if b.first <= a.last]
    if TEST not in spans:
        mixed.append("test has none of the timed rows")
    if mixed:
        return Line("split", False, f"rows have times, but the split did not go by them: {', '.join(mixed)} ({told}).")
    return Line("split", True, f"the split is by time: {told}.")


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"


def overlap_line(data: Dataset, tests: HeldOut) -> Line:
    """No held-out pair is among what was learned from, nor in what the bundle is told of a reader."""
    learned, held = (_keys(data, *parts) for parts in ((TRAIN, VALID), (TEST,)))
    twice = int(np.isin(held, learned).sum())
    states = zip(tests.states, tests.relevant, strict=True)
    told = sum(len(set(state.history) & set(works)) for state, works in states)
    text = f"{twice} held-out pairs are among the training rows, {told} in the histories; none may be."
    return Line("overlap", not twice and not told, text)


def _keys(data: Dataset, *parts: str) -> np.ndarray:
    rows = data.rows(*parts)
    keys: np.ndarray = rows["reader"].to_numpy() * data.n_works + rows["work"].to_numpy()
    return keys


def shuffled_line(lists: Ranked, popular: Ranked, tests: HeldOut, params: GateParams, seed: int) -> Line:
    """With the held-out works of somebody else a list is worth little more than popular works are.

    One that is worth more knows which works will be read; popular works are counted without the test part.
    """
    k, other = params.k, shuffled(tests, seed)
    own, floor = other.ndcg(lists, k), other.ndcg(popular, k)
    gain, most = mean_interval(own - floor), params.max_shuffled * _mean(tests.ndcg(lists, k))
    text = (
        f"with held-out works shuffled among readers NDCG@{k} is {_mean(own):.4f}, of popularity {_mean(floor):.4f}, "
        f"difference {shown(gain)}; its lower bound must not be above {most:.4f}, {params.max_shuffled:.0%} of NDCG."
    )
    return Line("shuffled", gain.low <= most, text)


def shuffled(tests: HeldOut, seed: int) -> HeldOut:
    """The same readers, each with the held-out works of another.

    Works of the own history stay among them: to leave them out would leave fewer to find where tastes are alike.
    """
    order = np.random.default_rng(seed).permutation(len(tests))
    given = np.empty(len(tests), dtype=np.int64)
    given[order] = np.roll(order, 1)
    return replace(tests, relevant=[tests.relevant[g] for g in given])


def ceiling_line(own: Values, params: GateParams) -> Line:
    """Nobody guesses nearly all that a reader will read."""
    text = f"NDCG@{params.k} is {_mean(own):.4f}; above {params.max_ndcg:g} it is not believed."
    return Line("ceiling", _mean(own) <= params.max_ndcg, text)


@dataclass(frozen=True)
class Reference:
    """What an honest model reaches: one fitted to the part `train` alone, one fitted to `valid`, too, the best floor.

    Attributes:
        valid: NDCG of the first for the readers of the validation part.
        test: the same for test readers, their history being longer.
        refit: NDCG of the second for test readers.
        floor: NDCG of the best floor for test readers.
    """

    valid: Values
    test: Values
    refit: Values
    floor: Values

    @property
    def drift(self) -> float:
        """How much easier test readers are than validation readers for the honest model, at least 1."""
        return _at_least_as(self.test, self.valid)

    @property
    def freshness(self) -> float:
        """How much better the honest model ranks for test readers once it has seen the part `valid`, at least 1."""
        return _at_least_as(self.refit, self.test)


def _at_least_as(later: Values, before: Values) -> float:
    return max(1.0, _mean(later) / _mean(before)) if _mean(before) else 1.0


def source_lines(draft: Bundle, tests: HeldOut, valid: HeldOut, reference: Reference, params: GateParams) -> list[Line]:
    """Each source of blend and ranker alone, fitted to the part `train`, on test and validation readers.

    A source that saw the test part ranks it better than the validation part; one that saw both, far better than a
    floor that was fitted without the test part.
    """
    return [_source_line(name, alone(draft, name), tests, valid, reference, params) for name in sorted(draft.sources)]


def refit_lines(bundle: Bundle, draft: Bundle, tests: HeldOut, reference: Reference, params: GateParams) -> list[Line]:
    """Each source alone for test readers, as it serves and as it was before it was fitted again.

    To learn from the part `valid`, too, helps a source about as much as it helps an honest model; to learn from the
    test part helps more. A source that knew little before may gain more, as far as the best floor.
    """
    return [_refit_line(name, alone(bundle, name), alone(draft, name), tests, reference, params)
            for name in sorted(bundle.sources)]  # fmt: skip


def _refit_line(
    name: str, bundle: Bundle, draft: Bundle, tests: HeldOut, reference: Reference, params: GateParams
) -> Line:
    k = params.k
    own, before = (tests.ndcg(rank_with_bundle(one, tests.states, k), k) for one in (bundle, draft))
    floor, factor = _mean(reference.floor), params.max_over_valid * reference.freshness
    text = (
        f"{name} alone, fitted again, has NDCG@{k} {_mean(own):.4f} on test readers and had {_mean(before):.4f}, an "
        f"honest model {_mean(reference.refit):.4f} and {_mean(reference.test):.4f}; it must not surely be above both "
        f"{factor:.2f} times what it had and the best floor, {floor:.4f}, nor above {params.max_over_floor:g} times "
        f"that floor."
    )
    most = max(factor * mean_interval(before).high, floor)
    return Line(f"refit_{name}", not _too_good(own, before, most, reference, params), text)


def _too_good(own: Values, before: Values, most: float, reference: Reference, params: GateParams) -> bool:
    """Surely above `most`, if that is known by enough readers, or far above the best floor."""
    enough = min(own.size, before.size) >= params.min_slice
    over_floor = mean_interval(own - params.max_over_floor * reference.floor).low > 0
    return over_floor or (enough and mean_interval(own).low > most)


def alone(bundle: Bundle, source: str) -> Bundle:
    """The bundle with one source only."""
    return bundle.with_blend(Blend({tier: {source: 1.0} for tier in bundle.blend.tiers}, bundle.blend.history_share))


def _source_line(
    name: str, bundle: Bundle, tests: HeldOut, valid: HeldOut, reference: Reference, params: GateParams
) -> Line:
    k = params.k
    own, before = (part.ndcg(rank_with_bundle(bundle, part.states, k), k) for part in (tests, valid))
    honest, floor = (_mean(reference.test), _mean(reference.valid)), _mean(reference.floor)
    text = (
        f"{name} alone has NDCG@{k} {_mean(own):.4f} on test and {_mean(before):.4f} on validation readers, where "
        f"an honest model has {honest[0]:.4f} and {honest[1]:.4f}, and the best floor {floor:.4f} on test; it must not "
        f"surely be above {params.max_over_valid:g} times validation nor {params.max_over_floor:g} times the floor."
    )
    most = params.max_over_valid * reference.drift * mean_interval(before).high
    return Line(f"source_{name}", not _too_good(own, before, most, reference, params), text)


def ranker_line(
    draft: Bundle, tests: HeldOut, valid: HeldOut, learned: float | None, drift: float, params: GateParams
) -> Line:
    """What the trees gain on the blend, for test readers and for validation readers, who may have taught them.

    An honest gain is no larger on test than for those who taught the trees, and about what trees of other readers
    gained on validation; trees that were taught by test readers gain more.

    Args:
        draft: with a ranker, its sources fitted to the part `train`.
        tests: test readers.
        valid: validation readers.
        learned: gain for validation readers by trees that they had not taught, as a share of the blend's NDCG@20; None
            where nobody tells.
        drift: of a `Reference`.
        params: of the gate.
    """
    k, blend = params.k, draft.with_blend(draft.blend)
    plain, plain_before = (part.ndcg(rank_with_bundle(blend, part.states, k), k) for part in (tests, valid))
    own, before = (part.ndcg(rank_with_bundle(draft, part.states, k), k) for part in (tests, valid))
    on_test, on_valid, level = mean_interval(own - plain), mean_interval(before - plain_before), _mean(plain)
    limits = {"validation readers": drift * max(on_valid.high, 0.0)}
    if learned is not None:
        limits["readers that had not taught the trees"] = level * (
            params.max_over_valid * max(learned, 0.0) + params.ranker_tolerance
        )
    enough = min(own.size, before.size) >= params.min_slice
    told = "; ".join(f"by {name} {most:.4f}" for name, most in limits.items())
    text = (
        f"the ranker gains NDCG@{k} {shown(on_test)} on the blend's {level:.4f} for test readers and "
        f"{shown(on_valid)} for validation readers; the lower bound for test readers must not be above what is "
        f"allowed {told}."
    )
    return Line("source_ranker", not enough or on_test.low <= min(limits.values()), text)


def learned_gain(report: Mapping[str, Any]) -> float | None:
    """What the trees of a stage's report gained for readers that had not taught them; None where it tells nothing."""
    found, objective = report.get("valid_ndcg_at_20", {}), report.get("objective")
    if not found.get("blend") or objective not in found:
        return None
    return float(found[objective] / found["blend"] - 1.0)


def _mean(values: Values) -> float:
    return float(values.mean()) if values.size else 0.0
