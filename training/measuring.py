"""Ranked lists to numbers: metrics with intervals over readers, and slices of readers and of works."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bookworks.metrics.bootstrap import mean_interval
from bookworks.metrics.ranking import Values, coverage, distinct, find_hits, gini, ndcg_at, novelty, recall_at
from training.dataset import Dataset
from training.recommenders.base import Lists
from training.recommenders.blend import Asked
from training.recommenders.content import column, readers_of

KS = (10, 20)
K = 20
HISTORY = ((0, 0), (1, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, None))  # works known of a reader
POPULARITY = (("new", 0, 0), ("rare", 1, 10), ("known", 11, 50), ("popular", 51, None))  # training readers of a work


def measures(lists: Lists, known: Asked, data: Dataset) -> dict[str, Any]:
    """Every number of one model: `metrics` with 95 % intervals, `slices` by history and by popularity of the work."""
    hits = find_hits(lists.works, known.relevant, data.n_works)
    n_relevant, popularity = known.n_relevant, readers_of(data)
    values: dict[str, Values] = {}
    for k in KS:
        values[f"recall_at_{k}"] = recall_at(hits, n_relevant, k)
        values[f"ndcg_at_{k}"] = ndcg_at(hits, n_relevant, k)
    values["novelty_at_20"] = novelty(lists.works, popularity.astype(np.int64), data.n_trained)
    if any(column(data, "author_id")):
        values["authors_at_20"] = distinct(lists.works, _authors(data))
    metrics: dict[str, Any] = {name: interval(v) for name, v in values.items()}
    metrics["coverage_at_20"] = {"value": coverage(lists.works, data.n_works)}
    metrics["gini_at_20"] = {"value": gini(lists.works, data.n_works)}
    slices = _by_history(values, known) | _by_popularity(hits, lists, known, popularity)
    return {"metrics": metrics, "slices": slices}


def interval(values: Values) -> dict[str, float]:
    """Mean over readers with the bounds of its 95 % interval."""
    found = mean_interval(values)
    return {"value": found.value, "low": found.low, "high": found.high}


def _authors(data: Dataset) -> npt.NDArray[np.int64]:
    """Number of each work's author; one without is its own."""
    names = [str(author or f"\0{row}") for row, author in enumerate(column(data, "author_id"))]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _by_history(values: dict[str, Values], known: Asked) -> dict[str, Any]:
    length = np.diff(known.batch.histories.indptr)
    found = {}
    for low, high in HISTORY:
        chosen = (length >= low) & (length <= (high if high is not None else length.max(initial=0)))
        if chosen.any():
            name = f"history {low}" if low == high else f"history {low}-{high or ''}"
            found[name] = {"readers": int(chosen.sum())} | {
                metric: interval(values[metric][chosen]) for metric in ("recall_at_20", "ndcg_at_20")
            }
    return found


def _by_popularity(hits: npt.NDArray[np.bool_], lists: Lists, known: Asked, popularity: Values) -> dict[str, Any]:
    """Recall of the wanted works of one kind among the first 20 of all works."""
    found = {}
    for name, low, high in POPULARITY:
        kind = (popularity >= low) & (popularity <= (high if high is not None else np.inf))
        wanted = np.array([int(kind[works].sum()) for works in known.relevant], dtype=np.int64)
        if wanted.any():
            got = hits & kind[np.maximum(lists.works, 0)]
            recall = recall_at(got, wanted, K)[wanted > 0]
            found[f"work {name}"] = {"readers": int((wanted > 0).sum()), "recall_at_20": interval(recall)}
    return found
