"""What is kept of a decision, and what can be told from it later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from bookworks.models.bundle import Candidates, Order
from serving import schemas
from serving.bundles import Served
from serving.pipeline import Trace, explain_step
from serving.rules import Rules

EXCLUDED_KEPT = 50


def document(
    served: Served, body: schemas.RecommendRequest, answer: Mapping[str, Any], trace: Trace, at: datetime
) -> dict[str, Any]:
    """All that is kept: the answer, what was asked, the rules that held, and what the ranker saw of each book."""
    works = [item["work_id"] for item in answer["items"]]
    return {
        "answer": answer,
        "occurred_at": at,
        "request": _request(body),
        "rules": told(served.rules, trace.blocked),
        "features": _features(served, works, trace.candidates),
    }


def _request(body: schemas.RecommendRequest) -> dict[str, Any]:
    """What was asked; of a long list of excluded books the first, and how many there were."""
    asked = body.model_dump(mode="json", exclude_defaults=True)
    if len(body.exclude) > EXCLUDED_KEPT:
        asked |= {"exclude": asked["exclude"][:EXCLUDED_KEPT], "exclude_total": len(body.exclude)}
    return asked


def told(rules: Rules, blocked: list[str]) -> dict[str, Any]:
    """The rules that held for a reader, without the books of the lists."""
    return rules.described | {"blocked": blocked}


def _features(served: Served, works: list[str], candidates: Candidates | None) -> dict[str, Any]:
    """Of each book that the ranker has put in order, the values of the features that the ranker knows."""
    if candidates is None:
        return {}
    place = {index: row for row, index in enumerate(candidates.works.tolist())}
    found = {work: place.get(served.bundle.index_of[work]) for work in works}
    return {work: np.ascontiguousarray(candidates.rows[row]) for work, row in found.items() if row is not None}


def features(served: Served | None, kept: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Of each book its features by name, while the bundle of the decision serves; else none."""
    if served is None or served.version != kept["answer"]["bundle_version"]:
        return {}
    names = served.bundle.ranker.trees.names if served.bundle.ranker else []
    return {work: dict(zip(names, row, strict=True)) for work, row in kept["features"].items()}


def explanations(served: Served | None, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What the ranker made of each book then, while the bundle of the decision serves; else none."""
    if served is None or served.version != kept["answer"]["bundle_version"] or not kept["features"]:
        return {}
    works = list(kept["features"])
    rows = np.array(list(kept["features"].values()), dtype=np.float32)  # null, which was NaN, is NaN again
    indices = [served.bundle.index_of[work] for work in works]
    works_of = np.array(indices, dtype=np.int64)
    order = Order(works_of, np.zeros(works_of.size, dtype=np.float32), Candidates(works_of, rows))
    return dict(zip(works, explain_step(served.bundle, order, indices, Trace()), strict=True))
