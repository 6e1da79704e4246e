"""Finished DAG runs into ClickHouse `pipeline_runs`: one row each, written again without harm.

Run: `python -m analytics.airflow_to_clickhouse [--once]`; without `--once` it looks every few seconds.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from bookworks.adapters import airflow, clickhouse
from bookworks.cli.entry import run
from bookworks.errors import TransientError
from bookworks.settings import Settings, get_settings

log = logging.getLogger(__name__)
COLUMNS = ["dag_id", "run_id", "state", "started_at", "ended_at", "detail"]
PERIOD_S = 5.0


def to_row(dag_run: dict[str, Any]) -> list[Any]:
    """The row of one finished run, in the order of `COLUMNS`."""
    ended = datetime.fromisoformat(dag_run["end_date"])
    started = datetime.fromisoformat(dag_run["start_date"] or dag_run["end_date"])
    detail = f"{dag_run['run_type']}: {dag_run.get('note') or ''}".rstrip(": ")
    return [dag_run["dag_id"], dag_run["dag_run_id"], dag_run["state"], started, ended, detail]


def sync(settings: Settings, known: set[tuple[str, str, str]]) -> int:
    """Write the finished runs that `known` does not hold; returns how many.

    `known` keeps (dag, run, end) of what this process wrote: a run that is cleared and ends again is
    written again and replaces its row.
    """
    with airflow.connect(settings) as api:
        finished = [r for r in api.dag_runs(limit=200) if r["end_date"]]
    new = [r for r in finished if (r["dag_id"], r["dag_run_id"], r["end_date"]) not in known]
    if new:
        with clickhouse.connect(settings) as client:
            client.insert("pipeline_runs", [to_row(r) for r in new], column_names=COLUMNS)
        known.update((r["dag_id"], r["dag_run_id"], r["end_date"]) for r in new)
    return len(new)


def main(once: Annotated[bool, typer.Option(help="Look once, then end.")] = False) -> None:
    """Copy finished DAG runs into ClickHouse."""
    logging.basicConfig(level=get_settings().log_level)
    known: set[tuple[str, str, str]] = set()
    while True:
        try:
            written = sync(get_settings(), known)
            if written:
                log.info("%d runs written", written)
        except TransientError as error:
            if once:
                raise
            log.warning("%s", error)
        if once:
            return
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    run(lambda: typer.run(main))
