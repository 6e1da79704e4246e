"""What the training rows and the catalogue tell of each work."""

from __future__ import annotations

from typing import Any

import numpy as np

from bookworks.models.work_facts import GROUPS, Floats, Ints, WorkFacts
from training.dataset import Dataset
from training.recommenders.content import column, expected_readers, readers_of


def facts_of(data: Dataset) -> WorkFacts:
    """The facts of a dataset, counted from its training rows."""
    readers = readers_of(data).astype(np.float32)
    group = {name: _codes(column(data, name)) for name in GROUPS}
    year, place = (_numbers(column(data, name)) for name in ("year", "series_number"))
    return WorkFacts(readers, year, place, group, np.log(expected_readers(data)).astype(np.float32))


def _codes(values: list[Any]) -> Ints:
    """Numbers of values from 1; works without a value, and those that share theirs with none, have 0."""
    names, codes, counts = np.unique([str(v or "") for v in values], return_inverse=True, return_counts=True)
    some = (names != "") & (counts >= 2)
    return np.where(some, np.cumsum(some), 0)[codes].astype(np.int64)


def _numbers(values: list[Any]) -> Floats:
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float32)
