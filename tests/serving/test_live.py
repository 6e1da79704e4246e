"""The service as a process, on real Redis, Kafka, Postgres, MinIO and MLflow."""

import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import pytest
from pydantic import SecretStr

from analytics.bench import recall
from analytics.bench import serving as bench
from bookworks.adapters import clickhouse, kafka, qdrant, redis
from bookworks.client import Client, Interaction, ProblemError
from bookworks.contracts import online
from bookworks.contracts.bundle import ITEM_VECTORS
from bookworks.contracts.records import Decision, Event
from bookworks.errors import TransientError
from bookworks.models.bundle import Bundle
from indexing.bundle_to_qdrant import publish
from infra.local import stack as servers
from ingestion import kafka_to_online
from tests.serving.process import QUICK, eventually, running
from tests.serving.publishing import point_at, promote
from tests.support.bundles import make_tiny_bundle

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def settings(stack):
    """A model of its own: other tests promote bundles too."""
    servers = stack.need("kafka", "minio", "postgres", "redis", "mlflow")
    return servers.model_copy(update={"model_name": "live"})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes another real bundle at each call."""
    folder, seeds = tmp_path_factory.mktemp("made"), iter(range(1, 100))
    return lambda **more: make_tiny_bundle(folder, n_works=80, seed=next(seeds), created_at=datetime.now(UTC), **more)


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("log") / "service.log"


@pytest.fixture(scope="module")
def empty(settings, log):
    """The service before any bundle was promoted."""
    with running(settings, log) as client:
        yield client


@pytest.fixture(scope="module")
def live(settings, empty, made):
    """The same service, once a champion is there."""
    assert empty.get("/readyz").status_code == 503, "the stack was used before: it has a champion"
    assert empty.post("/v1/recommend", json={"user_id": "u"}).json()["todo"].startswith("promote one")
    folder = made()
    publish(qdrant.connect(settings), Bundle.load(folder), set())
    promote(settings, folder)
    ready = eventually(lambda: (a := empty.get("/readyz")).status_code == 200 and a.json())
    assert ready == {"status": "ready", "bundle_version": folder.name, "vector_index": True}
    return empty


def ask(client, user_id="r001", **fields):
    answer = client.post("/v1/recommend", json={"user_id": user_id} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def new_reader():
    return f"new-{uuid.uuid4()}"


def records_of(settings, topic, wanted, seconds=15):
    """The first record of `topic` that `wanted` accepts; other tests left records without the field it asks for."""

    def accepted(record):
        try:
            return wanted(record)
        except KeyError:
            return False

    reader = kafka.consumer(settings, topic, group=None)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            for batch in reader.poll(500).values():
                found = [orjson.loads(record.value) for record in batch if record.value[:1] == b"{"]
                if mine := [record for record in found if accepted(record)]:
                    return mine
    finally:
        reader.close()
    pytest.fail(f"nothing such in {topic}")


def test_a_slate_comes_from_the_vector_index_and_is_told_to_kafka(live, settings):
    slate = ask(live, "r001", n=5, surface="home")
    assert slate["fallbacks"] == []
    assert any("vectors" in item["sources"] for item in slate["items"])
    (record,) = records_of(settings, "decisions", lambda r: r["decision_id"] == slate["decision_id"])
    decision = Decision.model_validate(record)
    assert [item.work_id for item in decision.items] == [item["work_id"] for item in slate["items"]]
    assert decision.bundle_version == slate["bundle_version"]
    assert decision.latency_ms > 0


def test_a_click_is_in_kafka_and_changes_the_next_answer(live, settings):
    user_id, event_id = new_reader(), str(uuid.uuid4())
    before = ask(live, user_id)
    clicked = before["items"][0]["work_id"]
    event = {"kind": "click", "work_id": clicked, "user_id": user_id, "event_id": event_id}
    for _ in range(2):
        answer = live.post("/v1/interactions", json={"events": [event]})
        assert answer.json() == {"accepted": 1, "event_ids": [event_id], "fallbacks": []}
    after = ask(live, user_id)
    assert (before["tier"], after["tier"]) == ("cold", "session")
    assert clicked not in [item["work_id"] for item in after["items"]]
    assert [item["work_id"] for item in after["items"]] != [item["work_id"] for item in before["items"]]
    assert [item["work_id"] for item in live.get(f"/v1/users/{user_id}").json()["history"]] == [clicked]
    stored = records_of(settings, "interactions", lambda r: r["event_id"] == event_id)
    assert Event.model_validate(stored[0]).user_id == user_id


SECOND_VOLUMES = set(range(6, 80, 12))  # the shipped rules hold them back from who has not read the first


def test_pages_and_a_decision_found_again(live):
    user_id = new_reader()
    first = ask(live, user_id, n=30)
    live.post("/v1/interactions", json={"events": [{"kind": "loan", "work_id": "w070", "user_id": user_id}]})
    pages = [first]
    while pages[-1]["next"] is not None:
        pages.append(ask(live, user_id, n=30, cursor=pages[-1]["next"]))
    works = [item["work_id"] for page in pages for item in page["items"]]
    assert len(works) == len(set(works))
    assert {f"w{i:03d}" for i in range(80)} - set(works) - {"w070"} == {f"w{i:03d}" for i in SECOND_VOLUMES}
    found = eventually(lambda: (a := live.get(f"/v1/decisions/{first['decision_id']}")).status_code == 200 and a.json())
    assert found["answer"] == first
    told = live.post("/v1/why-not", json={"user_id": user_id, "book": "w070"}).json()
    assert (told["shown"], told["reasons"][0]["rule"]) == (False, "read")


def test_a_filtered_slate_and_a_visitor(live):
    slate = ask(live, "r001", n=30, filters={"subjects": ["poetry"], "year_from": 1960})
    assert {int(item["work_id"][1:]) % 5 for item in slate["items"]} == {4}
    assert len(slate["items"]) == len([i for i in range(10, 80) if i % 5 == 4 and i not in SECOND_VOLUMES])
    body = {"session": {"history": ["w003"]}, "context": {"device": "phone"}}
    visitor = live.post("/v1/recommend", json=body).json()
    assert (visitor["tier"], visitor["user_id"]) == ("session", f"visitor-{visitor['decision_id']}")


def test_a_thousand_interactions_at_once(live):
    events = [{"kind": "view", "work_id": f"w{i % 80:03d}", "user_id": new_reader()} for i in range(1000)]
    answer = live.post("/v1/interactions", json={"events": events})
    assert answer.status_code == 200, answer.text
    assert len(set(answer.json()["event_ids"])) == 1000


def test_the_door(live, settings):
    name = f"ada-{uuid.uuid4()}"
    body = {"username": name, "password": "a long pass phrase", "country": "Germany", "age": 30}
    tastes = {"authors": ["Author 3"], "subjects": ["crime"], "books": ["w005-e0", "none"]}
    made = live.post("/v1/auth/signup", json=body | {"tastes": tastes})
    assert made.status_code == 201, made.text
    assert (made.json()["unknown_books"], made.json()["fallbacks"]) == (["none"], [])
    assert live.post("/v1/auth/signup", json=body).status_code == 409
    assert live.post("/v1/auth/login", json={"username": name, "password": "wrong"}).status_code == 401
    login = live.post("/v1/auth/login", json={"username": name, "password": "a long pass phrase"}).json()
    me = httpx.Client(base_url=live.base_url, headers={"Authorization": f"Bearer {login['access_token']}"})
    with me:
        user_id = me.post("/v1/recommend", json={}).json()["user_id"]
        assert user_id == made.json()["user_id"]
        known = me.get(f"/v1/users/{user_id}").json()
        assert (known["country"], known["age_bin"], known["tastes"]) == ("DE", "25-34", ["Author 3", "crime"])
        assert me.post("/v1/recommend", json={"user_id": "r001"}).status_code == 403
        assert me.get("/v1/users/r001").status_code == 403
    (reader,) = records_of(settings, "readers", lambda r: r["user_id"] == user_id)
    assert reader["age"] in {29, 30}


def test_failed_logins_are_limited_for_one_name_only(live, settings):
    name, other = f"eve-{uuid.uuid4()}", f"bob-{uuid.uuid4()}"
    limit = settings.login_attempts_per_minute
    codes = [
        live.post("/v1/auth/login", json={"username": name, "password": "x"}).status_code for _ in range(limit + 2)
    ]
    assert codes == [401] * limit + [429] * 2
    assert live.post("/v1/auth/login", json={"username": other, "password": "x"}).status_code == 401


def test_an_id_with_a_nul_is_a_callers_mistake(live):
    assert live.get("/v1/users/%00").status_code == 422
    assert live.get("/v1/users/r001").status_code == 200


def test_the_benchmark_times_answers_only(live, settings, stack):
    client = clickhouse.connect(stack.need("clickhouse"))
    clickhouse.ensure_tables(settings)
    seen = [[str(uuid.uuid4()), "view", f"r{i:03d}", datetime.now(UTC), "bench-test"] for i in range(3)]
    client.insert("events", seen, column_names=["event_id", "kind", "user_id", "received_at", "source"])
    p50, p99 = bench.measure(settings, requests=3, rounds=2)
    assert (p50.name, p99.name, p50.unit) == ("recommend_p50", "recommend_p99", "ms")
    for half, most in zip((p50.rounds, p50.baseline), (p99.rounds, p99.baseline), strict=True):
        assert len(half) == len(most) == 2
        assert all(0 < a <= b < 5_000 for a, b in zip(half, most, strict=True))
    stranger = settings.model_copy(update={"service_api_key": SecretStr("wrong")})
    with pytest.raises(TransientError, match="refused a request of the benchmark"):
        bench.measure(stranger, requests=3, rounds=1)


def test_the_benchmark_finds_what_is_nearest_to_the_champions_readers(live, settings):
    assert ask(live)["fallbacks"] == []
    assert recall.of_champion(settings, ["r001", new_reader()]).rounds == [1.0], "so few works are searched one by one"
    nowhere = settings.model_copy(update={"bundle_cache_dir": Path("nowhere")})
    with pytest.raises(TransientError, match="No bundle has served"):
        recall.of_champion(nowhere, ["r001"])


def test_what_a_reader_takes_back_stays_away_when_the_stream_is_read_again(live, settings):
    """Also by a consumer that begins at the first record, as after the loss of Redis."""
    user_id = new_reader()
    events = [{"kind": "loan", "work_id": f"w00{i}", "user_id": user_id} for i in (1, 2)]
    assert live.post("/v1/interactions", json={"events": events}).status_code == 200
    theirs = live.get("/v1/books/w003").json()["author"]
    assert live.put(f"/v1/users/{user_id}/dismissed-authors/{theirs}").status_code == 204
    assert live.delete(f"/v1/users/{user_id}/history/w001").status_code == 204
    client = redis.connect(settings)
    try:
        for emptied in (False, True):
            if emptied:
                client.delete(*client.keys(f"reader:{user_id}:*"), online.DISMISSED_AUTHORS_KNOWN)
            from_the_first_record(settings)
            page = live.get(f"/v1/users/{user_id}/history").json()
            assert [item["work_id"] for item in page["items"]] == ["w002"]
            shown = ask(live, user_id, n=80)["items"]
            assert "w001" in {item["work_id"] for item in shown}
            eventually(lambda: theirs not in {item["author"] for item in ask(live, user_id, n=80)["items"]})
    finally:
        client.close()


def from_the_first_record(settings):
    """Bring all interactions into Redis, as a consumer of a new group does."""
    sink, reader = kafka_to_online.OnlineSink(settings), kafka.consumer(settings, "interactions", group=None)
    try:
        while batch := reader.poll(3000):
            sink.write(batch)
    finally:
        reader.close()


def test_books_and_metrics_over_bentoml(live):
    assert live.get("/v1/books/w003-e0").json()["work_id"] == "w003"
    assert live.get("/v1/books/w003/similar?n=3").json()["fallbacks"] == []
    missing = live.get("/v1/books/nothing")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert live.get("/no/such/page").headers["content-type"] == "application/problem+json"
    assert live.get("/openapi.json").json()["info"]["title"] == "bookworks"
    assert "swagger-ui" in live.get("/docs").text
    page = live.get("/metrics").text
    assert 'bentoml_service_request_total{endpoint="/v1/books/{work_id}"' in page
    assert "books/nothing" not in page
    assert "bookworks_recommendations_total" in page
    version = live.get("/readyz").json()["bundle_version"]
    assert f'bookworks_bundle_workers{{version="{version}"}} 1.0' in page
    large = live.post("/v1/recommend", content=b" " * 1_100_000, headers={"Content-Type": "application/json"})
    assert large.status_code == 413


def test_the_client_over_the_network(live, settings):
    """Every endpoint for callers, over HTTP; the answers are looked at where the app is tested."""
    key = settings.service_api_key.get_secret_value()
    name, url = f"ida-{uuid.uuid4()}", str(live.base_url)
    with Client(url, api_key=key) as books:
        assert books.ready().bundle_version == books.current_models().version
        found = books.search("titel 26", n=3)
        assert (found.items[0].work_id, found.fallbacks) == ("w026", [])
        assert books.book(found.items[0].work_id).title == "Title 26"
        assert books.similar("w026", kind="author").items
        made = books.signup(name, "a long pass phrase", subjects=["crime"])
        token = books.login(name, "a long pass phrase").access_token
        with pytest.raises(ProblemError, match="There is no such book"):
            books.book("nothing")
    with Client(url, token=token) as mine:
        slate = mine.recommend(n=2)
        assert slate.tier == "tastes"
        mine.interactions([Interaction("click", work_id=slate.items[0].work_id, decision_id=slate.decision_id)])
        assert [item.work_id for item in mine.user(made.user_id).history] == [slate.items[0].work_id]
        assert mine.search("title", personalised=True).personalised


def test_ten_switches_under_load_and_no_answer_mixes_two_bundles(live, settings, made):
    old, other = ask(live)["bundle_version"], made(ranker=True)
    publish(qdrant.connect(settings), Bundle.load(other), set())
    reader, stop, answers = "r003", threading.Event(), {}
    live.post("/v1/interactions", json={"events": [{"user_id": reader, "kind": "click", "work_id": "w011"}]})

    def caller():
        with httpx.Client(base_url=live.base_url, headers=live.headers) as client:
            while not stop.is_set():
                answer = ask(client, reader, explain=True)
                ordered = any(item["explanation"] for item in answer["items"])
                items = [(item["work_id"], item["score"]) for item in answer["items"]]
                answers.setdefault(answer["bundle_version"], []).append((ordered, items, answer["fallbacks"]))

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(caller) for _ in range(4)]
        try:
            promote(settings, other)
            eventually(lambda: other.name in answers)
            took = []
            for turn in range(9):
                wanted = (old, other.name)[turn % 2]
                point_at(settings, wanted)
                moved, seen = time.monotonic(), len(answers[wanted])
                eventually(lambda wanted=wanted, seen=seen: len(answers[wanted]) > seen)
                took.append(time.monotonic() - moved)
            assert statistics.median(took) < 1.0 + float(QUICK["BOOKWORKS_BUNDLE_POLL_SECONDS"])
        finally:
            stop.set()
        for one in callers:
            one.result()  # what it raised
    assert set(answers) == {old, other.name}
    for version, told in answers.items():
        assert {ordered for ordered, _, _ in told} == {version == other.name}
        assert len({tuple(items) for _, items, fallbacks in told if not fallbacks}) == 1
    point_at(settings, other.name)
    assert eventually(lambda: live.get("/readyz").json() == {
        "status": "ready", "bundle_version": other.name, "vector_index": True
    })  # fmt: skip


def test_a_bundle_without_its_vector_collection_serves_and_finds_it_later(live, settings, made):
    folder = made()
    promote(settings, folder)
    eventually(lambda: live.get("/readyz").json()["bundle_version"] == folder.name)
    slate = ask(live, "r001")
    assert slate["fallbacks"] == ["vector_index"]
    publish(qdrant.connect(settings), Bundle.load(folder), set())
    eventually(lambda: ask(live, "r001")["fallbacks"] == [])
    assert [i["work_id"] for i in ask(live, "r001")["items"]] == [i["work_id"] for i in slate["items"]]


def test_a_merge_and_its_undoing_are_followed_at_the_switch(live, settings, made):
    """Works 5 and 10 are merged and part again; readers and callers go on with the ids that they know."""

    def switch(**merged):
        promote(settings, folder := made(**merged))
        eventually(lambda: live.get("/readyz").json()["bundle_version"] == folder.name)

    def told(**event):
        answer = live.post("/v1/interactions", json={"events": [{"kind": "click", "user_id": new_reader()} | event]})
        assert answer.status_code == 200, answer.text

    def shown(user_id, **fields):
        return {item["work_id"] for item in ask(live, user_id, n=100, **fields)["items"]} & {"w005", "w010"}

    switch()
    reader, of_edition, later = new_reader(), new_reader(), new_reader()
    told(user_id=reader, work_id="w005", kind="loan")
    assert (shown(reader), shown(later)) == ({"w010"}, {"w005", "w010"})

    switch(merged={5: 10})
    told(user_id=of_edition, edition_id="w005-e1", work_id="w010")
    assert (shown(reader), shown(of_edition), shown(later)) == (set(), set(), {"w010"})
    assert shown(later, exclude=["w005"]) == set()
    book = live.get("/v1/books/w005")
    assert (book.status_code, book.headers["Content-Location"]) == (200, "/v1/books/w010")
    assert (book.json()["work_id"], book.json()["former_ids"]) == ("w010", ["w005"])
    assert {"w005-e0", "w010-e0"} < set(book.json()["editions"])
    assert (
        live.get("/v1/books/w005/similar").json()["work_id"]
        == live.get("/v1/books/w005-e0").json()["work_id"]
        == "w010"
    )
    told(user_id=later, work_id="w005")
    assert shown(later) == set()
    told(user_id=reader, work_id="w010", kind="loan")
    known = live.get(f"/v1/users/{reader}").json()
    assert ([item["work_id"] for item in known["history"]], known["seen"]) == (["w010"], 1)

    switch()
    assert shown(of_edition) == {"w010"}
    assert shown(later) == {"w010"}
    assert shown(reader) == set()
    assert live.get("/v1/books/w005").json()["work_id"] == live.get("/v1/books/w005-e1").json()["work_id"] == "w005"
    assert live.get("/v1/books/w010").json()["former_ids"] == []


def test_a_broken_bundle_is_refused_and_the_old_one_serves_on(live, settings, made, log):
    good = ask(live)["bundle_version"]
    folder = made()
    (folder / ITEM_VECTORS).write_bytes((folder / ITEM_VECTORS).read_bytes()[:-4] + b"\0\0\0\0")
    promote(settings, folder)
    eventually(lambda: f"bundle {folder.name} refused" in log.read_text())
    assert ask(live)["bundle_version"] == good
    assert "bookworks_bundles_refused_total 1.0" in live.get("/metrics").text
    promote(settings, better := made())
    eventually(lambda: ask(live)["bundle_version"] == better.name)


def down(settings, *names):
    servers.down(settings, list(names))


def up(settings, *names):
    servers.up(settings, list(names), lambda _: None)


def test_without_redis_it_answers_and_says_so(live, settings):
    user_id = new_reader()
    down(settings, "redis")
    try:
        slate = ask(live, "r001")
        assert "history" in slate["fallbacks"]
        assert (slate["tier"], len(slate["items"])) == ("warm", 10)
        event = {"kind": "click", "work_id": "w001", "user_id": user_id}
        assert live.post("/v1/interactions", json={"events": [event]}).json()["fallbacks"] == ["history"]
    finally:
        up(settings, "redis")
    eventually(lambda: "history" not in ask(live, "r001")["fallbacks"])


def test_without_kafka_interactions_are_refused_in_time_and_books_are_still_recommended(live, settings):
    event = {"kind": "click", "work_id": "w001", "user_id": new_reader()}
    door = {"username": f"new-{uuid.uuid4()}", "password": "a long pass phrase"}
    down(settings, "kafka")
    try:
        assert live.post("/v1/auth/signup", json=door).status_code == 503
        for _ in range(3):
            started = time.monotonic()
            answer = live.post("/v1/interactions", json={"events": [event]})
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"]
            assert time.monotonic() - started < 4
        assert len(ask(live, event["user_id"])["items"]) == 10
        assert ask(live, event["user_id"])["tier"] == "cold", "what was refused must not show"
    finally:
        up(settings, "kafka")
    eventually(lambda: live.post("/v1/interactions", json={"events": [event]}).status_code == 200, 30)
    assert live.post("/v1/auth/signup", json=door).status_code == 201
    slate = ask(live, event["user_id"])
    assert slate["tier"] == "session"
    records_of(settings, "decisions", lambda r: r["decision_id"] == slate["decision_id"], 30)


def test_without_postgres_only_the_door_is_shut(live, settings):
    body = {"username": "nobody", "password": "a long pass phrase"}
    down(settings, "mlflow", "postgres")
    try:
        assert live.post("/v1/auth/login", json=body).status_code == 503
        assert live.post("/v1/auth/signup", json=body).status_code == 503
        assert live.get("/v1/users/r001").json()["fallbacks"] == ["accounts"]
        assert len(ask(live)["items"]) == 10
    finally:
        up(settings, "postgres", "mlflow")
    eventually(lambda: live.post("/v1/auth/login", json=body).status_code == 401)


def test_it_starts_with_the_last_champion_when_mlflow_and_minio_are_away(live, settings, tmp_path):
    version = ask(live)["bundle_version"]
    elsewhere = {
        "BOOKWORKS_SERVICE_PORT": str(settings.service_port + 7),
        "BOOKWORKS_MLFLOW_PORT": "9",
        "BOOKWORKS_MINIO_PORT": "9",
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }
    with running(settings, tmp_path / "second.log", **elsewhere) as second:
        eventually(lambda: second.get("/readyz").status_code == 200)
        assert ask(second)["bundle_version"] == version


def test_a_taken_port_and_a_missing_secret_are_said_in_words(live, settings, tmp_path):
    def start(**environment):
        return subprocess.run(
            [sys.executable, "-m", "serving.run"],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    taken = start()
    assert taken.returncode == 1
    assert "BOOKWORKS_SERVICE_PORT" in taken.stderr
    bare = start(BOOKWORKS_JWT_SECRET="short")
    assert "BOOKWORKS_JWT_SECRET" in bare.stderr
    name = start(BOOKWORKS_SERVICE_HOST="localhost")
    assert "BOOKWORKS_SERVICE_HOST" in name.stderr
    assert not any("Traceback" in one.stderr for one in (taken, bare, name))
