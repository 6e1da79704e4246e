"""Follow a chain of DAG runs through Airflow's API: show what runs, collect the time of each task."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bookworks.adapters.airflow import Airflow
from bookworks.clock import now
from bookworks.contracts.verdict import refusal
from bookworks.errors import TerminalError, TransientError

POLL_S = 1.0
DONE = ("success", "skipped", "failed", "upstream_failed")
GATE = "gate"  # the task of train_and_promote


@dataclass(frozen=True)
class TaskTime:
    """How long one task of one run took, seconds."""

    dag_id: str
    task_id: str
    state: str
    seconds: float


class Refused(TerminalError):
    """The gate refused what was trained. Where a champion serves, nothing is broken.

    Attributes:
        verdict: the gate's words, a line each.
        times: the tasks that ran until then, the gate among them.
    """

    def __init__(self, what: str, verdict: list[str], times: list[TaskTime]) -> None:
        super().__init__(
            what,
            received="\n" + "\n".join(verdict) + "\n",
            allowed="a bundle that passes the gate",
            todo="look at the run in MLflow; with more data, or other parameters, train again.",
        )
        self.verdict = verdict
        self.times = times


def wait_until_read(airflow: Airflow, dag_ids: list[str], timeout_s: float = 120) -> None:
    """Wait until Airflow has read the DAGs, and let it run them."""
    deadline = time.monotonic() + timeout_s
    while not set(dag_ids) <= {dag["dag_id"] for dag in airflow.dags()}:
        if time.monotonic() > deadline:
            errors = [f"{e['filename']}: {e['stack_trace'].strip().splitlines()[-1]}" for e in airflow.import_errors()]
            raise TerminalError(
                "Airflow has not read all DAGs",
                received=errors or "no import error",
                allowed=", ".join(dag_ids),
                todo="look at `bookworks logs airflow-dag-processor`.",
            )
        time.sleep(POLL_S)
    for dag_id in dag_ids:
        airflow.unpause(dag_id)


def follow(airflow: Airflow, dag_ids: list[str], since: datetime, timeout_s: float = 3600) -> list[TaskTime]:
    """Follow one run of each DAG in turn, each started by the one before.

    Args:
        airflow: the client.
        dag_ids: the chain, in order.
        since: only runs that became due from here on.
        timeout_s: seconds for the whole chain.

    Raises:
        Refused: the gate refused, so that the rest of the chain does not begin.
        TerminalError: a task failed; the message ends with its last log lines.
        TransientError: the chain did not finish in time.
    """
    deadline = time.monotonic() + timeout_s
    times: list[TaskTime] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        for dag_id in dag_ids:
            line = progress.add_task(f"{dag_id}: waiting for the scheduler")
            run = _await_run(airflow, dag_id, since, deadline)
            while run["state"] not in ("success", "failed"):
                _check_time(deadline, dag_id)
                progress.update(line, description=f"{dag_id}: {_running(airflow, run)}")
                time.sleep(POLL_S)
                run = next(r for r in airflow.dag_runs(dag_id) if r["dag_run_id"] == run["dag_run_id"])
            progress.remove_task(line)
            tasks = _in_order(airflow.tasks_of(dag_id, run["dag_run_id"]))
            new = [TaskTime(dag_id, t["task_id"], t["state"] or "none", float(t["duration"] or 0)) for t in tasks]
            times += new
            if run["state"] != "success":
                raise _failure(airflow, run, tasks, times)
            total = sum(t.seconds for t in new)
            progress.console.print(f"[green]ok[/] DAG {dag_id}: {len(new)} tasks, {total:.0f} s", highlight=False)
    return times


def _await_run(airflow: Airflow, dag_id: str, since: datetime, deadline: float) -> dict[str, Any]:
    while True:
        runs = airflow.dag_runs(dag_id, since=since - timedelta(seconds=1))
        if runs:
            return runs[-1]
        _check_time(deadline, dag_id)
        time.sleep(POLL_S)


def _running(airflow: Airflow, run: dict[str, Any]) -> str:
    tasks = airflow.tasks_of(run["dag_id"], run["dag_run_id"])
    active = [t["task_id"] for t in tasks if t["state"] == "running"]
    done = sum(t["state"] in DONE for t in tasks)
    return f"{', '.join(active) or 'queued'} ({done}/{len(tasks)} done)"


def _in_order(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(tasks, key=lambda t: t["start_date"] or now().isoformat())


def _failure(
    airflow: Airflow, run: dict[str, Any], tasks: list[dict[str, Any]], times: list[TaskTime]
) -> TerminalError:
    failed = {task["task_id"]: _log(airflow, run, task) for task in tasks if task["state"] == "failed"}
    what = f"The DAG {run['dag_id']} failed in {', '.join(failed) or run['state']}"
    verdict = refusal(failed[GATE]) if list(failed) == [GATE] else []
    if verdict:
        return Refused(what, verdict, times)
    tail = [f"[{task_id}] {line}" for task_id, lines in failed.items() for line in lines[-12:]]
    return TerminalError(
        what,
        received="\n" + "\n".join(tail) + "\n",
        todo="mend the cause, then clear the task in Airflow's page; what ran before it need not run again.",
    )


def _log(airflow: Airflow, run: dict[str, Any], task: dict[str, Any]) -> list[str]:
    return airflow.log_of(run["dag_id"], run["dag_run_id"], task["task_id"], task["try_number"])


def _check_time(deadline: float, dag_id: str) -> None:
    if time.monotonic() > deadline:
        raise TransientError(
            f"The DAG {dag_id} has not finished in time",
            todo="look at it in Airflow's page and at `bookworks status`.",
        )
