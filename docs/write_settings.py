"""Writes docs/settings.md from the settings class: `python docs/write_settings.py`."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bookworks.settings import PROJECT_ROOT, Settings

PAGE = Path(__file__).with_name("settings.md")

HEAD = """# Settings

Every part of the platform reads its settings from one class, `bookworks.settings.Settings`, and nothing else reads the
environment. A value is looked for in this order:

1. the environment variable (`BOOKWORKS_…`),
2. the file `.env` in the root of the checkout,
3. the secrets that the first `bookworks up` generated (`<state_dir>/secrets.env`, file mode 600),
4. the default below.

`BOOKWORKS_PORT_OFFSET` moves every port that is not set by itself, so that two stacks fit on one machine. A value of
the wrong type or out of range stops the command with the name of the setting, and so does a `BOOKWORKS_…` name that
is no setting. *secret* means that the value is shown
as stars wherever settings are printed, and that it has no default outside a local stack.

This page is written by `python docs/write_settings.py`; a test compares it with the class.

| variable | type | default | what it is |
| --- | --- | --- | --- |
"""

TYPE_NAMES = {
    SecretStr: "secret",
    str: "text",
    Path: "path",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "empty",
}


def type_name(annotation: Any) -> str:
    """A type in words: `int`, `one of A, B`, `secret`, `text or empty`."""
    if typing.get_origin(annotation) is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if isinstance(annotation, types.UnionType):
        return " or ".join(type_name(part) for part in typing.get_args(annotation))
    names = {
        SecretStr: "secret",
        str: "text",
        Path: "path",
        int: "whole number",
        float: "number",
        bool: "true or false",
    }
    return "empty" if annotation is type(None) else names[annotation]


def limits(field: FieldInfo) -> str:
    """The bounds of a number, or nothing."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [(signs[name], getattr(rule, name)) for rule in field.metadata for name in signs if hasattr(rule, name)]
    return "".join(f", {sign} {bound}" for sign, bound in found)


def default_text(value: Any) -> str:
    """A default as it would be written in `.env`; paths without this machine's folders."""
    if isinstance(value, Path):
        places = ((PROJECT_ROOT, "<repository>"), (Path.home(), "~"))
        for root, name in places:
            if value.is_relative_to(root):
                return f"`{name}/{value.relative_to(root)}`"
    shown = value.get_secret_value() if isinstance(value, SecretStr) else value
    return "empty" if shown in (None, "") else f"`{shown}`"


def page() -> str:
    """The whole page, one line per field in the order of the class."""
    rows = [
        f"| `BOOKWORKS_{name.upper()}` | {type_name(field.annotation)}{limits(field)} | {default_text(field.default)} "
        f"| {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
