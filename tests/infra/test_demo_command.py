"""`bookworks demo` and the commands that it runs: sizes are refused at once, exit codes keep their meaning."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest
from click.testing import Result
from typer import Typer
from typer.testing import CliRunner

from bookworks.contracts import generator
from bookworks.errors import SettingError, TerminalError, TransientError
from infra.local import demo as module
from infra.local.command import run_command
from simulation.generate import Options


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands that the demo ran; the first one ends it."""
    commands: list[str] = []

    def stop(*arguments: str) -> None:
        commands.append(arguments[0])
        raise TerminalError("as far as this test goes")

    monkeypatch.setattr(module, "run_command", stop)
    return commands


def demo(*arguments: str) -> Result:
    app = Typer()
    app.command()(module.demo)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("name", ["works", "readers", "events", "seed"])
def test_what_the_generator_would_refuse_is_refused_before_anything_starts(name: str, ran: list[str]) -> None:
    for value in (limit + step for limit, step in zip(getattr(generator, name.upper()), (-1, 1), strict=True)):
        with pytest.raises(SettingError, match="out of range"):
            Options(**{name: value}).check()
        answer = demo(f"--{name}={value}")
        assert answer.exit_code == 2, answer.output
        assert f"--{name}" in answer.output
    assert ran == []


def test_the_smallest_world_is_taken(ran: list[str]) -> None:
    demo(f"--works={generator.WORKS[0]}")
    assert ran == ["up"]


@pytest.mark.parametrize(
    ("code", "kind"), [(1, TerminalError), (2, TerminalError), (75, TransientError), (-9, TransientError)]
)
def test_an_exit_code_keeps_its_meaning(code: int, kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=code))
    with pytest.raises(kind, match=f"`bookworks up` ended with exit code {code}"):
        run_command("up")
