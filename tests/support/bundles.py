"""A small real bundle from synthetic data, through the real exporter. Seconds, no torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import lightgbm as lgb
import numpy as np
import pyarrow as pa
from scipy import sparse

from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import BundleContent, Origin, Ranker, write_bundle
from bookworks.models.reader import ReaderState
from bookworks.models.trees import Booster, Trees
from bookworks.models.work_facts import GROUPS, WorkFacts
from training.export_onnx import EncoderWeights, encoder_to_onnx
from training.linear_filter import linear_item_filter
from training.popular_lists import popularity_lists

AGE_BINS = ["0-17", "18-24", "25-34", "35-44", "45-54", "55-64", "65+"]
COUNTRIES = ["DE", "US"]
SUBJECTS = ["crime", "romance", "science fiction", "history", "poetry"]
TIERS = {
    "warm": {"item_filter": 1.0, "vectors": 0.5, "popularity": 0.2},
    "session": {"item_filter": 1.0, "vectors": 0.5, "popularity": 0.2},
    "tastes": {"tastes": 1.0, "popularity": 0.3},
    "cold": {"popularity": 1.0},
}


def make_tiny_bundle(
    folder: Path,
    n_works: int = 60,
    n_readers: int = 40,
    dim: int = 8,
    seed: int = 7,
    created_at: datetime | None = None,
    max_per_author: int = 0,
    merged: Mapping[int, int] = MappingProxyType({}),
    ratings: sparse.csr_matrix | None = None,
    ranker: bool = False,
    change: Callable[[BundleContent], BundleContent] = lambda content: content,
) -> Path:
    """Write a bundle under `folder` and return its own folder `folder/<version>`.

    Works are `w000`, `w001`, … with two editions each (`w000-e0` with an ISBN-13, `w000-e1` without); readers `r000`, …
    like works of one of five subjects. Another seed or `created_at` gives another version. `merged`: numbers of works
    that were merged into others of the same bundle. `ratings` [n_readers, n_works] takes the place of the drawn ones.
    `ranker`: with trees that learned which of a reader's works were left out of its history.
    `change`: has the last word on the content.
    """
    rng = np.random.default_rng(seed)
    numbers = [i for i in range(n_works) if i not in merged]
    ratings = (_ratings(rng, n_readers, n_works) if ratings is None else ratings)[:, numbers]
    vectors, weights = _factors(ratings, dim)
    ages = [AGE_BINS[i % len(AGE_BINS)] for i in range(n_readers)]
    countries = [COUNTRIES[i % len(COUNTRIES)] for i in range(n_readers)]
    popularity_weights = {"global": 0.4, "age_bin": 0.2, "country": 0.4}
    content = BundleContent(
        works=_works(numbers, merged),
        editions=_editions(n_works, merged),
        users=pa.table(
            {
                "user_id": [f"r{i:03d}" for i in range(n_readers)],
                "user_index": pa.array(range(1, n_readers + 1), pa.int64()),
            }
        ),
        item_vectors=vectors,
        history_vectors=0.5 * vectors,
        user_encoder=encoder_to_onnx(weights),
        item_item={"item_filter": linear_item_filter(ratings, 0.5, 0.5, top_k=20), "same_author": _authors(numbers)},
        facts=_facts(ratings, _works(numbers, merged)),
        popularity=popularity_lists(
            ratings,
            age_bins=ages,
            countries=countries,
            weights=popularity_weights,
            min_readers=2,
            segment_length=30,
        ),
        features={"age_bins": AGE_BINS, "countries": COUNTRIES},
        blend={"tiers": TIERS, "history_share": {"warm": 0.4, "session": 0.9}},
        ranker=None,
        rules={"max_per_author": max_per_author},
    )
    content = change(content)
    if ranker:
        content = replace(content, ranker=_taught(content, ratings))
    origin = Origin(git_commit="0" * 40, data_version="tiny", snapshot_id="tiny", mlflow_run_id="")
    return write_bundle(Path(folder), content, origin, {}, created_at or datetime(2026, 1, 1, tzinfo=UTC))


def _authors(numbers: list[int]) -> sparse.csr_matrix:
    author = np.array(numbers) % 15
    same = (author[:, None] == author[None, :]) & ~np.eye(len(numbers), dtype=bool)
    return sparse.csr_matrix(same.astype(np.float32))


def _facts(ratings: sparse.csr_matrix, works: pa.Table) -> WorkFacts:
    readers = np.diff(ratings.tocsc().indptr).astype(np.float32)
    columns = {name: [str(value or "") for value in works[name].to_pylist()] for name in GROUPS}
    group = {name: np.unique(values, return_inverse=True)[1] for name, values in columns.items()}
    year, place = (
        np.array([np.nan if value is None else value for value in works[name].to_pylist()], dtype=np.float32)
        for name in ("year", "series_number")
    )
    return WorkFacts(readers, year, place, group, np.log1p(readers))


def _taught(content: BundleContent, ratings: sparse.csr_matrix) -> Ranker:
    """Trees that know the last two works of each reader, from the others."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Bundle.load(write_bundle(Path(folder), content, Origin("", "", "", ""), {}))
    rows, read = [], []
    for reader, works in enumerate(ratings[[r]].indices.tolist() for r in range(ratings.shape[0])):
        if len(works) < 3:
            continue
        found = bundle.candidates(ReaderState(f"r{reader:03d}", works[:-2]), 20)
        rows.append(found.rows)
        read.append(np.isin(found.works, works[-2:]))
    taught = lgb.Dataset(np.concatenate(rows), np.concatenate(read), feature_name=bundle.feature_names)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 4}
    boosters = (Booster(lgb.train(params, taught, 10).model_to_string()),)
    return Ranker(Trees(boosters), 20)


def _ratings(rng: np.random.Generator, n_readers: int, n_works: int) -> sparse.csr_matrix:
    same = (np.arange(n_readers) % len(SUBJECTS))[:, None] == (np.arange(n_works) % len(SUBJECTS))[None, :]
    chance = np.where(same, 0.6, 0.05) * rng.uniform(0.3, 1.0, n_works)[None, :]
    liked = rng.uniform(size=chance.shape) < chance
    return sparse.csr_matrix(liked * rng.uniform(0.4, 1.0, chance.shape))


def _factors(ratings: sparse.csr_matrix, dim: int) -> tuple[np.ndarray, EncoderWeights]:
    """Item vectors and an encoder from a truncated SVD; the encoder's deep part adds nothing."""
    dim = min(dim, *ratings.shape)
    u, s, vt = np.linalg.svd(ratings.toarray(), full_matrices=False)
    readers, works = (u * s)[:, :dim], vt[:dim].T
    works = works / np.maximum(np.linalg.norm(works, axis=1, keepdims=True), 1e-9)
    table = np.vstack([readers.mean(axis=0), readers]).astype(np.float32)
    side = 2
    weights = EncoderWeights(
        reader=table,
        age=np.zeros((len(AGE_BINS) + 1, side), np.float32),
        country=np.zeros((len(COUNTRIES) + 1, side), np.float32),
        skip=np.vstack([np.eye(dim), np.eye(dim), np.zeros((2 * side, dim))]).astype(np.float32),
        hidden=np.zeros((2 * dim + 2 * side, side), np.float32),
        hidden_bias=np.zeros(side, np.float32),
        output=np.zeros((side, dim), np.float32),
        output_bias=np.zeros(dim, np.float32),
    )
    return works.astype(np.float32), weights


def _works(numbers: list[int], merged: Mapping[int, int]) -> pa.Table:
    former = [[f"w{old:03d}" for old, new in merged.items() if new == i] or None for i in numbers]
    return pa.table(
        {
            "work_id": [f"w{i:03d}" for i in numbers],
            "former_ids": pa.array(former, pa.list_(pa.string())),
            "title": [f"Title {i}" for i in numbers],
            "author": [f"Author {i % 15}" for i in numbers],
            "author_id": [f"a{i % 15:02d}" for i in numbers],
            "author_aliases": pa.array([["Pen Name"] if i % 15 == 6 else [] for i in numbers], pa.list_(pa.string())),
            "series": [f"Series {i // 12}" if i % 6 == 0 else None for i in numbers],
            "series_id": [f"s{i // 12}" if i % 6 == 0 else None for i in numbers],
            "series_number": [1.0 + i // 6 % 2 if i % 6 == 0 else None for i in numbers],
            "publisher": [f"Publisher {i % 4}" for i in numbers],
            "year": pa.array([1950 + i for i in numbers], pa.int32()),
            "language": ["en" for _ in numbers],
            "subjects": [[SUBJECTS[i % len(SUBJECTS)]] for i in numbers],
            "image_url": pa.array([None for _ in numbers], pa.string()),
        }
    )


def _editions(n: int, merged: Mapping[int, int]) -> pa.Table:
    return pa.table(
        {
            "edition_id": [f"w{i:03d}-e{e}" for i in range(n) for e in range(2)],
            "isbn13": pa.array([f"978{i:010d}" if e == 0 else None for i in range(n) for e in range(2)], pa.string()),
            "work_id": [f"w{merged.get(i, i):03d}" for i in range(n) for e in range(2)],
        }
    )
