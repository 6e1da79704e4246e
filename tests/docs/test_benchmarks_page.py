"""docs/benchmarks.md is what the benchmarks' JSON says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_benchmarks", DOCS / "write_benchmarks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_written_from_the_results(writer: ModuleType) -> None:
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == writer.page()


def test_results_are_of_this_repository_and_name_no_path(writer: ModuleType) -> None:
    results = sorted(writer.RESULTS.glob("*.json"))
    assert results
    for path in results:
        text = path.read_text(encoding="utf-8")
        assert len(json.loads(text)["git_commit"]) == 40
        assert '"/' not in text, f"{path.name} names a path of a machine"
