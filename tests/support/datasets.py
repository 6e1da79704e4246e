"""A small dataset with a pattern to find: readers and works of a few tastes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from training.dataset import Dataset
from training.split import SplitParams, split


def make_tables(n_works: int = 40, n_readers: int = 60, per_reader: int = 12, timed: bool = True, seed: int = 0):
    """Interactions, works and readers as the stage `snapshot` leaves them."""
    rng = np.random.default_rng(seed)
    rows = []
    for reader in range(n_readers):
        chance = np.where(np.arange(n_works) % 4 == reader % 4, 8.0, 0.4)
        liked = rng.choice(n_works, size=min(per_reader, n_works), replace=False, p=chance / chance.sum())
        rows += [(f"r{reader:03d}", f"w{w:03d}", float(rng.uniform(0.4, 1.0))) for w in liked]
    users, works, weights = zip(*rows, strict=True)
    times = rng.integers(0, 10**15, len(rows)).tolist() if timed else [None] * len(rows)
    interactions = pa.table(
        {
            "user_id": list(users),
            "work_id": list(works),
            "weight": list(weights),
            "occurred_at": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
    )
    catalogue = pa.table(
        {
            "work_id": [f"w{i:03d}" for i in range(n_works)],
            "title": [f"t{i}" for i in range(n_works)],
            "author_id": [f"a{i % 8}" for i in range(n_works)],
            "publisher": [f"p{i % 3}" for i in range(n_works)],
            "year_bin": [f"{1950 + 10 * (i % 4)}s" for i in range(n_works)],
        }
    )
    readers = pa.table(
        {
            "user_id": [f"r{i:03d}" for i in range(n_readers)],
            "age_bin": ["18-24" if i % 2 else "65+" for i in range(n_readers)],
            "country": ["usa" if i % 3 else "germany" for i in range(n_readers)],
        }
    )
    return interactions, catalogue, readers


def make_dataset(**options: object) -> Dataset:
    """The tables, split."""
    return split(*make_tables(**options), SplitParams())


def with_titles(data: Dataset, dim: int = 6) -> Dataset:
    """The dataset with random unit vectors in place of title embeddings, float16 [n_works, dim]."""
    vectors = np.random.default_rng(1).normal(size=(data.n_works, dim))
    titles = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return replace(data, titles=titles)
