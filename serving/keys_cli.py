"""`bookworks keys …`: make, list and revoke the API keys of calling services."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bookworks.errors import SettingError
from bookworks.settings import get_settings
from serving.database import Database
from serving.keys import SCOPES, Key, Keys, Scope

JSON = typer.Option("--json", help="Print JSON.")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@contextmanager
def _keys() -> Iterator[Keys]:
    database = Database(get_settings())
    try:
        yield Keys(database)
    finally:
        database.close()


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is: a-z 0-9 . _ -, at most 63.")],
    scope: Annotated[list[str] | None, typer.Option(help=f"One or more of {', '.join(SCOPES)}.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Make a key and show it, this once: only its hash is kept."""
    if not _NAME.fullmatch(name):
        raise SettingError("A key's name cannot be this", received=name, allowed="a-z 0-9 . _ -, at most 63 characters")
    scopes = _scopes(scope or [])
    with _keys() as keys:
        secret = keys.create(name, scopes)
    if as_json:
        print(json.dumps({"name": name, "scopes": scopes, "key": secret}))
        return
    print(secret)
    Console(stderr=True, soft_wrap=True).print(
        f"The key of {name} ({', '.join(scopes)}), header X-API-Key; it is not shown again.", markup=False
    )


def _scopes(given: list[str]) -> list[Scope]:
    wrong = [one for one in given if one not in SCOPES]
    if wrong or not given:
        raise SettingError(
            "A key needs scopes that there are",
            received=", ".join(wrong) or "none",
            allowed=", ".join(SCOPES),
            todo="name each: --scope recommend --scope users",
        )
    return [one for one in SCOPES if one in given]


@app.command("list")
def list_keys(as_json: Annotated[bool, JSON] = False) -> None:
    """List the keys that there are and were; the one in BOOKWORKS_SERVICE_API_KEY is not among them."""
    with _keys() as keys:
        _show(keys.all(), as_json)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Whose key ends.")], as_json: Annotated[bool, JSON] = False
) -> None:
    """End a key for good; each worker notices within BOOKWORKS_API_KEYS_SECONDS."""
    with _keys() as keys:
        _show([keys.revoke(name)], as_json)


def _show(keys: list[Key], as_json: bool) -> None:
    rows = [_row(key) for key in keys]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("name", "scopes", "created", "revoked")
    for row in rows:
        table.add_row(row["name"], ", ".join(row["scopes"]), row["created_at"], row["revoked_at"] or "")
    Console().print(table)


def _row(key: Key) -> dict[str, Any]:
    times = {name: at.isoformat(timespec="seconds") if (at := getattr(key, name)) else None for name in _TIMES}
    return {"name": key.name, "scopes": sorted(key.scopes), **times}


_TIMES = ("created_at", "revoked_at")
