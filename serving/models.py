"""`GET /v1/models/current`: what answers now, its models, their weights, and what was measured of it.

For calling services alone: weights and metrics say how to play the lists, and are of no use to a reader.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from bookworks.contracts import bundle as names
from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import POPULARITY, TASTES, VECTORS
from serving import examples
from serving.auth import AdminCaller
from serving.bundles import Served
from serving.routes import problems, served_of

router = APIRouter(prefix="/models", tags=["models"])
_FILES = {VECTORS: (names.ITEM_VECTORS, names.USER_ENCODER), POPULARITY: (names.POPULARITY,), TASTES: ()}


class ServedModel(BaseModel):
    """One source of the blend."""

    name: str
    weights: dict[str, float] = Field(
        description="Its weight in the blend of each tier; a tier without it is left out."
    )
    bytes: int = Field(description="Of its files in the bundle.")


class ServedRanker(BaseModel):
    """The trees that put the blend's first works in order."""

    candidates: int = Field(description="How many works it orders.")
    boosters: int
    features: list[str]
    bytes: int = Field(description="Of its files in the bundle.")


class CurrentModels(BaseModel):
    """The bundle that serves now; numbers are those of its manifest."""

    model_config = examples.example(examples.CURRENT_MODELS)

    version: str
    format_version: int
    created_at: datetime = Field(description="When the bundle was written, at the end of training.")
    git_commit: str
    data_version: str
    snapshot_id: str
    mlflow_run_id: str
    n_works: int
    n_users: int
    embedding_dim: int
    vector_index: bool = Field(description="Whether the vector collection of this bundle is open.")
    models: list[ServedModel]
    ranker: ServedRanker | None = Field(description="Empty where the blend alone ranks better.")
    history_share: dict[str, float] = Field(
        description="Tier -> how much of the reader's vector comes from the history's item vectors."
    )
    rules: dict[str, Any] = Field(description="Of the slate.")
    metrics: dict[str, float] = Field(description="As measured before it was published.")
    bytes: int = Field(description="Of the whole bundle on the disk.")


@router.get(
    "/current",
    response_model=CurrentModels,
    responses=problems(401, 403, 422, 429, 503),
    summary="What serves now",
)
def current(caller: AdminCaller, request: Request) -> Any:
    """Version, models with their weights, ranker, metrics and sizes of the bundle. Needs a key with scope `admin`."""
    caller.service()
    return told(served_of(request))


def told(served: Served) -> dict[str, Any]:
    """What there is to say of a bundle."""
    bundle, manifest = served.bundle, served.bundle.manifest
    return {
        **manifest.model_dump(exclude={"parts"}),
        "vector_index": served.vectors is not None,
        "models": [_model(bundle, name) for name in (*bundle.sources, TASTES)],
        "ranker": _ranker(bundle),
        "history_share": bundle.blend.history_share,
        "rules": bundle.rules,
        "bytes": sum(part.bytes for part in manifest.parts.values()),
    }


def _model(bundle: Bundle, name: str) -> dict[str, Any]:
    weights = {tier: own[name] for tier, own in bundle.blend.tiers.items() if name in own}
    files = (*names.item_item_parts(name), names.packed_part(name))  # those that the bundle has
    return {"name": name, "weights": weights, "bytes": _bytes(bundle, *_FILES.get(name, files))}


def _ranker(bundle: Bundle) -> dict[str, Any] | None:
    if bundle.ranker is None:
        return None
    trees = [names.trees_part(number) for number in range(len(bundle.ranker.trees.boosters))]
    return {
        "candidates": bundle.ranker.candidates,
        "boosters": len(bundle.ranker.trees.boosters),
        "features": bundle.feature_names,
        "bytes": _bytes(bundle, *trees),
    }


def _bytes(bundle: Bundle, *names: str) -> int:
    """Together; a bundle of the older format lacks some of these files."""
    parts = bundle.manifest.parts
    return sum(parts[name].bytes for name in names if name in parts)
