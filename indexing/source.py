"""Where the indexes come from: the bundle that an alias names, or one asked for by version."""

from __future__ import annotations

from pathlib import Path

from bookworks.adapters import registry
from bookworks.contracts.bundle import CHALLENGER
from bookworks.errors import TerminalError
from bookworks.settings import Settings


def version_to_index(settings: Settings, version: str | None) -> str:
    """`version`, or the one that the alias `challenger` names.

    Raises:
        TerminalError: no version was given and the alias is not set.
        TransientError: MLflow does not answer.
    """
    if version:
        return version
    with registry.connect(settings) as client:
        found = registry.version_of_alias(client, settings, CHALLENGER)
    if found is None:
        raise TerminalError(
            f"MLflow's model {settings.model_name} has no alias {CHALLENGER}",
            todo="register a bundle: `python -m training.register --run-id …`, or name one with --version.",
        )
    return found


def bundle_folder(settings: Settings, version: str | None) -> Path:
    """The folder of the bundle to index, downloaded when it is not in the cache."""
    return registry.fetch_bundle(settings, version_to_index(settings, version), settings.bundle_cache_path)
