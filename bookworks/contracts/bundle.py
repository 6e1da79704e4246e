"""The bundle: ONE immutable folder that is served. `s3://<bundles>/<version>/…`, manifest written last."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = (
    4  # 2: the encoder knows the history; 3: several item-item models, a ranker; 4: item-item models mapped
)
ONE_MODEL, PACKED = 2, 3  # still read, so that what serves goes on serving, and a newer bundle can be compared with it

MANIFEST = "manifest.json"
WORKS = "works.parquet"  # row i is work index i: work_id, former_ids, title, author, author_id, series, publisher, …
EDITIONS = "editions.parquet"  # edition_id, isbn13, work_id
USERS = "users.parquet"  # user_id -> index of the encoder's reader embedding
ITEM_VECTORS = "item_vectors.npy"  # float32 [n_works, dim], rows of length 1
HISTORY_VECTORS = "history_vectors.npy"  # float32 [n_works, history_dim]: what a work says of who read it
USER_ENCODER = "user_encoder.onnx"  # (user_index, age_bin, country_index, history) -> float32 [batch, dim]
FACTS = "facts.npz"  # readers, year, place in the series, … of each work: what the ranker's features are made of
POPULARITY = "popularity.json"  # {"global": [work index…], "age_bin": {…}, "country": {…}}
FEATURES = "features.json"  # names, bins and vocabularies of the encoder's inputs
BLEND = "blend.json"  # weights of the sources in the blended score
RANKER = "ranker.json"  # how many candidates it orders, constants of its trees; {} where there is none
RULES = "rules.json"  # rules of the slate

PARTS = (  # of every bundle
    WORKS,
    EDITIONS,
    USERS,
    ITEM_VECTORS,
    HISTORY_VECTORS,
    USER_ENCODER,
    FACTS,
    POPULARITY,
    FEATURES,
    BLEND,
    RANKER,
    RULES,
)

OLDER_ITEM_FILTER = "item_filter.npz"
OLDER_PARTS = (*(part for part in PARTS if part not in {FACTS, BLEND}), OLDER_ITEM_FILTER)  # RANKER held the weights

ARRAYS = ("data", "indices", "indptr")  # of an item-item model: scipy CSR [n_works, n_works]
_TREES = ("trees_", ".txt")


def item_item_parts(name: str) -> tuple[str, ...]:
    """Files of an item-item model, in the order of `ARRAYS`: apart, so that they are mapped from the disk, not read."""
    return tuple(f"item_item_{name}.{array}.npy" for array in ARRAYS)


def packed_part(name: str) -> str:
    """Its one file in a bundle of format 3."""
    return f"item_item_{name}.npz"


def trees_part(number: int) -> str:
    """File of one of the ranker's LightGBM models."""
    return str(number).join(_TREES)


def item_item_names(parts: Iterable[str]) -> list[str]:
    """Names of the item-item models among the files of a bundle, in their order."""
    head, tail = "item_item_", re.compile(r"(\.indptr\.npy|\.npz)$")
    return sorted(tail.sub("", part[len(head) :]) for part in parts if part.startswith(head) and tail.search(part))


class Part(BaseModel):
    """One file of the bundle."""

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """What the bundle is made of and where it came from."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    format_version: int = FORMAT_VERSION
    version: str = Field(description="Also the version of the vector collection.")
    created_at: datetime
    git_commit: str
    data_version: str = Field(description="Hash of the run's dvc.lock.")
    snapshot_id: str
    mlflow_run_id: str
    n_works: int
    n_users: int
    embedding_dim: int
    metrics: dict[str, float]
    parts: dict[str, Part]


def vector_collection(version: str) -> str:
    """Name of the vector collection of a bundle."""
    return f"works_{version}"


VECTOR_ALIAS = "works"
CHALLENGER, CHAMPION = "challenger", "champion"
LAST_CHAMPION = "champion"  # file in a cache of bundles: the version that served last
