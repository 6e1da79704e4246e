"""Registers and promotes a bundle as training does, on the test's real MLflow and object store."""

from __future__ import annotations

from pathlib import Path

import httpx

from bookworks.adapters import registry, s3
from bookworks.contracts.bundle import CHALLENGER, CHAMPION, MANIFEST
from bookworks.settings import Settings

_API = "/api/2.0/mlflow"


def _call(client: httpx.Client, path: str, **body: object) -> dict:
    answer = client.post(f"{_API}/{path}", json=body)
    if answer.status_code != 200 and "ALREADY_EXISTS" not in answer.text:
        raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
    return answer.json()


def register(settings: Settings, folder: Path, *, alias: str = CHALLENGER, version: str | None = None) -> str:
    """Upload a bundle, register it under `version` (default: its folder's name), set the alias."""
    version = version or folder.name
    s3.upload_folder(settings, folder, settings.bundles_bucket, f"{version}/", last=MANIFEST)
    with registry.connect(settings, timeout_s=30) as client:
        _call(client, "registered-models/create", name=settings.model_name)
        source = f"s3://{settings.bundles_bucket}/{version}"
        tags = [{"key": registry.VERSION_TAG, "value": version}]
        made = _call(client, "model-versions/create", name=settings.model_name, source=source, tags=tags)
        number = made["model_version"]["version"]
        _call(client, "registered-models/alias", name=settings.model_name, alias=alias, version=number)
    return version


def promote(settings: Settings, folder: Path, version: str | None = None) -> str:
    """As `register`, and make it the champion."""
    return register(settings, folder, alias=CHAMPION, version=version)


def point_at(settings: Settings, version: str) -> None:
    """Make a bundle that was registered before the champion, as a rollback does."""
    with registry.connect(settings, timeout_s=30) as client:
        name = settings.model_name
        query = {"filter": f"name = '{name}'", "max_results": 1000}
        known = client.get(f"{_API}/model-versions/search", params=query).json()["model_versions"]
        tags = {one["version"]: {tag["key"]: tag["value"] for tag in one["tags"]} for one in known}
        number = next(number for number, of in tags.items() if of[registry.VERSION_TAG] == version)
        _call(client, "registered-models/alias", name=name, alias=CHAMPION, version=number)
