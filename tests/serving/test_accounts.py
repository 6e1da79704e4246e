"""The accounts over a hand-written Postgres that rolls back what a failed transaction did."""

from contextlib import contextmanager
from types import SimpleNamespace

import psycopg
import pytest

from bookworks.errors import TransientError
from serving.accounts import Accounts
from serving.breaker import Breaker
from serving.database import Database
from serving.problems import Problem
from tests.serving.fakes import settings


class Server:
    """One table, there or not; what a transaction made is gone when it fails."""

    def __init__(self):
        self.there = False

    def open(self):
        pass

    @contextmanager
    def connection(self):
        before = self.there
        try:
            yield self
        except BaseException:
            self.there = before
            raise

    def execute(self, query, values=()):
        if "create table" in query:
            self.there = True
        elif "from accounts" in query:
            if not self.there:
                raise psycopg.errors.UndefinedTable("accounts")
            if any("\0" in str(value) for value in values):
                raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return SimpleNamespace(fetchone=lambda: None, rowcount=1)


@pytest.fixture
def accounts():
    database = Database(settings())
    database._pool = Server()
    return Accounts(database)


def test_a_first_request_that_fails_does_not_take_the_table_back(accounts):
    with pytest.raises(Problem) as caught:
        accounts.by_id("\0")
    assert caught.value.status == 422
    assert accounts.by_id("u1") is None


def test_a_table_that_is_gone_is_made_again(accounts):
    accounts.by_id("u1")
    accounts._database._pool.there = False
    with pytest.raises(TransientError):
        accounts.by_id("u1")
    accounts._database._breaker = Breaker("Postgres")  # some time later
    assert accounts.by_id("u1") is None
