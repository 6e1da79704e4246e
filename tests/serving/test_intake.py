"""Whatever comes in, it is never our fault: raw bodies, addresses and headers of every kind."""

import asyncio
import json
import logging
import re

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bookworks.settings import Settings
from serving.app import make_app
from serving.in_hand import PAGE, InHand, make_page
from serving.lane import computing_threads
from serving.middleware import BODY_MAX, DEPTH_MAX, HEADERS_MAX, URL_MAX, FreshConnections, entrance
from tests.serving.fakes import KEY, FakePlatform, served
from tests.serving.test_access import ACCESS
from tests.serving.test_api import is_problem

WITH_BODY = {path: access.body for (method, path), access in ACCESS.items() if access.body is not None}
JSON = {"Content-Type": "application/json", "X-API-Key": KEY}
ODD = ["NaN", "-Infinity", "1e400", "-0", "1" * 4000, "1" * 5000, '"\\u0000"', '"\\ud800"', "9223372036854775808", "{}"]


@pytest.fixture(scope="module")
def open_client(tiny_bundle):
    platform = FakePlatform(served(tiny_bundle))
    platform.settings.address_calls_per_minute = 0
    return TestClient(entrance(make_app(platform), 0), raise_server_exceptions=False)


def never_our_fault(answer):
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        is_problem(answer, answer.status_code)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def changed(draw, body):
    """The text of a right body with one value replaced, doubled, or cut off somewhere."""
    text, name = json.dumps(body), draw(st.sampled_from(sorted(body)))
    odd = draw(st.sampled_from(ODD) | VALUES.map(json.dumps))
    how = draw(st.sampled_from(["replaced", "doubled", "added", "cut", "noise"]))
    if how == "replaced":
        rest = {key: value for key, value in body.items() if key != name}
        return f'{json.dumps(rest)[:-1]}{"," if rest else ""} "{name}": {odd}}}'.encode()
    if how in {"doubled", "added"}:
        return f"{text[:-1]}, {json.dumps(name if how == 'doubled' else draw(st.text(max_size=5)))}: {odd}}}".encode()
    at = draw(st.integers(0, len(text)))
    return text[:at].encode() + (draw(st.binary(max_size=8)) + text[at:].encode() if how == "noise" else b"")


def bodies(right):
    nests = st.tuples(st.sampled_from([b"[", b'{"a":', b'{"user_id":[']), st.integers(1, 3000)).map(
        lambda t: t[0] * t[1]
    )
    return st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()) | changed(right) | nests


@pytest.mark.parametrize("path", WITH_BODY)
def test_no_body_is_our_fault(open_client, path):
    @hypothesis_settings(max_examples=80, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        body=bodies(WITH_BODY[path]), kind=st.sampled_from(["application/json", "text/plain", "application/x+json", ""])
    )
    def check(body, kind):
        never_our_fault(open_client.post(path, content=body, headers=JSON | {"Content-Type": kind}))

    check()


@pytest.mark.parametrize("path", WITH_BODY)
def test_a_body_that_is_nested_too_deeply_is_refused_wherever_it_is_deep(open_client, path, caplog):
    deep = b"[" * (DEPTH_MAX + 50) + b"]" * (DEPTH_MAX + 50)
    for body in (deep, b'{"user_id": %s}' % deep, b"[" * 500_000, b'{"a":' * 100_000):
        answer = open_client.post(path, content=body, headers=JSON)
        is_problem(answer, 422, field="body", allowed="200 levels")
    with caplog.at_level(logging.ERROR):
        flat = b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1)
        assert open_client.post(path, content=b'{"user_id": %s}' % flat, headers=JSON).status_code == 422
    assert [record.message for record in caplog.records if record.name.startswith("bookworks")] == []


@pytest.mark.parametrize(
    "body",
    [b'{"n": NaN}', b'{"n": Infinity}', b'{"user_id": "\xff"}', '{"user_id": "u"}'.encode("utf-16"), b"1" * 5000],
)
def test_what_is_no_json_to_the_letter(open_client, body):
    answer = open_client.post("/v1/recommend", content=body, headers=JSON)
    is_problem(answer, 400, detail="The body is no valid JSON", field="body")


def test_of_two_fields_of_one_name_the_last_counts(open_client):
    answer = open_client.post("/v1/recommend", content=b'{"user_id": "u", "n": 1, "n": 2}', headers=JSON)
    assert len(answer.json()["items"]) == 2


def test_an_address_and_headers_of_any_length(open_client):
    assert open_client.get("/readyz?x=" + "x" * (URL_MAX - 100)).status_code == 200
    is_problem(open_client.get("/v1/books/" + "x" * URL_MAX), 414, allowed=f"{URL_MAX} bytes")
    is_problem(open_client.get("/v1/books/w001?x=" + "x" * URL_MAX), 414)
    many = {f"X-{i}": "x" * 1000 for i in range(HEADERS_MAX // 1000 + 1)}
    is_problem(open_client.get("/v1/books/w001", headers=many), 431)
    large = b"[" + b" " * BODY_MAX + b"]"
    is_problem(open_client.post("/v1/recommend", content=large, headers=JSON), 413)


PLACES = [(method, path) for method, path in ACCESS if "{" in path] + [("GET", "/v1/{}"), ("GET", "/{}")]


@hypothesis_settings(max_examples=50, deadline=None, database=None)
@given(name=st.binary(min_size=1, max_size=12), header=st.binary(max_size=20))
@pytest.mark.parametrize(("method", "path"), PLACES)
def test_no_address_and_no_header_is_our_fault(open_client, method, path, name, header):
    address = re.sub(r"{\w*}", "".join(f"%{byte:02x}" for byte in name), path)
    value = bytes(byte for byte in header if byte not in b"\r\n\0")
    headers = [(b"x-api-key", value), (b"authorization", b"Bearer " + value)][: 1 + len(header) % 2]
    for given_headers in (headers, {"X-API-Key": KEY}):
        never_our_fault(open_client.request(method, address, headers=given_headers))


async def answered(app, client):
    """Headers of the answer to a request over this connection."""
    sent = []

    async def send(message):
        sent.append(message)

    await app({"type": "http", "client": client}, None, send)
    return sent[0]["headers"]


def test_a_connection_ends_after_so_many_requests_and_others_have_their_own_count():
    async def inner(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": b""})

    app, one, other = FreshConnections(inner, 3), ("10.0.0.1", 1), ("10.0.0.1", 2)

    async def closed(connection):
        headers = await answered(app, connection)
        assert (b"x", b"y") in headers
        return (b"connection", b"close") in headers

    async def ask():
        return [await closed(connection) for connection in (one, one, other, one, one, one, one, other, other, None)]

    assert asyncio.run(ask()) == [False, False, False, True, False, False, True, False, True, False]


def test_a_worker_with_more_in_hand_than_another_ends_connections(tmp_path, monkeypatch):
    """Each of three requests is answered once all three are in hand; then one after the other goes."""
    monkeypatch.setenv(PAGE, "")
    assert InHand.here(1) is None
    make_page(tmp_path / "page")
    one = InHand.here(1)
    one.open()

    async def ask():
        all_there = asyncio.Barrier(3)

        async def inner(scope, receive, send):
            await all_there.wait()
            await asyncio.sleep(0.05 * scope["client"][1])
            await send({"type": "http.response.start", "status": 200, "headers": []})

        app = FreshConnections(inner, 20, one)
        found = await asyncio.gather(*(answered(app, ("10.0.0.1", number)) for number in range(3)))
        return [(b"connection", b"close") in headers for headers in found]

    assert asyncio.run(ask()) == [False, False, False]  # there is no other worker
    other = InHand.here(2)
    assert asyncio.run(ask()) == [False, False, False]  # it still loads
    other.open()
    assert asyncio.run(ask()) == [True, True, False]  # 3, 2 and 1 against none
    other.add(1)
    assert asyncio.run(ask()) == [True, False, False]
    other.add(9)
    assert asyncio.run(ask()) == [False, False, False]
    assert not one.too_many
    assert other.too_many
    other.close()
    assert asyncio.run(ask()) == [False, False, False]
    InHand.here(2).open()  # started anew it has nothing in hand
    assert asyncio.run(ask()) == [True, True, False]


def test_a_request_that_fails_is_no_longer_in_hand(tmp_path, monkeypatch):
    monkeypatch.setenv(PAGE, "")
    make_page(tmp_path / "page")
    one, other = InHand.here(1), InHand.here(2)
    one.open()
    other.open()

    async def inner(scope, receive, send):
        raise ValueError("a fault")

    for _ in range(3):
        with pytest.raises(ValueError, match="a fault"):
            asyncio.run(answered(FreshConnections(inner, 20, one), ("10.0.0.1", 1)))
    assert not one.too_many


@pytest.mark.parametrize("address", ["/v1/search?q=%ff%fe", "/v1/users/%ff", "/v1/books/%ED%A0%80", "/v1/search?%fe=1"])
def test_an_address_that_is_no_utf8_is_refused(client, address):
    is_problem(client.get(address), 400, field="query" if "?" in address else "path")


@pytest.mark.parametrize(
    "types", [[], ["text/plain"], ["application/x-www-form-urlencoded"], ["application/json", "text/plain"]]
)
def test_a_body_says_once_that_it_is_json(client, key, types):
    headers = [*key.items(), *(("Content-Type", kind) for kind in types)]
    answer = client.post("/v1/recommend", content=b'{"user_id": "u"}', headers=headers)
    is_problem(
        answer, 415, field="header.Content-Type", received=", ".join(types) or "nothing", allowed="application/json"
    )
    said = {**key, "Content-Type": "application/json; charset=utf-8"}
    assert client.post("/v1/recommend", content=b'{"user_id": "u"}', headers=said).status_code == 200


def test_two_threads_compute_where_one_waits_for_a_qdrant_server():
    assert computing_threads(Settings(qdrant_url=None)) == 1
    assert computing_threads(Settings(qdrant_url="http://q:6333")) == 2
    assert computing_threads(Settings(qdrant_url="http://q:6333", service_threads=3)) == 3
