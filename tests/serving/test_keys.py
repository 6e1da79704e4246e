"""API keys: which one counts, what is kept of it, and the command that makes them, on the real Postgres too."""

import json
import logging
import time
import uuid

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from bookworks import clock
from bookworks.errors import SettingError, TerminalError
from serving import keys_cli
from serving.database import Database
from serving.keys import SCOPES, Key, KeyRing, Keys, digest_of
from tests.serving.fakes import KEY, FakeKeys, settings


@pytest.fixture
def table():
    return FakeKeys()


@pytest.fixture
def ring(table):
    return KeyRing(settings(), table)


def test_the_key_of_the_settings_has_every_scope_and_needs_no_postgres(ring):
    assert ring.find(KEY).scopes == set(SCOPES)
    assert ring.find(KEY + "x") is None
    assert ring.find("") is None
    assert ring.find("\xff") is None


def test_an_empty_key_of_the_settings_lets_nobody_in(table):
    nobody = settings()
    nobody.service_api_key = SecretStr("")
    assert KeyRing(nobody, table).find("") is None


def test_a_key_counts_until_it_is_revoked(ring, table):
    secret = table.add("shop", "recommend")
    assert ring.find(secret) is None
    ring.refresh()
    assert (ring.find(secret).name, ring.find(secret).scopes) == ("shop", {"recommend"})
    (key,) = table.kept
    table.kept = [Key(key.name, key.digest, key.scopes, revoked_at=clock.now())]
    ring.refresh()
    assert ring.find(secret) is None
    assert ring.find(KEY) is not None


def test_without_postgres_the_last_known_go_on_and_it_is_said_once(ring, table, caplog):
    secret = table.add("shop", "recommend")
    ring.refresh()
    table.away = True
    with caplog.at_level(logging.WARNING, "bookworks.serving"):
        ring.refresh()
        ring.refresh()
    assert ring.find(secret) is not None
    assert caplog.text.count("last known") == 1


def test_a_worker_reads_again_by_itself(table):
    ring = KeyRing(settings(api_keys_seconds=0.01), table)
    ring.start()
    try:
        secret = table.add("late", "users")
        deadline = time.monotonic() + 5
        while ring.find(secret) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        ring.close()


def test_a_key_without_the_scope_is_refused_and_told_which(client, platform):
    secret = platform.kept_keys.add("shop", "interactions")
    platform.keys.refresh()
    answer = client.post("/v1/recommend", json={"user_id": "r001"}, headers={"X-API-Key": secret})
    assert answer.status_code == 403
    assert answer.json()["detail"] == "The key lacks the scope recommend"
    assert answer.json()["received"] == "the key shop with interactions"
    assert secret not in answer.text


@pytest.mark.parametrize(
    "arguments", [["create", "Shop", "--scope", "users"], ["create", "shop"], ["create", "shop", "--scope", "all"]]
)
def test_a_name_or_a_scope_that_there_is_not(arguments):
    assert isinstance(CliRunner().invoke(keys_cli.app, arguments).exception, SettingError)


@pytest.fixture
def live(stack, monkeypatch):
    at = stack.need("postgres")
    monkeypatch.setattr(keys_cli, "get_settings", lambda: at)
    return at


def command(*arguments):
    done = CliRunner().invoke(keys_cli.app, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.mark.integration
def test_the_command_makes_lists_and_revokes(live):
    name = f"shop-{uuid.uuid4()}"
    made = command("create", name, "--scope", "users", "--scope", "recommend")
    assert made["scopes"] == ["recommend", "users"]
    database = Database(live)
    try:
        ring = KeyRing(live, Keys(database))
        ring.refresh()
        assert ring.find(made["key"]).scopes == {"recommend", "users"}
        rows = database.call(lambda db: db.execute("select * from api_keys where name = %s", (name,)).fetchall())
        assert made["key"] not in str(rows)
        assert digest_of(made["key"]) in rows[0]
        (row,) = [row for row in command("list") if row["name"] == name]
        assert (row["scopes"], row["revoked_at"]) == (["recommend", "users"], None)
        first = command("revoke", name)[0]["revoked_at"]
        assert first == command("revoke", name)[0]["revoked_at"]
        ring.refresh()
        assert ring.find(made["key"]) is None
    finally:
        database.close()
    for arguments in (["create", name, "--scope", "users"], ["create", "setting", "--scope", "users"], ["revoke", "x"]):
        with pytest.raises(TerminalError):
            CliRunner().invoke(keys_cli.app, arguments, catch_exceptions=False)
