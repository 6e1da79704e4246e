"""The ClickHouse engine (chDB) in this process: statements in, bytes or ClickHouse's errors out."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chdb import session as chdb

from infra.local.clickhouse_insert import Insert, split_insert

SESSIONS_KEPT = 64
SESSION_IDLE_S = 600.0
UNKNOWN_SETTING, NOT_IMPLEMENTED, AUTHENTICATION_FAILED, CANNOT_DECOMPRESS, STD_EXCEPTION = 115, 48, 516, 271, 1001
# Which of ClickHouse's error codes are someone's missing thing (404) or fault (400); the rest is 500. After
# `exceptionCodeToHTTPStatus` of ClickHouse: https://github.com/ClickHouse/ClickHouse/blob/master/src/Server/HTTP
NOT_FOUND = frozenset({16, 46, 47, 60, 81, 111, 256})
BAD_REQUEST = frozenset({
    6, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 63, 70, 72, 73, 115, 117, 130, 131, 271, 386, 456, 457,
})  # fmt: skip
CODE = re.compile(r"Code: (\d+)\.")


class EngineError(Exception):
    """The engine's refusal, with ClickHouse's error code."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)

    @classmethod
    def of(cls, error: Exception) -> EngineError:
        """From chDB's exception, whose text has the code."""
        text = str(error)
        found = CODE.search(text)
        if found is None:
            return cls(STD_EXCEPTION, f"Code: {STD_EXCEPTION}. DB::Exception: {text} (STD_EXCEPTION)")
        return cls(int(found[1]), text[found.start() :])

    @property
    def http_status(self) -> int:
        """HTTP status that ClickHouse gives with this code."""
        if self.code == AUTHENTICATION_FAILED:
            return 401
        if self.code == NOT_IMPLEMENTED:
            return 501
        return 404 if self.code in NOT_FOUND else 400 if self.code in BAD_REQUEST else 500


@dataclass(frozen=True)
class Answer:
    """What came of a statement.

    Attributes:
        body: in the query's format.
        read_rows: rows that were read for it.
        written_rows: rows that an INSERT wrote.
    """

    body: bytes
    read_rows: int
    written_rows: int


@dataclass(frozen=True)
class Query:
    """One statement as the client means it.

    Attributes:
        text: the statement, with the data of an INSERT behind it.
        session_id: queries with the same one share temporary tables.
        read_only: it came by GET, which, as in ClickHouse, changes nothing.
    """

    text: bytes
    output_format: str
    database: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    session_id: str | None
    read_only: bool


class Engine:
    """The engine's folder, held open; every method runs in the one worker thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._root = _open(self._folder)  # keeps the engine alive between requests
        self._kept: OrderedDict[str, tuple[Any, float]] = OrderedDict()

    def run(self, query: Query) -> Answer:
        """Run one statement.

        Raises:
            EngineError: the engine refuses it.
        """
        session_id = None if query.read_only else query.session_id
        session = _open(self._folder) if session_id is None else self._session(session_id)
        try:
            self._set_up(session, query)
            insert = split_insert(query.text)
            return _ask(session, query) if insert is None else _write(session, insert)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError.of(error) from error
        finally:
            if session_id is None:
                session.close()
            else:
                self._unset(session, query)

    def _unset(self, session: Any, query: Query) -> None:
        for name in query.settings:
            with suppress(Exception):  # an unknown one was never set
                session.query(f"SET {name} = DEFAULT")

    def _set_up(self, session: Any, query: Query) -> None:
        session.query(f"USE {_quote(query.database)}")
        for name, value in query.settings.items():
            if not name.isidentifier():
                raise EngineError(UNKNOWN_SETTING, f"Code: {UNKNOWN_SETTING}. DB::Exception: Unknown setting '{name}'")
            session.query(f"SET {name} = {_literal(value)}")
        if query.read_only:
            session.query("SET readonly = 2")

    def _session(self, session_id: str) -> Any:
        now = time.monotonic()
        while self._kept and (
            len(self._kept) > SESSIONS_KEPT or now - next(iter(self._kept.values()))[1] > SESSION_IDLE_S
        ):
            self._kept.popitem(last=False)[1][0].close()
        session = self._kept.pop(session_id)[0] if session_id in self._kept else _open(self._folder)
        self._kept[session_id] = (session, now)
        return session

    def close(self) -> None:
        """Write everything out and let go of the folder."""
        for session, _ in self._kept.values():
            session.close()
        self._root.close()


def _open(folder: str) -> Any:
    return chdb.Session(folder)  # type: ignore[no-untyped-call]


def _ask(session: Any, query: Query) -> Answer:
    parameters = dict(query.parameters) or None
    result: Any = session.query(query.text, query.output_format, params=parameters)  # chDB takes bytes as well
    return Answer(bytes(result.bytes() or b""), result.rows_read(), result.rows_written())


def _write(session: Any, insert: Insert) -> Answer:
    with session.send_insert(insert.statement, insert.input_format) as stream:
        if insert.data:
            stream.append(insert.data)
        done = stream.finish()
    return Answer(b"", 0, done.rows_written)


def _quote(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
