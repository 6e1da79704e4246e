"""The exit code of a command decides what Airflow does."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from orchestration.operators import CommandOperator


def run_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, **options: str) -> str:
    (tmp_path / "some_step.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return CommandOperator(task_id="t", arguments=["some_step", ""], **options).execute({})


def test_success_returns_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_script(tmp_path, monkeypatch, "print('a'); print('rows: 3')") == "rows: 3"


def test_empty_arguments_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_script(tmp_path, monkeypatch, "import sys; print(len(sys.argv))") == "1"


def test_transient_failure_may_be_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowException) as caught:
        run_script(tmp_path, monkeypatch, "import sys; print('away'); sys.exit(75)")
    assert not isinstance(caught.value, AirflowFailException)
    assert "away" in str(caught.value)


def test_killed_command_may_be_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowException) as caught:
        run_script(tmp_path, monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("code", [1, 2, 3])
def test_terminal_failure_is_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with pytest.raises(AirflowFailException):
        run_script(tmp_path, monkeypatch, f"import sys; sys.exit({code})")


def test_task_without_input_is_skipped() -> None:
    with pytest.raises(AirflowSkipException):
        CommandOperator(task_id="t", arguments=["nothing"], skip_unless="").execute({})
