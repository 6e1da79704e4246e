"""Refresh tokens: over HTTP with a stand-in, and the table on the real Postgres."""

import threading
import uuid

import psycopg
import pytest

from bookworks.errors import TransientError
from serving import auth
from serving.accounts import Accounts
from serving.breaker import Breaker
from serving.database import Database
from serving.sessions import Sessions
from tests.serving.test_api import is_problem, signup


def post(client, path, token):
    return client.post(f"/v1/auth/{path}", json={"refresh_token": token})


def test_a_session_goes_on_and_ends(client, platform):
    first = signup(client).json()
    second = post(client, "refresh", first["refresh_token"]).json()
    assert auth.read(platform.settings, second["access_token"]) == first["user_id"] == second["user_id"]
    assert second["expires_in"] == 15 * 60
    login = client.post("/v1/auth/login", json={"username": "ada", "password": "a long pass phrase"}).json()
    answer = post(client, "logout", second["refresh_token"])
    assert (answer.status_code, answer.content) == (204, b"")
    is_problem(post(client, "refresh", second["refresh_token"]), 401, field="body.refresh_token")
    assert post(client, "refresh", login["refresh_token"]).status_code == 200, "another session goes on"


def test_a_spent_token_ends_the_session_of_whoever_has_the_next(client):
    first = signup(client).json()["refresh_token"]
    second = post(client, "refresh", first).json()["refresh_token"]
    is_problem(post(client, "refresh", first), 401)
    is_problem(post(client, "refresh", second), 401)


def test_a_token_that_never_was(client):
    is_problem(post(client, "refresh", "rubbish"), 401)
    assert post(client, "logout", "rubbish").status_code == 204
    for wrong in ("", "x" * 201, 5):
        answer = post(client, "refresh", wrong)
        is_problem(answer, 422, field="body.refresh_token", received="(not shown)")


def test_without_postgres_no_session_goes_on(client, platform):
    token = signup(client).json()["refresh_token"]
    platform.accounts.away = True
    for path in ("refresh", "logout"):
        is_problem(post(client, path, token), 503)
    platform.accounts.away = False
    assert post(client, "refresh", token).status_code == 200


@pytest.fixture(scope="module")
def database(stack):
    made = Database(stack.need("postgres"))
    yield made
    made.close()


@pytest.fixture
def user_id(database):
    made = f"u-{uuid.uuid4()}"
    Accounts(database).add(made, made, "hash", None, None, [], then=lambda db, user_id: user_id)
    return made


@pytest.fixture
def sessions(stack, database):
    return Sessions(stack.settings, database)


def rows(database, user_id):
    return database.call(
        lambda db: db.execute("select digest, expires_at from sessions where user_id = %s", (user_id,)).fetchall()
    )


@pytest.mark.integration
def test_each_token_is_good_once_and_no_token_is_kept(database, sessions, user_id):
    first = sessions.open(user_id)
    second = sessions.refresh(first.refresh_token)
    third = sessions.refresh(second.refresh_token)
    assert first.user_id == second.user_id == third.user_id == user_id
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    ((digest, _),) = rows(database, user_id)
    assert bytes(digest).hex() not in third.refresh_token
    assert third.refresh_token.encode() not in bytes(digest)
    assert sessions.refresh(second.refresh_token) is None
    assert sessions.refresh(third.refresh_token) is None
    assert rows(database, user_id) == []


@pytest.mark.integration
def test_an_account_and_its_first_session_are_made_both_or_neither(database, sessions):
    accounts, name = Accounts(database), f"u-{uuid.uuid4()}"

    def away(db, user_id):
        sessions.open_in(db, user_id)
        raise psycopg.OperationalError("gone")

    with pytest.raises(TransientError):
        accounts.add(name, name, "hash", None, None, [], then=away)
    database._breaker = Breaker("Postgres")  # some time later
    assert accounts.by_name(name) is None
    assert rows(database, name) == []
    assert accounts.add(name, name, "hash", None, None, [], then=sessions.open_in).user_id == name
    assert len(rows(database, name)) == 1
    assert accounts.add("another", name, "hash", None, None, [], then=sessions.open_in) is None


@pytest.mark.integration
def test_of_many_that_come_with_one_token_one_is_let_through_and_the_session_ends(database, sessions, user_id):
    token, results = sessions.open(user_id).refresh_token, []
    threads = [threading.Thread(target=lambda: results.append(sessions.refresh(token))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in results) == 1
    assert rows(database, user_id) == []


@pytest.mark.integration
def test_a_session_runs_out_and_ends_with_logging_out_or_with_the_account(database, stack, sessions, user_id):
    assert sessions.close(sessions.open(user_id).refresh_token) == user_id
    for wrong in ("rubbish", f"{uuid.uuid4().hex}.x", "\0.x"):
        assert sessions.close(wrong) is None
        assert sessions.refresh(wrong) is None
    old = sessions.open(user_id).refresh_token
    database.call(lambda db: db.execute("update sessions set expires_at = now() where user_id = %s", (user_id,)))
    assert sessions.refresh(old) is None
    sessions.open(user_id)
    database.call(lambda db: db.execute("update sessions set expires_at = now() where user_id = %s", (user_id,)))
    last = sessions.open(user_id).refresh_token
    assert len(rows(database, user_id)) == 1, "what ran out is removed"
    database.call(lambda db: db.execute("delete from accounts where user_id = %s", (user_id,)))
    assert sessions.refresh(last) is None
