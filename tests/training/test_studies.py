"""Searches that are stopped, resumed and shared: nothing is tried twice, and no more than was asked for."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import optuna
import pytest

from bookworks.errors import TransientError
from bookworks.settings import PROJECT_ROOT
from training import studies
from training.studies import best_params, carry_on, finished, open_study

START = {"x": 0.5, "y": 0.25}
SEARCH = """
import sys
from tests.training.test_studies import search
search(sys.argv[1], int(sys.argv[2]), pause_s=0.02)
"""


def objective(trial: optuna.Trial) -> float:
    return -((trial.suggest_float("x", 0, 1) - 0.3) ** 2) - (trial.suggest_float("y", 0, 1) - 0.6) ** 2


def search(storage: str | None, trials: int, seed: int = 7, pause_s: float = 0.0) -> list[optuna.trial.FrozenTrial]:
    """The finished trials, in order of their numbers."""
    study = open_study(storage, "s", seed, START, optuna.pruners.NopPruner())

    def slow(trial: optuna.Trial) -> float:
        time.sleep(pause_s)
        return objective(trial)

    carry_on(study, slow, trials)
    found = finished(study)
    if storage is not None:
        study._storage._backend.engine.dispose()
    return found


def tried(trials: list[optuna.trial.FrozenTrial]) -> list[tuple[Any, ...]]:
    return [tuple(sorted(trial.params.items())) for trial in trials]


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """A storage with its tables made, which two processes must not do at once."""
    address = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.storages.RDBStorage(address).engine.dispose()
    return address


def test_a_search_begins_with_what_is_known_and_is_the_same_by_seed() -> None:
    one = tried(search(None, 14))
    assert dict(one[0]) == START
    assert len(set(one)) == 14
    assert one == tried(search(None, 14))
    assert not set(one[1:]) & set(tried(search(None, 14, seed=8)))


def test_a_resumed_search_does_what_is_left_as_if_it_had_not_stopped(storage: str) -> None:
    first = search(storage, 3)
    more = search(storage, 14)
    assert [trial.number for trial in more] == list(range(14))
    assert tried(more)[:3] == tried(first)
    assert len(set(tried(more))) == 14
    assert tried(more) == tried(search(None, 14))
    assert len(search(storage, 14)) == 14
    assert len(search(storage, 5)) == 14


def test_threads_on_one_storage_share_the_trials(storage: str) -> None:
    together = Barrier(3)

    def one(_: int) -> None:
        together.wait()
        search(storage, 13, pause_s=0.01)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one, range(3)))
    found = search(storage, 13)
    assert len(found) == 13
    assert len(set(tried(found))) == 13


def test_processes_on_one_storage_share_the_trials(storage: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SEARCH, storage, "9"]
    running = [subprocess.Popen(command, cwd=PROJECT_ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    for process in running:
        assert process.communicate(timeout=60)[1] is not None
        assert process.returncode == 0
    found = search(storage, 9)
    assert len(found) == 9
    assert len(set(tried(found))) == 9


def test_a_first_trial_that_failed_is_begun_again(storage: str) -> None:
    study = open_study(storage, "s", 7, START, optuna.pruners.NopPruner())
    with pytest.raises(ZeroDivisionError):
        carry_on(study, lambda trial: 1 / (0 * trial.suggest_float("x", 0, 1)), 2)
    study._storage._backend.engine.dispose()
    found = search(storage, 2)
    assert [trial.number for trial in found] == [1, 2]
    assert found[0].params == START


def test_the_trial_of_a_killed_process_is_given_up(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "HEARTBEAT_S", 1)
    code = "import os, tests.training.test_studies as t\n" + (
        f"s = t.open_study({storage!r}, 's', 7, t.START, t.optuna.pruners.NopPruner())\n"
        "t.carry_on(s, lambda trial: (t.time.sleep(0.3), os._exit(9)), 4)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False).returncode == 9
    assert len(search(storage, 4)) == 3  # it may live
    time.sleep(3.1)
    assert len(search(storage, 4)) == 4


def test_without_a_finished_trial_there_is_nothing_best(storage: str) -> None:
    study = open_study(storage, "s", 7, START, optuna.pruners.NopPruner())
    with pytest.raises(TransientError, match="No trial"):
        best_params(study)
    study._storage._backend.engine.dispose()
