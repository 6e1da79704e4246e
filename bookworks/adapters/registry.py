"""Which bundle an alias of MLflow's registry names, and its files from the object store.

Plain REST on purpose: the service asks every few seconds and needs no MLflow client in its process.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import httpx

from bookworks.adapters import s3
from bookworks.contracts.bundle import MANIFEST
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings

VERSION_TAG = "bundle_version"  # tag of a registered model version: the bundle's version


def connect(settings: Settings, timeout_s: float = 5.0) -> httpx.Client:
    """An HTTP client of MLflow's registry with our user; no request is made yet."""
    auth = httpx.BasicAuth(settings.mlflow_user, settings.mlflow_password.get_secret_value())
    return httpx.Client(base_url=settings.mlflow_url, auth=auth, timeout=timeout_s, trust_env=False)


def version_of_alias(client: httpx.Client, settings: Settings, alias: str) -> str | None:
    """The bundle version that `alias` names, or None when the alias is not set.

    Raises:
        TransientError: MLflow does not answer.
        TerminalError: it refuses our password, or the model version carries no bundle version.
    """
    query = {"name": settings.model_name, "alias": alias}
    try:
        answer = client.get("/api/2.0/mlflow/registered-models/alias", params=query)
    except httpx.HTTPError as error:
        raise TransientError(
            f"MLflow does not answer at {settings.mlflow_url}",
            received=f"{type(error).__name__}: {error}",
            todo="check `bookworks status mlflow` and the BOOKWORKS_MLFLOW_… settings.",
        ) from error
    if answer.status_code in {404, 400} and _code(answer) in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
        return None
    if answer.status_code != 200:
        kind = TransientError if answer.status_code >= 500 else TerminalError
        raise kind(
            "MLflow refused to name a bundle",
            received=f"HTTP {answer.status_code} {answer.text[:200]}",
            todo="check BOOKWORKS_MLFLOW_USER and BOOKWORKS_MLFLOW_PASSWORD.",
        )
    found = answer.json()["model_version"]
    tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
    version = tags.get(VERSION_TAG) or str(found.get("source", "")).rstrip("/").rpartition("/")[2]
    if not version:
        raise TerminalError(
            f"Version {found.get('version')} of model {settings.model_name} names no bundle",
            allowed=f"a tag {VERSION_TAG!r}",
            todo="register it again: `python -m training.register --run-id …`.",
        )
    return str(version)


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("error_code", ""))
    except ValueError:
        return ""


def fetch_bundle(settings: Settings, version: str, cache: Path) -> Path:
    """The folder of a bundle under `cache`, downloaded when it is not there yet.

    The folder gets its name when complete; several processes may ask for the same one.

    Raises:
        TransientError: the object store does not answer.
        TerminalError: there is no such bundle.
    """
    if not version or "/" in version or version.startswith("."):
        raise TerminalError("A bundle version is one name", received=repr(version), allowed="no slash, no leading dot")
    folder = cache / version
    if (folder / MANIFEST).is_file():
        return folder
    building = cache / f".{version}.{uuid.uuid4().hex}"
    try:
        building.mkdir(parents=True)
        s3.download_folder(settings, settings.bundles_bucket, f"{version}/", building)
        if not (building / MANIFEST).is_file():
            raise TerminalError(
                f"There is no complete bundle {version} in the bucket {settings.bundles_bucket}",
                todo="list those registered: `bookworks models list`.",
            )
        _name(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _name(building: Path, folder: Path) -> None:
    """Rename; another process may have been first with the same content."""
    try:
        building.rename(folder)
    except OSError:
        if not (folder / MANIFEST).is_file():
            raise
