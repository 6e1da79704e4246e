"""The bundle: ONE immutable folder that is served. `s3://<bundles>/<version>/…`, manifest written last."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 2  # 2: the encoder knows the reader's history

MANIFEST = "manifest.json"
WORKS = "works.parquet"  # row i is work index i: work_id, former_ids, title, author, author_id, series, publisher, …
EDITIONS = "editions.parquet"  # edition_id, isbn13, work_id
USERS = "users.parquet"  # user_id -> index of the encoder's reader embedding
ITEM_VECTORS = "item_vectors.npy"  # float32 [n_works, dim], rows of length 1
HISTORY_VECTORS = "history_vectors.npy"  # float32 [n_works, history_dim]: what a work says of who read it
USER_ENCODER = "user_encoder.onnx"  # (user_index, age_bin, country_index, history) -> float32 [batch, dim]
ITEM_FILTER = "item_filter.npz"  # scipy CSR [n_works, n_works]: the linear item filter, top K a row
POPULARITY = "popularity.json"  # {"global": [work index…], "age_bin": {…}, "country": {…}}
FEATURES = "features.json"  # names, bins and vocabularies of the encoder's inputs
RANKER = "ranker.json"  # weights of the sources in the blended score
RULES = "rules.json"  # rules of the slate

PARTS = (
    WORKS,
    EDITIONS,
    USERS,
    ITEM_VECTORS,
    HISTORY_VECTORS,
    USER_ENCODER,
    ITEM_FILTER,
    POPULARITY,
    FEATURES,
    RANKER,
    RULES,
)


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
