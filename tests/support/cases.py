"""A case for the gate beside the tiny bundles: the same works and readers, who read works of their own subject."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from bookworks.models.bundle import Bundle
from tests.support.bundles import COUNTRIES, SUBJECTS, make_tiny_bundle
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.floors import rank_floors, rank_honest
from training.held_out import make_held_out
from training.judge import Case
from training.leaks import Span
from training.params import Options
from training.verdict import GateParams

PARTS = (TRAIN,) * 3 + (VALID,) * 2 + (TEST,) * 3
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
SPANS = {
    part: Span(FIRST_DAY + timedelta(days=30 * i), FIRST_DAY + timedelta(days=30 * i + 29), 100)
    for i, part in enumerate((TRAIN, VALID, TEST))
}


def make_case(params: GateParams, n_readers: int = 80, n_works: int = 60, alike: bool = True) -> Case:
    """Three works of each reader's subject and two others to learn from, two to validate, three to test.

    Not `alike`: works of any subject, so that nothing can be learned.
    """
    data = make_split(n_readers, n_works, alike)
    tests = make_held_out(data, (TRAIN, VALID), TEST, 0.4, params.max_readers)
    valid = make_held_out(data, (TRAIN,), VALID, 0.4, params.leak_readers)
    options = Options(threads=1)
    floors = rank_floors(data, tests, params, options, {"min_readers": 2})
    with tempfile.TemporaryDirectory() as folder:
        learned = {"n_readers": n_readers, "ratings": data.matrix(TRAIN)} if n_readers else {}
        draft = Bundle.load(make_tiny_bundle(Path(folder), n_works, **learned))
    return Case(data, SPANS, tests, valid, floors, rank_honest(data, valid, tests, params, options), draft)


def make_split(n_readers: int, n_works: int, alike: bool = True) -> Dataset:
    """The split of `make_case`; works and readers are numbered as in `make_tiny_bundle`."""
    rng = np.random.default_rng(5)
    rows = []
    for reader in range(n_readers):
        subject = reader % len(SUBJECTS)
        own = rng.permutation(np.arange(subject, n_works, len(SUBJECTS)))[: len(PARTS)]
        other = rng.permutation(np.setdiff1d(np.arange(n_works), own))
        drawn = own if alike else other[2:]
        rows += [(reader, int(work), TRAIN) for work in other[:2]]
        rows += [(reader, int(work), part) for work, part in zip(drawn, PARTS, strict=False)]
    reader, work, part = zip(*rows, strict=True) if rows else ((), (), ())
    interactions = pa.table(
        {
            "reader": pa.array(reader, pa.int64()),
            "work": pa.array(work, pa.int64()),
            "weight": pa.array(np.ones(len(rows)), pa.float32()),
            "part": pa.array(part, pa.string()),
        }
    )
    readers = pa.table(
        {
            "user_id": pa.array([f"r{i:03d}" for i in range(n_readers)], pa.string()),
            "age_bin": pa.nulls(n_readers, pa.string()),
            "country": pa.array([COUNTRIES[i % 2] for i in range(n_readers)], pa.string()),
        }
    )
    return Dataset(pa.table({"work_id": [f"w{i:03d}" for i in range(n_works)]}), readers, interactions, n_readers)
