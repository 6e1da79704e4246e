"""Which works may go on to the warehouse: the measures of each run, what they were refused for, who accepted them all
the same. Rows of Postgres, schema identity.

Works are known by the version of clean/edition_works. A run is compared with the last one that passed or was accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from bookworks.clock import now
from bookworks.errors import TerminalError, TransientError
from bookworks.metrics.bootstrap import Interval
from bookworks.settings import Settings
from spark_jobs.works import decisions

TODO = (
    "look at `bookworks works measures`, mend the works (`bookworks works review | merge | split`) and run the DAG "
    "catalogue again; or, if the new level is right, `bookworks works accept --why …` and clear the task."
)


@dataclass(frozen=True)
class Verdict:
    """One run's works.

    Attributes:
        version: of clean/edition_works.
        measures: value, low and high of each.
        complaints: what fell or jumped too far; empty: passed.
        accepted_at: when a person accepted them all the same; null if nobody did.
    """

    version: str
    measured_at: datetime
    measures: Mapping[str, Mapping[str, float]]
    complaints: Sequence[str]
    accepted_at: datetime | None = None
    accepted_by: str | None = None
    why: str | None = None

    @property
    def state(self) -> str:
        """`passed`, `accepted` or `refused`."""
        if self.accepted_at:
            return "accepted"
        return "refused" if self.complaints else "passed"

    def intervals(self) -> dict[str, Interval]:
        """The measures."""
        return {name: Interval(**one) for name, one in self.measures.items()}


def record(settings: Settings, version: str, measures: Mapping[str, Interval], complaints: Sequence[str]) -> Verdict:
    """Keep a run's measures; an acceptance of the same works stays. Returns how they stand now."""
    rows = Jsonb({name: asdict(one) for name, one in measures.items()})
    with decisions.transaction(settings) as db, db.cursor(row_factory=class_row(Verdict)) as cursor:
        [found] = cursor.execute(
            "insert into identity.works_runs (version, measured_at, measures, complaints) values (%s, %s, %s, %s)"
            " on conflict (version) do update set measured_at = excluded.measured_at,"
            " measures = excluded.measures, complaints = excluded.complaints returning *",
            (version, now(), rows, list(complaints)),
        ).fetchall()
    return found


def baseline(settings: Settings, version: str) -> Verdict | None:
    """The last run but this that passed or was accepted; this one itself if it was accepted; None without one."""
    with decisions.transaction(settings) as db, db.cursor(row_factory=class_row(Verdict)) as cursor:
        return cursor.execute(
            "select * from identity.works_runs"
            " where accepted_at is not null or (complaints = '{}' and version <> %s)"
            " order by coalesce(accepted_at, measured_at) desc limit 1",
            (version,),
        ).fetchone()


def last(settings: Settings) -> Verdict | None:
    """The run measured last; None before the first."""
    with decisions.transaction(settings) as db, db.cursor(row_factory=class_row(Verdict)) as cursor:
        return cursor.execute("select * from identity.works_runs order by measured_at desc limit 1").fetchone()


def accept(settings: Settings, who: str, why: str) -> Verdict:
    """Accept the works measured last, which were refused: they may go on, and are what later ones are compared with.

    Raises:
        TerminalError: nothing is measured yet, or the last works were not refused.
        TransientError: Postgres is away.
    """
    found = last(settings)
    if found is None or found.state != "refused":
        raise TerminalError(
            "No works wait to be accepted",
            received="nothing measured yet" if found is None else f"{found.version} {found.state}",
            allowed="works that evaluate_works refused",
        )
    at, who, why = now(), decisions.said("who", who), decisions.said("why", why)
    with decisions.transaction(settings) as db:
        db.execute(
            "update identity.works_runs set accepted_at = %s, accepted_by = %s, why = %s where version = %s",
            (at, who, why, found.version),
        )
        return _of(db, found.version) or found


def check_not_refused(settings: Settings, version: str | None) -> None:
    """Check that works may go on to the warehouse.

    Raises:
        TerminalError: they were refused, and nobody accepted them.
        TransientError: they were not measured yet, or Postgres is away.
    """
    with decisions.transaction(settings) as db:
        found = _of(db, version)
    if found is None:
        raise TransientError(
            "The works were not measured yet", received=f"edition_works {version}",
            todo="wait for the task evaluate_works, or run `python -m spark_jobs.evaluate_works`.",
        )  # fmt: skip
    if found.state == "refused":
        raise TerminalError("The works were refused", received="; ".join(found.complaints), todo=TODO)


def _of(db: psycopg.Connection[Any], version: str | None) -> Verdict | None:
    with db.cursor(row_factory=class_row(Verdict)) as cursor:
        return cursor.execute("select * from identity.works_runs where version = %s", (version,)).fetchone()
