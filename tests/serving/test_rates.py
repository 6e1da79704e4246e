"""How often one caller may ask."""

import time
import uuid

import pytest
from prometheus_client import REGISTRY

from bookworks.adapters import redis
from bookworks.contracts import online
from tests.serving.test_api import bearer, is_problem

ASK = {"user_id": "r001"}


def metric(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_reader_that_asks_too_often_waits_and_the_others_do_not(client, platform, key):
    platform.settings.reader_calls_per_minute = 2
    before = metric("bookworks_calls_refused_total", routes="recommend", caller="reader")
    me = bearer(platform, "r001")
    for _ in range(2):
        assert client.post("/v1/recommend", json={}, headers=me).status_code == 200
    answer = client.post("/v1/recommend", json={}, headers=me)
    is_problem(answer, 429, allowed="2 a minute", todo="wait 42 s.")
    assert answer.headers["Retry-After"] == "42"
    assert metric("bookworks_calls_refused_total", routes="recommend", caller="reader") == before + 1
    assert client.get("/v1/users/r001", headers=me).status_code == 200, "another class of routes"
    assert client.post("/v1/recommend", json={}, headers=bearer(platform, "r002")).status_code == 200
    assert client.post("/v1/recommend", json=ASK, headers=key).status_code == 200


def test_keys_are_counted_each_for_itself_and_by_default_not_at_all(client, platform, key):
    assert client.post("/v1/recommend", json=ASK, headers=key).status_code == 200
    assert platform.history.calls == {}
    platform.settings.key_calls_per_minute = 1
    other = {"X-API-Key": platform.kept_keys.add("shop", "recommend")}
    platform.keys.refresh()
    for headers in (key, other):
        codes = [client.post("/v1/recommend", json=ASK, headers=headers).status_code for _ in range(2)]
        assert codes == [200, 429]


def test_open_routes_count_the_address(client, platform):
    platform.settings.address_calls_per_minute = 3
    paths = ("/v1/books/w001", "/v1/books/w001/similar", "/v1/books/nothing", "/v1/books/w001")
    assert [client.get(path).status_code for path in paths] == [200, 200, 404, 429]
    login = {"username": "ada", "password": "x"}
    assert client.post("/v1/auth/login", json=login).status_code == 401
    assert set(platform.history.calls) == {"books:address:testclient", "auth:address:testclient"}


def test_probes_and_who_is_refused_cost_no_call(client, platform):
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert client.post("/v1/recommend", json=ASK, headers={"X-API-Key": "wrong"}).status_code == 401
    assert platform.history.calls == {}


def test_without_redis_there_is_no_limit_and_the_metric_says_so(client, platform):
    platform.settings.reader_calls_per_minute, platform.history.away = 1, True
    before = metric("bookworks_fallbacks_total", part="rate_limits")
    for _ in range(3):
        assert client.post("/v1/recommend", json={}, headers=bearer(platform, "r001")).status_code == 200
    assert metric("bookworks_fallbacks_total", part="rate_limits") == before + 3


def test_of_a_batch_every_interaction_counts(client, platform, key):
    platform.settings.reader_events_per_minute = 5
    batch = {"events": [{"kind": "click", "work_id": "w001", "user_id": "r001"}] * 3}
    me = bearer(platform, "r001")
    assert client.post("/v1/interactions", json=batch, headers=me).status_code == 200
    is_problem(client.post("/v1/interactions", json=batch, headers=me), 429, allowed="5 a minute")
    two = {"events": batch["events"][:2]}
    assert client.post("/v1/interactions", json=two, headers=me).status_code == 200, "what was refused does not count"
    for _ in range(2):
        assert client.post("/v1/interactions", json=batch, headers=key).status_code == 200


@pytest.mark.integration
def test_calls_are_counted_in_one_command_for_a_minute_from_the_first(stack):
    client, who = redis.connect(stack.need("redis")), f"recommend:reader:{uuid.uuid4()}"
    try:
        assert redis.count_calls(client, who, 40) == (1, online.CALLS_WINDOW_S)
        key = online.CALLS.format(who)
        client.pexpire(key, 1500)
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert redis.count_calls(client, who, 40) == (2, 2)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
        client.pexpire(key, 1)
        time.sleep(0.01)
        assert redis.count_calls(client, who, 40)[0] == 1
        assert redis.count_calls(client, who, 40, 30)[0] == 31
        assert redis.count_calls(client, who, 40, 30)[0] == 61, "too many, and so not counted"
        assert redis.count_calls(client, who, 40, 9)[0] == 40
    finally:
        client.close()
