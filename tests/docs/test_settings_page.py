"""docs/settings.md has a true line for every field of the settings class."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from pydantic import SecretStr

from bookworks.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
PREFIX = "| `BOOKWORKS_"


def _rows() -> dict[str, list[str]]:
    lines = (DOCS / "settings.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith(PREFIX)]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_field_has_a_line_and_no_line_is_left_over() -> None:
    assert set(_rows()) == {f"BOOKWORKS_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_line_says_what_the_class_says(name: str) -> None:
    field = Settings.model_fields[name]
    _, default, description = _rows()[f"BOOKWORKS_{name.upper()}"]
    assert field.description, f"{name} has no description"
    assert description == field.description
    if isinstance(field.default, Path):
        assert default.strip("`").endswith(field.default.name)
    elif isinstance(field.default, SecretStr) or field.default in (None, ""):
        assert default == "empty"
    else:
        assert default == f"`{field.default}`"


def test_the_page_is_the_one_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("write_settings", DOCS / "write_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == module.page(), "run python docs/write_settings.py"
