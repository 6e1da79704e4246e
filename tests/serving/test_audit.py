"""The id of a request, and the lines that requests leave which matter for security."""

import asyncio
import io
import json
import logging

import pytest
from fastapi.testclient import TestClient

from serving import audit
from serving.app import make_app
from serving.middleware import entrance
from tests.serving.fakes import KEY
from tests.serving.test_api import bearer, is_problem, signup

PASSWORD, WRONG_PASSWORD = "a long pass phrase", "a wrong pass phrase"


@pytest.fixture
def lines(caplog):
    """What the requests of a test left in the log of `audit`."""
    caplog.set_level(logging.DEBUG)
    return lambda: [json.loads(one.getMessage()) for one in caplog.records if one.name == audit.logger.name]


def test_who_asks_about_a_reader_leaves_a_line_as_who_reads_it(platform, key, lines):
    client = TestClient(entrance(make_app(platform), 20))
    assert client.head("/v1/users/r001", headers=key).status_code == 200
    assert client.head("/v1/users/r001/export").status_code == 401
    assert [(line["method"], line["action"], line["subject"], line["status"]) for line in lines()] == [
        ("HEAD", "read", "r001", 200),
        ("HEAD", "export", "r001", 401),
    ]


def short(line):
    return tuple(line[name] for name in ("action", "status", "outcome", "caller_kind", "caller_id", "subject"))


def test_every_step_at_the_door_leaves_a_line_and_no_secret(client, platform, lines, caplog):
    made = signup(client).json()
    user_id, spent = made["user_id"], made["refresh_token"]
    following = client.post("/v1/auth/refresh", json={"refresh_token": spent}).json()["refresh_token"]
    client.post("/v1/auth/refresh", json={"refresh_token": spent})
    logins = [
        client.post("/v1/auth/login", json={"username": "ada", "password": p}) for p in (WRONG_PASSWORD, PASSWORD)
    ]
    token, last = (logins[1].json()[name] for name in ("access_token", "refresh_token"))
    client.post("/v1/auth/logout", json={"refresh_token": last})
    client.get(f"/v1/users/{user_id}", headers={"Authorization": f"Bearer {token}"})
    lacking = platform.kept_keys.add("shop", "recommend")
    platform.keys.refresh()
    for secret in (KEY, lacking, "a wrong key"):
        client.get(f"/v1/users/{user_id}", headers={"X-API-Key": secret})
    client.post("/v1/recommend", json={}, headers={"Authorization": f"Bearer {token}x"})
    assert [short(line) for line in lines()] == [
        ("signup", 201, "done", "anonymous", None, user_id),
        ("refresh", 200, "done", "anonymous", None, user_id),
        ("refresh", 401, "refused", "anonymous", None, None),
        ("login", 401, "refused", "anonymous", None, None),
        ("login", 200, "done", "anonymous", None, user_id),
        ("logout", 204, "done", "anonymous", None, user_id),
        ("read", 200, "done", "reader", user_id, user_id),
        ("read", 200, "done", "key", "setting", user_id),
        ("read", 403, "refused", "key", "shop", user_id),
        ("read", 401, "refused", "key", None, user_id),
        ("call", 401, "refused", "reader", None, None),
    ]
    (hash_,) = [row.password_hash for row in platform.accounts.rows.values()]
    for secret in (PASSWORD, WRONG_PASSWORD, token, spent, following, last, KEY, lacking, "a wrong key", hash_):
        assert secret not in caplog.text
    assert {line["address"] for line in lines()} == {"testclient"}
    assert lines()[6]["route"] == "/v1/users/{user_id}"


def test_what_is_no_matter_of_security_leaves_no_line(client, platform, key, lines):
    for path in ("/healthz", "/v1/books/w001", "/nothing"):
        client.get(path)
    client.post("/v1/recommend", json={"user_id": "r001"}, headers=key)
    assert lines() == []
    client.post("/v1/recommend", json={"user_id": "r001"}, headers=bearer(platform, "r002"))
    assert [short(line) for line in lines()] == [("call", 403, "refused", "reader", "r002", None)]


@pytest.mark.parametrize("path", ["/v1/books/w001", "/nothing", "/healthz", "/v1/books/" + "x" * 9000, "/v1/users/u"])
def test_every_answer_names_its_request(client, path):
    assert client.get(path, headers={"X-Request-ID": "from-the-shop.1"}).headers["X-Request-ID"] == "from-the-shop.1"
    made = {client.get(path).headers["X-Request-ID"] for _ in range(2)}
    assert len(made) == 2
    for wrong in ("", "short", "x" * 129, "a b c d e f", '"},{"a":"', "é" * 10):
        name = client.get(path, headers={"X-Request-ID": wrong.encode()}).headers["X-Request-ID"]
        assert name != wrong
        assert len(name) == 32


def test_a_fault_of_ours_is_found_in_the_log_by_its_request(client, platform, key, caplog, lines):
    platform.decisions.put = None
    headers = key | {"X-Request-ID": "find-me-again"}
    answer = client.post("/v1/recommend", json={"user_id": "u"}, headers=headers)
    is_problem(answer, 500)
    assert answer.headers["X-Request-ID"] == "find-me-again"
    assert "the request find-me-again failed: TypeError" in caplog.text
    platform.accounts.by_id = None
    client.get("/v1/users/r001", headers=headers)
    assert [(line["request_id"], line["outcome"]) for line in lines()] == [("find-me-again", "failed")]


def test_the_process_writes_the_line_as_it_is(client, monkeypatch):
    output = io.StringIO()
    monkeypatch.setattr(audit, "logger", logging.Logger("audit of its own"))
    monkeypatch.setattr("sys.stdout", output)
    audit.to_stdout()
    client.get("/v1/users/r001")
    (line,) = output.getvalue().splitlines()
    assert json.loads(line)["status"] == 401


def test_a_caller_who_has_gone_is_no_fault_of_ours():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        raise RuntimeError(f"unable to perform operation on <TCPTransport>; the handler is {state}")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    state = "closed"
    asyncio.run(audit.Audited(app)(dict(scope), None, send))
    state = "on fire"
    with pytest.raises(RuntimeError, match="fire"):
        asyncio.run(audit.Audited(app)(dict(scope), None, send))
