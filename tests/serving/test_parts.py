"""The small parts: breaker, what is sent to Kafka, the keeper of the bundle, the registry's answers."""

import gc
import logging
import queue
import shutil
import threading
import time
import weakref
from datetime import UTC, datetime

import httpx
import pytest
from kafka.errors import (
    IllegalStateError,
    InvalidProducerEpochError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumberError,
)
from kafka.future import Future
from prometheus_client import REGISTRY

from bookworks.adapters import registry
from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.bundle import ITEM_VECTORS, vector_collection
from bookworks.contracts.records import Decision, Reader
from bookworks.contracts.topics import READERS
from bookworks.errors import TerminalError, TransientError
from bookworks.models.bundle import Bundle
from serving import decisions, kept, pipeline
from serving.breaker import Breaker
from serving.bundles import BundleKeeper
from serving.decisions import outgoing
from serving.history import History
from serving.kept import Keeper
from tests.serving.fakes import settings
from tests.support.bundles import make_tiny_bundle


def test_a_part_that_failed_is_left_alone_for_a_moment(monkeypatch):
    now, calls = [100.0], []
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: now[0])

    def fail():
        calls.append(now[0])
        raise TransientError("away")

    breaker = Breaker("It", rest_s=1.0)
    for at in (100.0, 100.5, 100.9, 101.1):
        now[0] = at
        with pytest.raises(TransientError):
            breaker.call(fail)
    assert calls == [100.0, 101.1]
    now[0] = 103.0
    assert breaker.call(lambda: "there") == "there"


def test_a_callers_mistake_opens_no_breaker():
    breaker = Breaker("It")
    for _ in range(3):
        with pytest.raises(ValueError, match="wrong"):
            breaker.call(lambda: (_ for _ in ()).throw(ValueError("wrong")))
    assert breaker.call(lambda: "there") == "there"


def decision():
    return Decision.model_validate(
        {
            "source": "service",
            "received_at": datetime.now(UTC),
            "decision_id": "01a1fce4-c843-7036-af27-c83081538f7a",
            "user_id": "u",
            "surface": "home",
            "bundle_version": "v",
            "tier": "cold",
            "occurred_at": datetime.now(UTC),
            "latency_ms": 1.0,
            "n": 0,
            "items": [],
        }
    )


def test_a_decision_never_waits_and_is_counted_when_dropped():
    background = decisions.Background(settings())
    background._waiting = queue.Queue(2)
    before = REGISTRY.get_sample_value("bookworks_decisions_dropped_total")
    for _ in range(5):
        background.put(decision())
    assert REGISTRY.get_sample_value("bookworks_decisions_dropped_total") == before + 3


def answer(shown=("w1",), document=dict):
    return kept.Answer("01a1fce4-c843-7036-af27-c83081538f7a", "u", 0.0, shown, document)


def test_an_answer_to_keep_never_waits_and_is_counted_when_it_is_not_kept():
    keeper = Keeper(settings())
    keeper._waiting = queue.Queue(2)
    before = REGISTRY.get_sample_value("bookworks_answers_not_kept_total")
    for _ in range(5):
        keeper.put(answer())
    assert REGISTRY.get_sample_value("bookworks_answers_not_kept_total") == before + 3


def test_the_thread_that_keeps_answers_outlives_a_fault_and_an_absent_redis():
    keeper = Keeper(settings(redis_port=1))
    before = REGISTRY.get_sample_value("bookworks_answers_not_kept_total")
    keeper.start()
    keeper.put(answer(shown=(), document=lambda: 1 / 0))
    keeper.put(answer())
    keeper.close()
    assert not keeper._thread.is_alive()
    assert REGISTRY.get_sample_value("bookworks_answers_not_kept_total") == before + 2
    with pytest.raises(TransientError):
        keeper.find("x")


def test_with_nothing_to_keep_nothing_waits():
    keeper = Keeper(settings(decision_ttl_seconds=0))
    keeper.put(answer(shown=()))
    assert keeper._waiting.empty()
    keeper.put(answer())
    assert keeper._waiting.qsize() == 1


def test_a_record_travels_as_its_contract_says():
    one = decision()
    assert Decision.model_validate_json(decisions.encoded(one)) == one


class Answer(Future):
    """A future of a producer; it is done."""

    def get(self, timeout):
        if self.exception is not None:
            raise self.exception


class Producer:
    """A producer that fails with `error`, always; None: it works."""

    def __init__(self, error=None):
        self.error, self.sent, self.closed = error, 0, threading.Event()

    def send(self, *_, **__):
        future = Answer()
        if self.error is None:
            self.sent += 1
            return future.success(None)
        return future.failure(self.error)

    def close(self, timeout):
        self.closed.set()


@pytest.fixture
def producers(monkeypatch):
    """The producers that will be made, the next first."""
    made = []
    monkeypatch.setattr(decisions.kafka, "producer", lambda *_, **__: made.pop(0))
    return made


FATAL = [OutOfOrderSequenceNumberError(), InvalidProducerEpochError(), IllegalStateError("closed")]


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
def test_a_producer_that_will_not_send_again_is_made_anew(producers, error):
    broken, sound = Producer(error), Producer()
    producers += [broken, sound]
    stream = decisions.Acknowledged(settings())
    reader = outgoing(READERS, [Reader(source="service", received_at=datetime.now(UTC), user_id="u")])
    with pytest.raises(TransientError):
        stream.send(reader)
    stream.send(reader)
    assert sound.sent == 1
    assert broken.closed.wait(5)


def test_a_producer_that_is_late_is_kept_for_a_while(producers):
    late, sound = Producer(KafkaTimeoutError("late")), Producer()
    producers += [late, sound]
    stream = decisions.Acknowledged(settings())
    reader = outgoing(READERS, [Reader(source="service", received_at=datetime.now(UTC), user_id="u")])
    for _ in range(3):
        assert not late.closed.is_set()
        with pytest.raises(TransientError):
            stream.send(reader)
    stream.send(reader)
    assert sound.sent == 1


def test_decisions_go_on_after_a_fatal_error(producers):
    broken, sound = Producer(FATAL[0]), Producer()
    producers += [broken, sound]
    background = decisions.Background(settings())
    background.start()
    background.put(decision())
    background.put(decision())
    background.close()
    assert sound.sent == 1


class Registry:
    """MLflow's answer to one question."""

    def __init__(self, version=None, status=200, body=None):
        self.status = status
        self.body = body or {"model_version": {"version": "1", "tags": [{"key": "bundle_version", "value": version}]}}

    def client(self):
        def answer(_):
            return httpx.Response(self.status, json=self.body)

        return httpx.Client(base_url="http://mlflow", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Registry("v1"), "v1"),
        (Registry(body={"model_version": {"version": "1", "source": "s3://bundles/v2/"}}), "v2"),
        (Registry(status=404, body={"error_code": "RESOURCE_DOES_NOT_EXIST"}), None),
        (Registry(status=400, body={"error_code": "INVALID_PARAMETER_VALUE"}), None),
    ],
)
def test_which_version_an_alias_names(answer, expected):
    assert registry.version_of_alias(answer.client(), settings(), "champion") == expected


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Registry(status=401, body={"error_code": "UNAUTHENTICATED"}), TerminalError),
        (Registry(status=503, body={}), TransientError),
        (Registry(body={"model_version": {"version": "1"}}), TerminalError),
    ],
)
def test_a_registry_that_does_not_say(answer, error):
    with pytest.raises(error):
        registry.version_of_alias(answer.client(), settings(), "champion")


@pytest.fixture
def keeper(tmp_path):
    made = BundleKeeper(settings(bundle_cache_dir=tmp_path / "cache", vectors_dir=tmp_path / "vectors", minio_port=9))
    made._registry = Registry(status=404, body={"error_code": "RESOURCE_DOES_NOT_EXIST"}).client()
    return made


def names(keeper, version):
    keeper._registry = Registry(version).client()


def test_the_keeper_follows_the_alias_and_refuses_what_is_broken(keeper, tmp_path, caplog):
    caplog.set_level(logging.INFO, "bookworks.serving")
    keeper.refresh()
    assert keeper.current is None
    first, second = (make_tiny_bundle(tmp_path / "cache", seed=seed).name for seed in (1, 2))
    names(keeper, first)
    keeper.refresh()
    assert keeper.current.version == first
    (tmp_path / "cache" / second / ITEM_VECTORS).write_bytes(b"rubbish")
    names(keeper, second)
    keeper.refresh()
    assert keeper.current.version == first
    assert f"bundle {second} refused, {first} keeps serving" in caplog.text
    caplog.clear()
    keeper.refresh()
    assert "refused" not in caplog.text, "not again at once"


def test_going_back_needs_no_loading(keeper, tmp_path):
    first, second = (make_tiny_bundle(tmp_path / "cache", seed=seed).name for seed in (1, 2))
    served = []
    for version in (first, second):
        names(keeper, version)
        keeper.refresh()
        served.append(keeper.current)
    for version in (first, second):
        shutil.rmtree(tmp_path / "cache" / version)
    for turn in (0, 1, 0):
        names(keeper, served[turn].version)
        keeper.refresh()
        assert keeper.current is served[turn]


def test_a_broken_bundle_costs_no_way_back_and_never_are_three_in_memory(keeper, tmp_path, monkeypatch):
    first, second, third = (make_tiny_bundle(tmp_path / "cache", seed=seed).name for seed in (1, 2, 3))
    served = []
    for version in (first, second):
        names(keeper, version)
        keeper.refresh()
        served.append(keeper.current)
    (tmp_path / "cache" / third / ITEM_VECTORS).write_bytes(b"rubbish")
    names(keeper, third)
    keeper.refresh()
    assert (keeper.current, keeper._before) == (served[1], served[0])
    keeper._refusal = keeper._refusal._replace(again_at=0.0)
    whole, load = make_tiny_bundle(tmp_path / "cache", seed=3).name, Bundle.load
    names(keeper, whole)
    monkeypatch.setattr(Bundle, "load", lambda folder: load(folder) if keeper._before is None else pytest.fail("three"))
    keeper.refresh()
    assert (keeper.current.version, keeper._before) == (whole, served[1])


def test_a_bundle_that_serves_no_more_is_gone_though_no_garbage_is_looked_for(keeper, tmp_path):
    """Objects that were there after a load are passed over by the collector: only what has no cycles goes."""
    gone = []
    for seed in (1, 2, 3):
        names(keeper, make_tiny_bundle(tmp_path / "cache", seed=seed, ranker=True).name)
        keeper.refresh()
        pipeline.recommend(keeper.current, "r000", OnlineReader(history=["w003"]), 10, [], pipeline.Trace())
        gone.append([weakref.ref(part) for part in (keeper.current.bundle, keeper.current.catalogue)])
    assert gc.get_freeze_count() > 0
    assert [one() is None for parts in gone for one in parts] == [True, True, False, False, False, False]


def test_a_start_waits_until_the_champion_was_looked_for(keeper, tmp_path, monkeypatch):
    names(keeper, make_tiny_bundle(tmp_path / "cache").name)
    begin, load = threading.Event(), Bundle.load
    monkeypatch.setattr(Bundle, "load", lambda folder: load(folder) if begin.wait(10) else None)
    keeper.start()
    assert not keeper.wait_for_first(0.2)
    begin.set()
    assert keeper.wait_for_first(10)
    assert keeper.current is not None
    keeper.close()


def test_the_keeper_starts_with_the_last_one_when_the_registry_is_away(keeper, tmp_path):
    folder = make_tiny_bundle(tmp_path / "cache")
    names(keeper, folder.name)
    keeper.refresh()
    again = BundleKeeper(keeper._settings)
    again._registry = Registry(status=503, body={}).client()
    again.refresh()
    assert again.current.version == folder.name


def test_the_keeper_starts_with_the_last_one_when_the_champion_is_broken(keeper, tmp_path):
    good, broken = (make_tiny_bundle(tmp_path / "cache", seed=seed) for seed in (1, 2))
    (tmp_path / "cache" / "champion").write_text(good.name)
    (broken / ITEM_VECTORS).unlink()
    names(keeper, broken.name)
    keeper.refresh()
    assert keeper.current.version == good.name


def test_a_bundle_under_another_name_is_refused(keeper, tmp_path):
    folder = make_tiny_bundle(tmp_path / "cache")
    shutil.copytree(folder, folder.with_name("another"))
    names(keeper, "another")
    keeper.refresh()
    assert keeper.current is None


def test_a_vector_collection_of_another_size_is_not_used(keeper, tmp_path):
    from bookworks.adapters import qdrant

    folder = make_tiny_bundle(tmp_path / "cache")
    bundle = Bundle.load(folder)
    store = qdrant.connect(keeper._settings)
    name = vector_collection(folder.name)
    store.create(name, bundle.item_vectors[:5], [{}] * 5)
    names(keeper, folder.name)
    keeper.refresh()
    assert keeper.current.vectors is None
    store.create(name, bundle.item_vectors, [{}] * len(bundle))
    keeper.refresh()
    assert keeper.current.vectors.size == len(bundle)


def test_the_cache_keeps_the_newest_three(keeper, tmp_path):
    made = [make_tiny_bundle(tmp_path / "cache", seed=seed).name for seed in range(5)]
    names(keeper, made[-1])
    keeper.refresh()
    left = {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()}
    assert len(left) == 3
    assert made[-1] in left


def test_a_redis_that_is_away_costs_no_time():
    history = History(settings(redis_port=9))
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(TransientError):
            history.read("u")
    assert time.monotonic() - started < 1
