"""Whatever is refused is named: the field, what came, and in words what is allowed."""

import asyncio
import json
import uuid

import pytest
from fastapi.testclient import TestClient

from serving import middleware
from serving.app import make_app
from serving.schemas import PATTERNS
from tests.serving.fakes import FakePlatform, served
from tests.serving.test_api import is_problem

LOGIN = {"username": "ada", "password": "a long pass phrase"}
EVENT = {"kind": "click", "work_id": "w001", "user_id": "u"}


@pytest.fixture(scope="module")
def quick(tiny_bundle):
    return TestClient(make_app(FakePlatform(served(tiny_bundle))), raise_server_exceptions=False)


def event(**fields):
    return {"events": [EVENT | fields]}


BODIES = [
    ("recommend", [], "body", "an object"),
    ("recommend", {"n": "five"}, "body.n", "a whole number"),
    ("recommend", {"n": 2.5}, "body.n", "a whole number"),
    ("recommend", {"n": True}, "body.n", "a whole number"),
    ("recommend", {"n": "5"}, "body.n", "a whole number"),
    ("recommend", {"user_id": "a/b"}, "body.user_id", "no slash"),
    ("recommend", {"n": 0}, "body.n", "at least 1"),
    ("recommend", {"n": 101}, "body.n", "at most 100"),
    ("recommend", {"n": "9" * 5000}, "body.n", "a whole number"),
    ("recommend", {"user_id": 5}, "body.user_id", "a text"),
    ("recommend", {"user_id": ""}, "body.user_id", "a length of at least 1"),
    ("recommend", {"user_id": "x" * 201}, "body.user_id", "a length of at most 200"),
    ("recommend", {"user_id": "a\nb"}, "body.user_id", "characters that can be printed, on one line"),
    ("recommend", {"exclude": "w001"}, "body.exclude", "a list"),
    ("recommend", {"exclude": ["w"] * 1001}, "body.exclude", "a length of at most 1000"),
    ("recommend", {"explain": "yes"}, "body.explain", "true or false"),
    ("recommend", {"number": 5}, "body.number", "only the fields that /docs names"),
    ("recommend", {"filters": 5}, "body.filters", "an object"),
    ("recommend", {"filters": {"year_to": 3001}}, "body.filters.year_to", "at most 3000"),
    ("recommend", {"filters": {"languages": [" "]}}, "body.filters.languages.0", "at least 1"),
    ("recommend", {"filters": {"authors": ["a\0b"]}}, "body.filters.authors.0", "not blanks alone"),
    ("recommend", {"session": "s"}, "body.session", "an object"),
    ("recommend", {"session": {}, "user_id": "u"}, "body", "user_id or session, not both"),
    ("recommend", {"cursor": "c", "filters": {"year_to": 5}}, "body", "a cursor without filters"),
    ("recommend", {"cursor": ""}, "body.cursor", "at least 1"),
    ("recommend", {"context": []}, "body.context", "an object"),
    ("recommend", {"context": {"A b": "x"}}, "body.context.A b.[key]", "1 to 40 of a-z, 0-9 and _"),
    ("recommend", {"context": {"a": "x\n"}}, "body.context.a", "on one line, or none"),
    ("recommend", {"context": {f"k{i}": "x" for i in range(21)}}, "body.context", "at most 20"),
    ("why-not", {"user_id": "u"}, "body.book", "it is needed"),
    ("why-not", {"user_id": "u", "book": "w001", "cursor": "c"}, "body", "no cursor"),
    ("interactions", {}, "body.events", "it is needed"),
    ("interactions", {"events": []}, "body.events", "at least 1"),
    ("interactions", {"events": [5]}, "body.events.0", "an object"),
    ("interactions", event(kind="like"), "body.events.0.kind", "'view', 'click'"),
    ("interactions", event(work_id=None), "body.events.0", "work_id, edition_id or both"),
    ("interactions", event(value=5), "body.events.0", "a value for a rating"),
    ("interactions", event(kind="rating", value="much"), "body.events.0.value", "a number"),
    ("interactions", event(kind="rating", value="nan"), "body.events.0.value", "a number"),
    ("interactions", event(kind="rating", value=True), "body.events.0.value", "a number"),
    ("interactions", event(kind="rating", value=11), "body.events.0.value", "at most 10"),
    ("interactions", event(event_id="1"), "body.events.0.event_id", "a UUID"),
    ("interactions", event(event_id=1), "body.events.0.event_id", "a UUID"),
    ("interactions", event(occurred_at="soon"), "body.events.0.occurred_at", "a time as in RFC 3339"),
    ("interactions", event(occurred_at=[]), "body.events.0.occurred_at", "a time as in RFC 3339"),
    ("interactions", event(occurred_at="2026-01-01T00:00:00"), "body.events.0.occurred_at", "a time with its zone"),
    ("interactions", event(occurred_at="1970-01-01T00:00:00Z"), "body.events.0.occurred_at", "1971 to 2198"),
    ("interactions", event(occurred_at=1e30), "body.events.0.occurred_at", "a time as in RFC 3339"),
    ("interactions", event(position=10_001), "body.events.0.position", "at most 10000"),
    ("auth/signup", LOGIN | {"username": "a b"}, "body.username", "3 to 64 of a-z, 0-9 and . _ @ + -"),
    ("auth/signup", LOGIN | {"password": "short"}, "body.password", "at least 10"),
    ("auth/signup", LOGIN | {"birth_year": 3000}, "body.birth_year", "a year up to this one"),
    ("auth/signup", LOGIN | {"birth_year": 1990, "age": 30}, "body", "birth_year or age, not both"),
    ("auth/signup", LOGIN | {"age": "old"}, "body.age", "a whole number"),
    ("auth/signup", LOGIN | {"tastes": []}, "body.tastes", "an object"),
    ("auth/login", {"username": "ada"}, "body.password", "it is needed"),
    ("auth/login", LOGIN | {"remember": True}, "body.remember", "only the fields that /docs names"),
    ("auth/refresh", {"refresh_token": 5}, "body.refresh_token", "a text"),
    ("auth/logout", {"refresh_token": ""}, "body.refresh_token", "at least 1"),
]


@pytest.mark.parametrize(("route", "body", "field", "allowed"), BODIES)
def test_a_body(quick, key, route, body, field, allowed):
    problem = is_problem(quick.post(f"/v1/{route}", json=body, headers=key), 422, field=field)
    assert allowed in problem["allowed"]
    assert "^" not in problem["allowed"]


ADDRESSES = [
    ("books/w001/similar?n=x", "query.n", "a whole number"),
    ("books/w001/similar?n=0", "query.n", "at least 1"),
    ("books/w001/similar?kind=x", "query.kind", "'all', 'behaviour'"),
    ("books/a%00b", "path.work_id", "characters that can be printed"),
    ("users/r001/history?offset=-1", "query.offset", "at least 0"),
    ("users/" + "x" * 201, "path.user_id", "at most 200"),
    ("decisions/1", "path.decision_id", "a UUID"),
    ("search", "query.q", "it is needed"),
    ("search?q=", "query.q", "at least 1"),
    ("search?q=x&personalised=perhaps", "query.personalised", "true or false"),
    ("search?q=x&year_from=2201", "query.year_from", "at most 2200"),
    ("search?q=x&author=%0A", "query.author", "characters that can be printed"),
]


@pytest.mark.parametrize(("address", "field", "allowed"), ADDRESSES)
def test_an_address(quick, key, address, field, allowed):
    problem = is_problem(quick.get(f"/v1/{address}", headers=key), 422, field=field)
    assert allowed in problem["allowed"]


NOT_THERE = [
    ("GET", "/v1/users/nobody"),
    ("GET", "/v1/users/nobody/export"),
    ("DELETE", "/v1/users/nobody/history/nothing"),
    ("PUT", "/v1/users/nobody/dismissed-authors/Nobody"),
    ("GET", "/v1/books/nothing"),
    ("GET", f"/v1/decisions/{uuid.uuid4()}"),
    ("GET", "/v1/nothing"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), NOT_THERE)
def test_what_is_not_there(quick, key, method, path):
    is_problem(quick.request(method, path, headers=key), 404)


def test_another_method(quick):
    assert is_problem(quick.get("/v1/recommend"), 405)["allowed"] == "POST"


def test_every_pattern_of_the_page_is_said_in_words(quick):
    def patterns(value):
        if isinstance(value, dict):
            for name, one in value.items():
                yield from [one] if name == "pattern" and isinstance(one, str) else patterns(one)
        elif isinstance(value, list):
            for one in value:
                yield from patterns(one)

    in_page = set(patterns(quick.app.openapi())) - {r"^(197[1-9]|19[89][0-9]|20[0-9]{2}|21[0-8][0-9]|219[0-8])-"}
    assert in_page <= set(PATTERNS), "those of years are held by `Utc`, which says it in words"


ROUTES = [
    ("POST", "/v1/recommend", {"user_id": "u"}, ""),
    ("POST", "/v1/interactions", event(), ""),
    ("POST", "/v1/why-not", {"user_id": "u", "book": "w001"}, ""),
    ("GET", "/v1/books/w001", None, ""),
    ("GET", "/v1/books/w001/similar", None, "n, kind"),
    ("GET", "/v1/users/r001", None, ""),
    ("GET", "/v1/users/r001/history", None, "n, offset"),
    ("DELETE", "/v1/users/r001/history/w001", None, ""),
    ("PUT", "/v1/users/r001/dismissed-authors/a01", None, ""),
    ("DELETE", "/v1/users/r001/dismissed-authors/a01", None, ""),
    ("GET", "/v1/users/r001/export", None, ""),
    ("GET", f"/v1/decisions/{uuid.uuid4()}", None, ""),
    ("GET", "/v1/models/current", None, ""),
    ("GET", "/v1/search", None, "q, n, language, year_from, year_to, author, subject, user_id, personalised"),
    ("POST", "/v1/auth/signup", LOGIN, ""),
    ("POST", "/v1/auth/login", LOGIN, ""),
    ("POST", "/v1/auth/refresh", {"refresh_token": "family.0"}, ""),
    ("POST", "/v1/auth/logout", {"refresh_token": "family.0"}, ""),
]


@pytest.mark.parametrize(("method", "path", "body", "names"), ROUTES)
def test_a_query_parameter_that_the_route_does_not_have(quick, key, method, path, body, names):
    answer = quick.request(method, path, params={"m": "5"}, json=body, headers=key)
    received = "(not shown)" if "/auth/" in path else "'5'"
    allowed = names or "no parameter after the path"
    is_problem(answer, 422, field="query.m", received=received, allowed=allowed)


def test_a_query_parameter_that_comes_twice(quick):
    told = is_problem(quick.get("/v1/books/w001/similar?n=1&n=2"), 422)
    assert (told["field"], told["received"], told["allowed"]) == ("query.n", "'1, 2'", "one value")


def test_a_body_that_comes_slowly(tiny_bundle, monkeypatch):
    monkeypatch.setattr(middleware, "BODY_S", 0.05)
    sent = []

    async def trickle():
        await asyncio.sleep(0.04)
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/recommend", "raw_path": b"/v1/recommend", "query_string": b"",
        "headers": [(b"content-length", b"100"), (b"content-type", b"application/json")], "client": ("127.0.0.1", 5),
    }  # fmt: skip
    app = middleware.entrance(make_app(FakePlatform(served(tiny_bundle))), 20)
    asyncio.run(app(scope, trickle, send))
    told = json.loads(sent[1]["body"])
    assert (sent[0]["status"], told["status"], told["field"]) == (408, 408, "body")
    headers = dict(sent[0]["headers"])
    assert (headers[b"connection"], headers[b"content-type"]) == (b"close", b"application/problem+json")
    assert headers[b"x-request-id"]


def test_every_route_is_held_to_its_parameters(quick):
    page = quick.app.openapi()["paths"]
    assert len(ROUTES) == sum(len(methods) for path, methods in page.items() if path.startswith("/v1/"))


def test_probes_and_docs_pass_over_what_they_do_not_know(quick):
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert quick.get(path, params={"m": "5"}).status_code == 200
