"""Neo4j: a driver with the platform's settings, and its errors as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import neo4j
from neo4j.exceptions import AuthError, DriverError, Neo4jError
from neo4j.exceptions import TransientError as Neo4jTransient

from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings

T = TypeVar("T")


def connect(settings: Settings) -> neo4j.Driver:
    """A Bolt driver; connects at the first query."""
    return neo4j.GraphDatabase.driver(
        settings.neo4j_uri,
        auth=(settings.neo4j_user, settings.neo4j_password.get_secret_value()),
        connection_timeout=5,
        connection_acquisition_timeout=10,
        max_transaction_retry_time=10,
        notifications_min_severity="OFF",
    )


@contextmanager
def session(settings: Settings) -> Iterator[Session]:
    """A session on our server, closed with its driver at the end."""
    with connect(settings) as driver, driver.session() as opened:
        yield Session(settings, opened)


class Session:
    """The few ways in which we write and ask."""

    def __init__(self, settings: Settings, opened: neo4j.Session) -> None:
        self._settings, self._session = settings, opened

    def run(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of one query, in a transaction of its own.

        Raises:
            TransientError: Neo4j does not answer.
            TerminalError: it refuses the query or our password.
        """
        return self._guarded(lambda: self._session.run(query, parameters).data())

    def write(self, query: str, rows: Sequence[dict[str, Any]], batch: int, **parameters: Any) -> None:
        """`query` for each `batch` of `rows`, given to it as the parameter `rows`; a batch is tried again on conflict.

        Raises:
            TransientError: Neo4j does not answer.
            TerminalError: it refuses the query or our password.
        """
        for start in range(0, len(rows), batch):
            self._write_batch(query, {"rows": rows[start : start + batch], **parameters})

    def _write_batch(self, query: str, parameters: dict[str, Any]) -> None:
        def work(tx: neo4j.ManagedTransaction) -> None:
            tx.run(query, parameters).consume()

        self._guarded(lambda: self._session.execute_write(work))

    def _guarded(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except (Neo4jError, DriverError) as error:
            raise _ours(error, self._settings) from error


def _ours(error: Exception, settings: Settings) -> TransientError | TerminalError:
    if isinstance(error, AuthError):
        return TerminalError(
            "Neo4j does not let us in", received=error, todo="check BOOKWORKS_NEO4J_USER and BOOKWORKS_NEO4J_PASSWORD."
        )
    if isinstance(error, Neo4jError) and not isinstance(error, Neo4jTransient):
        return TerminalError("Neo4j refused the query", received=error)
    return TransientError(
        f"Neo4j does not answer at {settings.neo4j_uri}",
        received=f"{type(error).__name__}: {error}",
        todo="check `bookworks status neo4j` and the BOOKWORKS_NEO4J_… settings.",
    )
