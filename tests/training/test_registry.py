"""Promotions and rollbacks: broken off, repeated, two at once. The registry is MLflow's own, on SQLite."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient

from bookworks.adapters import mlflow, postgres
from bookworks.contracts.bundle import CHAMPION
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings
from training import registry

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own queries
SETTINGS = Settings(model_name="tests")


@contextmanager
def no_lock(_: Settings) -> Iterator[None]:
    yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    address = f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"
    return MlflowClient(tracking_uri=address, registry_uri=address)


@pytest.fixture
def client(store: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A registry with bundles a, b and c that the gate passed; none serves."""
    monkeypatch.setattr(registry, "record", lambda *_: None)
    monkeypatch.setattr(registry, "one_at_a_time", no_lock, raising=False)
    for bundle in "abc":
        mlflow.register(store, SETTINGS, bundle, f"s3://bundles/{bundle}", "", {"gate": "passed"})
    yield store
    store.delete_registered_model(SETTINGS.model_name)


def serving(client: MlflowClient) -> str:
    version = mlflow.aliased(client, SETTINGS, CHAMPION)
    assert version
    return registry.bundle_of(version)


def promote(client: MlflowClient, *bundles: str) -> None:
    for bundle in bundles:
        registry.promote(client, SETTINGS, bundle, None)


def broken_off(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The process dies after the alias has moved, before that is remembered."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "set_registered_model_tag", die)
    return monkeypatch


def test_promote_and_roll_back(client: MlflowClient) -> None:
    promote(client, "a", "b", "b", "c")
    assert registry.champions(client, SETTINGS) == ["a", "b", "c"]
    registry.rollback(client, SETTINGS, "a test")
    registry.rollback(client, SETTINGS, "a test")
    assert serving(client) == "a"
    with pytest.raises(TerminalError, match="no champion to go back to"):
        registry.rollback(client, SETTINGS, "a test")


def test_after_a_rollback_that_was_broken_off_the_other_can_be_promoted(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(client, "a", "b")
    with monkeypatch.context() as patch:
        broken_off(client, patch)
        with pytest.raises(KeyboardInterrupt):
            registry.rollback(client, SETTINGS, "a test")
    assert serving(client) == "a"
    promote(client, "b")
    assert serving(client) == "b"
    assert registry.champions(client, SETTINGS) == ["a", "b"]


def test_a_rollback_that_was_broken_off_is_ended_by_its_repeat(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(client, "a", "b", "c")
    with monkeypatch.context() as patch:
        broken_off(client, patch)
        with pytest.raises(KeyboardInterrupt):
            registry.rollback(client, SETTINGS, "a test")
    registry.rollback(client, SETTINGS, "a test")
    assert serving(client) == "b"
    assert registry.champions(client, SETTINGS) == ["a", "b"]


def test_after_a_promotion_that_was_broken_off_rollback_leads_to_the_one_before(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(client, "a", "b")
    with monkeypatch.context() as patch:
        broken_off(client, patch)
        with pytest.raises(KeyboardInterrupt):
            promote(client, "c")
    assert serving(client) == "c"
    registry.rollback(client, SETTINGS, "a test")
    assert serving(client) == "b"
    assert registry.champions(client, SETTINGS) == ["a", "b"]


def test_a_promotion_that_was_broken_off_is_ended_by_its_repeat(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(client, "a")
    with monkeypatch.context() as patch:
        broken_off(client, patch)
        with pytest.raises(KeyboardInterrupt):
            promote(client, "b")
    promote(client, "b")
    assert registry.champions(client, SETTINGS) == ["a", "b"]


@pytest.mark.integration
def test_two_moves_at_once_wait_for_one_another(stack, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Settings = stack.need("postgres")
    postgres.ensure_databases(settings)
    order: list[str] = []

    def second() -> None:
        with registry.one_at_a_time(settings):
            order.append("second")

    with registry.one_at_a_time(settings):
        other = threading.Thread(target=second)
        other.start()
        time.sleep(1)
        order.append("first")
    other.join(30)
    assert order == ["first", "second"]

    monkeypatch.setattr(registry, "LOCK_TIMEOUT", "200ms")
    with registry.one_at_a_time(settings), pytest.raises(TransientError, match="Another promotion"):
        second()
