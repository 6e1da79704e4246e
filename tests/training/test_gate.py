"""Which champion the gate compares with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bookworks.adapters import mlflow
from bookworks.errors import TerminalError, TransientError
from bookworks.models.bundle import Bundle
from bookworks.settings import Settings
from tests.support.bundles import make_tiny_bundle
from training import gate
from training.verdict import Unreadable

TAGS = {"bundle_version": "v1"}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A cache of bundles in a folder, and a registry whose champion is v1."""
    monkeypatch.setattr(mlflow, "connect", lambda _: None)
    monkeypatch.setattr(mlflow, "aliased", lambda *_: SimpleNamespace(tags=TAGS, version=1))
    return Settings(bundle_cache_dir=tmp_path)


def test_before_the_first_promotion_there_is_none(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "aliased", lambda *_: None)
    assert gate.serving_bundle(settings) is None


def test_a_damaged_copy_is_no_reason_to_leave_the_champion_out(settings: Settings, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "made", 30, n_readers=40).rename(tmp_path / "v1")
    assert isinstance(gate.serving_bundle(settings), Bundle)
    damaged = next(path for path in (tmp_path / "v1").rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found = gate.serving_bundle(settings)
    assert isinstance(found, Unreadable)
    assert found.version == "v1"
    assert damaged.name in found.why
    assert str(tmp_path / "v1") in found.why


def test_a_bundle_that_is_gone_from_the_store_is_unreadable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Path:
        raise TerminalError("There is no complete bundle v1")

    monkeypatch.setattr(gate, "fetch_bundle", gone)
    assert gate.serving_bundle(settings) == Unreadable("v1", "There is no complete bundle v1.")


def test_a_store_that_is_away_is_worth_a_retry(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> Path:
        raise TransientError("The store does not answer")

    monkeypatch.setattr(gate, "fetch_bundle", away)
    with pytest.raises(TransientError):
        gate.serving_bundle(settings)


def test_a_champion_without_a_bundle_version_is_named_by_its_number(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "aliased", lambda *_: SimpleNamespace(tags={}, version=3))
    found = gate.serving_bundle(settings)
    assert isinstance(found, Unreadable)
    assert found.version == "model version 3"
