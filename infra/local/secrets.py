"""The secrets of a local stack: generated at the first `up`, kept in `<state_dir>/secrets.env`, mode 600."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from pydantic import SecretStr

from bookworks.settings import Settings, get_settings, secrets_file
from infra.local.layout import layout_of, write_private

PREFIX = "BOOKWORKS_"
NOT_OURS = frozenset({"qdrant_api_key"})  # Qdrant's engine runs in the process: nobody to show a key to


def secret_fields() -> list[str]:
    """Names of the settings that `up` generates when they are empty."""
    fields = Settings.model_fields.items()
    return [name for name, field in fields if field.annotation is SecretStr and name not in NOT_OURS]


def ensure_secrets(settings: Settings) -> Settings:
    """Add to the stack's secrets file what is missing, and return settings that know them.

    A value that the user gave (environment, `.env`) is left alone and not copied into the file.
    """
    path = secrets_file(layout_of(settings).state)
    missing = [name for name in secret_fields() if not getattr(settings, name).get_secret_value()]
    if missing:
        kept = path.read_text() if path.exists() else ""
        lines = [f"{PREFIX}{name.upper()}={_generate(name)}\n" for name in missing]
        write_private(path, kept + "".join(lines))
        get_settings.cache_clear()
    elif path.exists():
        path.chmod(0o600)
    return settings.model_copy(update=_read(path, missing))


def _read(path: Path, names: list[str]) -> dict[str, SecretStr]:
    if not names:
        return {}
    values = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    return {name: SecretStr(values[f"{PREFIX}{name.upper()}"]) for name in names}


def _generate(name: str) -> str:
    if name == "airflow_fernet_key":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(32).replace("-", "x").replace("_", "y")
