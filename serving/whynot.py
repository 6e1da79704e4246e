"""What keeps a book out of a reader's slate, in the order of the steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bookworks.models.bundle import Order
from serving import pipeline, schemas
from serving.asking import Asked
from serving.bundles import Served
from serving.pipeline import Known, Trace, Turn
from serving.policy import Exploration
from serving.rules import SERIES_IN_ORDER, Picker, Rules, Slate

Reason = dict[str, str]


def told(served: Served, asked: Asked, body: schemas.WhyNotRequest, trace: Trace) -> dict[str, Any]:
    """Whether the slate has the book, else all that keeps it out."""
    index = served.catalogue.index(body.book)
    if index is None:
        return _answer([_reason("catalogue", "unknown", "The catalogue has no such book")])
    served = replace(served, rules=_without_draw(served.rules))
    known = pipeline.history_step(served, asked.user_id, asked.online)
    excluded = {i for i in map(served.catalogue.index, body.exclude) if i is not None}
    allowed = pipeline.shown_step(served, known, asked.online, asked.filters, trace)
    hidden = [
        *_by_history(served, known, index),
        *_by_request(served, excluded, asked, index),
        *(
            _reason("blocked", one, "A list of the rules blocks it for this reader")
            for one in _lists(served, trace, index)
        ),
    ]
    found = {"work_id": served.catalogue.work_ids[index], "title": served.catalogue.titles[index] or ""}
    if hidden:
        return found | _answer(hidden)
    turn = Turn(known, asked.online, body.n, allowed, frozenset(served.catalogue.with_twins(known.banned | excluded)))
    return found | _by_rank(served, turn, index, trace)


def _without_draw(rules: Rules) -> Rules:
    return replace(rules, policy=rules.policy.model_copy(update={"exploration": Exploration()}))


def _by_history(served: Served, known: Known, index: int) -> list[Reason]:
    """Read or sent away, itself or a work of the same title and author."""
    met, away, with_twins = known.read | known.looked_at, known.away, served.catalogue.with_twins
    cases = (
        ("read", known.read, "The reader has read or owns it"),
        ("looked_at", known.looked_at, "The reader has looked at it before"),
        ("dismissed", away, "The reader has sent it or its author away"),
        ("twin_of_read", with_twins(met) - met, "The same title and author as a book that was read or looked at"),
        ("twin_of_dismissed", with_twins(away) - away, "The same title and author as a book that was sent away"),
    )
    return [_reason("history", rule, detail) for rule, works, detail in cases if index in works]


def _by_request(served: Served, excluded: set[int], asked: Asked, index: int) -> list[Reason]:
    filtered = served.catalogue.facets.broken(asked.filters, index)
    excludes = index in served.catalogue.with_twins(excluded)
    out = [_reason("request", "exclude", "The request excludes it")] if excludes else []
    return out + [_reason("filters", name, f"It does not meet `filters.{name}`") for name in filtered]


def _lists(served: Served, trace: Trace, index: int) -> list[str]:
    holding = (one for one in served.rules.blocked if one.policy.name in trace.blocked)
    return [one.policy.name for one in holding if index in one.works]


def _by_rank(served: Served, turn: Turn, index: int, trace: Trace) -> dict[str, Any]:
    """Its place among all works that may be shown, and the rules that this place meets."""
    state = turn.known.state
    near = pipeline.candidates_step(served, state, trace, turn.allowed)
    scored = pipeline.filter_step(served.bundle.score(state, near), turn.allowed)
    order = pipeline.rank_step(served, state, scored, turn.banned, trace)
    slate, _ = pipeline.rules_step(served, order, turn)
    ranked = {
        "rank": _rank(order, index),
        "score": round(float(order.total[index]), 6),
        "sources": {name: round(float(part[index]), 6) for name, part in scored.added.items()},
        "candidate": None if order.candidates is None else bool(np.isin(index, order.candidates.works)),
        "relaxed": slate.relaxed,
    }
    if index in slate.works:
        return ranked | {"shown": True, "position": slate.works.index(index), "reasons": []}
    return ranked | _answer([*_by_place(served, turn, order, slate, index), *_by_rules(served, turn, slate, index)])


def _rank(order: Order, index: int) -> int:
    """From 1; `order` holds the whole catalogue, and ties go to the lower index."""
    score = order.total[index]
    return int(np.count_nonzero(order.total > score) + np.count_nonzero(order.total[:index] == score)) + 1


def _by_place(served: Served, turn: Turn, order: Order, slate: Slate, index: int) -> list[Reason]:
    """Behind the last that is shown; moved there where the rules did that."""
    first = pipeline.reordered(served, order.first(pipeline.DEPTH), turn.online)
    place_of = {work: place for place, work in enumerate(first, 1)}
    rank = _rank(order, index)
    place = place_of.get(index, rank)
    last = max((place_of.get(i, 0) for i in slate.works if i not in slate.lifted), default=0)
    if len(slate.works) < turn.n or place <= last:
        return []
    if rank <= last:
        return [
            _reason(
                "rank", "moved_back", f"Shown lately, or others are newer: from place {rank} to {place} of the order"
            )
        ]
    behind = f"Place {place} of the order, and the slate ends at place {last}"
    if order.candidates is not None and not np.isin(index, order.candidates.works):
        return [_reason("candidates", "not_a_candidate", f"The ranker did not look at it. {behind}")]
    return [_reason("rank", "beyond_slate", behind)]


def _by_rules(served: Served, turn: Turn, slate: Slate, index: int) -> list[Reason]:
    """Rules that it would break beside the works of the slate."""
    rules, volumes = served.rules, served.rules.volumes
    read = volumes.read(served.catalogue.with_twins(turn.known.read)) if volumes else set()
    picker = Picker(rules, read, slate.works)
    most = {limit.name: limit.most for limit in rules.limits}
    reasons = []
    if picker.repeats(index):
        reasons.append(_reason("rules", "twin_of_shown", "A book of the same title and author is in the slate"))
    for name in picker.breaks(index):
        if volumes is not None and name == SERIES_IN_ORDER:
            missing = ", ".join(f"{volume:g}" for volume in volumes.missing(index, read))
            reasons.append(_reason("rules", name, f"Earlier volumes are not read: {missing}"))
        else:
            reasons.append(_reason("rules", name, f"The slate has its {most[name]} of this {name}"))
    return reasons


def _answer(reasons: list[Reason]) -> dict[str, Any]:
    return {"shown": False, "reasons": reasons}


def _reason(step: str, rule: str, detail: str) -> Reason:
    return {"step": step, "rule": rule, "detail": detail}
