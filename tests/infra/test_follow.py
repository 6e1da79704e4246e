"""What the demo makes of a chain of DAG runs; Airflow and the registry are stand-ins."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest
from rich.console import Console

from bookworks.adapters import airflow as airflow_api
from bookworks.adapters import registry
from bookworks.errors import TerminalError
from bookworks.settings import Settings
from infra.local import demo, follow
from training.verdict import Line, Verdict

LINES = [Line("readers", True, "40 readers."), Line("champion", False, "NDCG@10 0.1 [x] against 0.3 of v1.")]
REFUSED = Verdict("v2", "v1", 40, LINES).text().splitlines()
CRASHED = ["Traceback", "RuntimeError: no"]


class FakeAirflow:
    """Two DAGs before `publish`, whose run never comes; the task `failed` failed with `log`."""

    def __init__(self, failed: str, log: list[str]) -> None:
        self.failed, self.log = failed, log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def dags(self) -> list[dict[str, Any]]:
        return [{"dag_id": dag_id} for dag_id in [*demo.CHAIN, "housekeeping"]]

    def unpause(self, dag_id: str) -> None:
        pass

    def trigger(self, dag_id: str, params: dict[str, Any]) -> None:
        pass

    def dag_runs(self, dag_id: str, since: datetime | None = None) -> list[dict[str, Any]]:
        assert dag_id != "publish", "nobody will start it"
        state = "failed" if dag_id == "train_and_promote" else "success"
        return [{"dag_id": dag_id, "dag_run_id": "r", "state": state}]

    def tasks_of(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        def task(task_id: str, state: str, at: str | None) -> dict[str, Any]:
            return {"task_id": task_id, "state": state, "start_date": at, "duration": at and 2.0, "try_number": 1}

        if dag_id != "train_and_promote":
            return [task("load", "success", "2026-01-01")]
        return [task(self.failed, "failed", "2026-01-01"), task("register", "upstream_failed", None)]

    def log_of(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> list[str]:
        return ["Output:", *self.log, "Command exited with return code 3"]


def run(monkeypatch: pytest.MonkeyPatch, failed: str, log: list[str], champion: str | None) -> tuple[str, list[Any]]:
    monkeypatch.setattr(airflow_api, "connect", lambda _: FakeAirflow(failed, log))
    monkeypatch.setattr(registry, "version_of_alias", lambda *_: champion)
    console = Console(record=True, width=100)
    tasks = demo.run_dags(console, [], Settings(), Path("data"), "auto", None)
    return console.export_text(), tasks


def test_a_refusal_is_told_and_the_champion_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    text, tasks = run(monkeypatch, "gate", REFUSED, champion="v1")
    assert "Bundle v2 is refused, measured on 40 test readers." in text
    assert "FAILS: NDCG@10 0.1 [x] against 0.3 of v1." in text
    assert "The champion serves on: v1." in text
    assert {(task.task_id, task.state) for task in tasks} == {
        ("load", "success"),
        ("gate", "failed"),
        ("register", "upstream_failed"),
    }


def test_a_refusal_before_the_first_champion_ends_the_demo_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TerminalError, match=r"train_and_promote failed in gate(.|\n)*FAILS: NDCG"):
        run(monkeypatch, "gate", REFUSED, champion=None)


@pytest.mark.parametrize(("failed", "log"), [("gate", CRASHED), ("evaluate", REFUSED)])
def test_any_other_failure_ends_the_demo(monkeypatch: pytest.MonkeyPatch, failed: str, log: list[str]) -> None:
    with pytest.raises(TerminalError, match=f"failed in {failed}") as caught:
        run(monkeypatch, failed, log, champion="v1")
    assert not isinstance(caught.value, follow.Refused)
    assert log[-1] in str(caught.value)
