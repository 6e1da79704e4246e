"""`.ci/run` ends what it started, whatever ends it; `make` and all other programs are stand-ins."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bookworks.settings import PROJECT_ROOT
from infra.local import processes

STACKS = (".bookworks-test-7", ".bookworks-test-7-down")
LASTS = 'sleep 300 & echo $! $$ > "$PIDS.part"; mv "$PIDS.part" "$PIDS"; wait'


class Checkout:
    """A checkout with nothing in it but `.ci/run`, two stacks, and a `make` that does as told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pids, self.calls = folder, folder / "pids", folder / "calls"
        (folder / ".ci").mkdir()
        shutil.copy(PROJECT_ROOT / ".ci" / "run", folder / ".ci" / "run")
        for name in STACKS:
            (folder / name).mkdir()
        for name in ("java", "mvn", "git", "go", "python3"):
            self._program(f"bin/{name}", "true")
        self._program(".venv/bin/bookworks", f'echo "$1 $(basename "$BOOKWORKS_STATE_DIR")" >> {self.calls}')

    def _program(self, name: str, script: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(self, make: str) -> subprocess.Popen[str]:
        self._program("bin/make", make)
        environment = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PIDS": str(self.pids)}
        command = [self.folder / ".ci" / "run"]
        # What runs in the background has SIGINT ignored, and hands that on: bash could not heed it then.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        finally:
            signal.signal(signal.SIGINT, before)

    def begun(self) -> list[psutil.Process]:
        """What `make` has started, itself among them."""
        until = time.monotonic() + 20
        while not self.pids.exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        return [psutil.Process(int(pid)) for pid in self.pids.read_text().split()]

    def brought_down(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tmp_path)
    yield made
    if made.pids.exists():
        processes.end(psutil.Process(int(pid)) for pid in made.pids.read_text().split() if psutil.pid_exists(int(pid)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_tests_and_every_stack_at_once(checkout: Checkout, number: signal.Signals) -> None:
    with checkout.start(LASTS) as run:
        begun = checkout.begun()
        run.send_signal(number)
        run.communicate(timeout=15)
    assert run.returncode == 128 + number
    assert not any(processes.alive(process) for process in begun)
    assert sorted(checkout.brought_down()) == [f"down {name}" for name in STACKS]


@pytest.mark.parametrize("code", [0, 2])
def test_its_exit_code_is_that_of_the_tests(checkout: Checkout, code: int) -> None:
    line = "======= 3 passed in 1.00s ======="
    with checkout.start(f"echo '{line}'; exit {code}") as run:
        shown, _ = run.communicate(timeout=15)
    assert run.returncode == code
    assert shown.splitlines() == [line, line]
    assert sorted(checkout.brought_down()) == [f"down {name}" for name in STACKS]
