"""Who may call what: one table of all endpoints, each asked by everybody who might try.

A new endpoint makes this test fail until it stands in `ACCESS`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import jwt
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount, Route

from bookworks import clock
from serving import auth
from serving.app import make_app
from serving.keys import SCOPES
from tests.serving.fakes import KEY, FakePlatform, served
from tests.serving.test_api import bearer, is_problem
from tests.serving.test_auth import WRONG

READER, OTHER = "r001", "r002"


@dataclass(frozen=True)
class Access:
    """Who may call an endpoint, and a request that is right.

    Attributes:
        who: everybody; or everybody, but who says who calls must not lie; or a reader for itself and a service for
            any; or a service alone.
        scope: what the service's key needs.
        body: as JSON, None for none.
        query: of the address.
        another: status when a reader asks for what is another's.
        path: values of the path's fields.
    """

    who: Literal["public", "optional", "reader", "service"]
    scope: str | None = None
    body: dict[str, Any] | None = None
    query: str = ""
    another: int = 403


CLICK = {"kind": "click", "work_id": "w001", "user_id": READER}
SIGNUP = {"username": "ada", "password": "a long pass phrase"}
ACCESS = {
    ("POST", "/v1/recommend"): Access("reader", "recommend", {"user_id": READER}),
    ("POST", "/v1/interactions"): Access("reader", "interactions", {"events": [CLICK]}),
    ("GET", "/v1/users/{user_id}"): Access("reader", "users"),
    ("GET", "/v1/users/{user_id}/history"): Access("reader", "users"),
    ("DELETE", "/v1/users/{user_id}/history/{work_id}"): Access("reader", "users"),
    ("PUT", "/v1/users/{user_id}/dismissed-authors/{author}"): Access("reader", "users"),
    ("DELETE", "/v1/users/{user_id}/dismissed-authors/{author}"): Access("reader", "users"),
    ("GET", "/v1/users/{user_id}/export"): Access("reader", "users"),
    ("POST", "/v1/why-not"): Access("reader", "recommend", {"user_id": READER, "book": "w001"}),
    ("GET", "/v1/decisions/{decision_id}"): Access("reader", "decisions", another=404),
    ("GET", "/v1/models/current"): Access("service", "admin"),
    ("GET", "/v1/search"): Access("optional", "recommend", query="?q=title"),
    ("GET", "/v1/books/{work_id}"): Access("public"),
    ("GET", "/v1/books/{work_id}/similar"): Access("public"),
    ("POST", "/v1/auth/signup"): Access("public", body=SIGNUP),
    ("POST", "/v1/auth/login"): Access("public", body=SIGNUP),
    ("POST", "/v1/auth/refresh"): Access("public", body={"refresh_token": "rubbish"}),
    ("POST", "/v1/auth/logout"): Access("public", body={"refresh_token": "rubbish"}),
    ("GET", "/healthz"): Access("public"),
    ("GET", "/readyz"): Access("public"),
    ("GET", "/metrics"): Access("public"),
}
NOT_IN_THE_PAGE = {"/openapi.json", "/docs", "/docs/files", "/"}  # the page itself, which says nothing of anybody
PATH = {"user_id": READER, "work_id": "w001", "author": "Author 3"}
OPEN = [name for name, access in ACCESS.items() if access.who in {"public", "optional"}]
GUARDED = [name for name, access in ACCESS.items() if access.who != "public"]
OF_READERS = [name for name, access in ACCESS.items() if access.who in {"reader", "optional"}]
SHUT = [name for name in GUARDED if ACCESS[name].who != "optional"]
DOOR = {"/v1/auth/login", "/v1/auth/refresh"}  # these refuse a wrong password or token, whoever calls


def ids(names):
    return [" ".join(name) for name in names]


@pytest.fixture(scope="module")
def world(tiny_bundle):
    """A platform with a key for each scope, and one with all the others."""
    platform = FakePlatform(served(tiny_bundle))
    for scope in SCOPES:
        platform.kept_keys.add(f"only {scope}", scope)
        platform.kept_keys.add(f"all but {scope}", *(other for other in SCOPES if other != scope))
    platform.keys.refresh()
    client = TestClient(make_app(platform), raise_server_exceptions=False)
    PATH["decision_id"] = client.post("/v1/recommend", json={"user_id": READER}, headers=key(KEY)).json()["decision_id"]
    return platform, client


def ask(world, name, headers):
    access, (method, path) = ACCESS[name], name
    return world[1].request(method, path.format(**PATH) + access.query, json=access.body, headers=headers)


def key(secret):
    return {"X-API-Key": secret}


def token_of(claims, secret, algorithm):
    return {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm=algorithm)}"}


def test_every_endpoint_stands_in_the_table(world):
    app = world[1].app
    pages = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    assert pages == set(ACCESS)
    hidden = {
        route.path
        for route in app.routes
        if isinstance(route, Mount) or (isinstance(route, Route | APIRoute) and not route.include_in_schema)
    }
    assert {path or "/" for path in hidden} == NOT_IN_THE_PAGE


def test_the_page_says_what_the_table_says(world):
    paths = world[1].app.openapi()["paths"]
    for (method, path), access in ACCESS.items():
        said = paths[path][method.lower()].get("security", [])
        assert bool(said) == (access.who != "public"), path
        assert all(access.scope in scheme for one in said for scheme in one.values()), path


@pytest.mark.parametrize("name", OPEN, ids=ids(OPEN))
def test_open_to_everybody(world, name, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    refused = {401} if name[1] in DOOR else set()
    assert ask(world, name, {}).status_code < 500
    assert ask(world, name, {}).status_code not in {401, 403} - refused


@pytest.mark.parametrize("name", GUARDED, ids=ids(GUARDED))
def test_shut_to_who_does_not_say_who_calls_or_lies(world, name):
    settings = world[0].settings
    now, secret = clock.now(), settings.jwt_secret.get_secret_value()
    claims = {"sub": READER, "iss": auth.ISSUER, "iat": now, "exp": now + timedelta(minutes=5)}
    for algorithm in ("HS384", "HS512"):
        is_problem(ask(world, name, token_of(claims, secret, algorithm)), 401)
    is_problem(ask(world, name, token_of(claims, "another key, as long as it has to be", "HS256")), 401)
    is_problem(ask(world, name, token_of(claims | {"exp": now - timedelta(seconds=1)}, secret, "HS256")), 401)
    is_problem(ask(world, name, token_of(claims | {"iat": now + timedelta(hours=1)}, secret, "HS256")), 401)
    for token in WRONG.values():
        is_problem(ask(world, name, {"Authorization": f"Bearer {token}"}), 401)
        is_problem(ask(world, name, {"Authorization": f"Bearer {token}"} | key(KEY)), 401)
    for headers in (key("wrong"), key(KEY[:-1]), key(KEY.upper())):
        is_problem(ask(world, name, headers), 401)
    for headers in ({}, key("")):
        answer = ask(world, name, headers)
        assert answer.status_code == 401 if name in SHUT else answer.status_code < 300
    for headers in ({"Authorization": "Basic dTpw"}, {"Authorization": "Basic dTpw"} | key(KEY)):
        is_problem(ask(world, name, headers), 401)
    assert ask(world, name, token_of(claims, secret, "HS256")).status_code not in {401}, "only these were wrong"


@pytest.mark.parametrize("name", GUARDED, ids=ids(GUARDED))
def test_a_key_needs_the_scope_and_no_more(world, name):
    scope = ACCESS[name].scope
    body = is_problem(ask(world, name, key(f"the secret of all but {scope}")), 403, field="header.X-API-Key")
    assert body["detail"] == f"The key lacks the scope {scope}"
    for right in (f"the secret of only {scope}", KEY):
        assert ask(world, name, key(right)).status_code < 300


@pytest.mark.parametrize("name", GUARDED, ids=ids(GUARDED))
def test_a_reader_for_itself_and_for_nobody_else(world, name):
    if name in SHUT:
        is_problem(ask(world, name, bearer(world[0], OTHER)), ACCESS[name].another)
    own = ask(world, name, bearer(world[0], READER)).status_code
    assert own < 300 if name in OF_READERS else own == 403
