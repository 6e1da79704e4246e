"""The pages build strictly, fetch nothing from elsewhere, and name only commands, modules and files that exist."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from bookworks.cli.main import COMMANDS
from bookworks.settings import PROJECT_ROOT, Settings
from infra.local.server import context_of
from infra.local.servers import ALL
from infra.local.supervisor import NAME as SUPERVISOR

PAGES = sorted([*(PROJECT_ROOT / "docs").rglob("*.md"), PROJECT_ROOT / "README.md", PROJECT_ROOT / "CONTRIBUTING.md"])
PAGE_NAMES = [str(page.relative_to(PROJECT_ROOT)) for page in PAGES]
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
PLACEHOLDER = re.compile(r"[<…{]")
SERVER_COMMANDS = ("up", "status", "logs", "down")
SERVER_COMMAND = re.compile(rf"`(bookworks (?:{'|'.join(SERVER_COMMANDS)})\b[^`\n]*)`")
SOURCES = [
    path for path in sorted(PROJECT_ROOT.glob("[!.]*/**/*.py")) if path.parts[len(PROJECT_ROOT.parts)] != "tests"
]


def _commands(page: Path) -> Iterator[list[str]]:
    """Command lines of the page that call `bookworks` or `python -m`, as words."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    for line in lines + INLINE.findall(BLOCK.sub("", text)):
        if re.match(r"(bookworks|python -m) ", line):
            yield shlex.split(line, comments=True)


def _command(name: str) -> Any:
    module, attribute, _ = COMMANDS[name]
    target = getattr(importlib.import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        single = typer.Typer()
        single.command(name=name)(target)
        target = single
    return typer.main.get_command(target)


def _check_bookworks(words: list[str]) -> None:
    assert words[1] in COMMANDS, f"there is no `bookworks {words[1]}`"
    command, rest = _command(words[1]), words[2:]
    if "--" in rest:
        rest = rest[: rest.index("--")]
    while hasattr(command, "commands") and rest and not PLACEHOLDER.search(rest[0]):
        names = rest[0].split("|")
        assert set(names) <= set(command.commands), f"`{' '.join(words)}`: allowed are {sorted(command.commands)}"
        command, rest = command.commands[names[0]], rest[1:]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, f"`{' '.join(words)}`: {word} is no option"
    if words[1] in SERVER_COMMANDS:
        _check_servers(words)


def _check_servers(words: list[str]) -> None:
    known = {*ALL, *(_programs() if words[1] == "logs" else ())}
    named = [word for word in words[2:] if not re.match(r"-|\d+$", word) and not PLACEHOLDER.search(word)]
    assert set(named) <= known, f"`{' '.join(words)}`: there are {sorted(known)}"


def _programs() -> set[str]:
    context = context_of(Settings())
    return {program.name for server in ALL.values() for program in server.programs(context)} | {SUPERVISOR}


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_commands_that_a_page_names_exist(name: str) -> None:
    for words in _commands(PROJECT_ROOT / name):
        if words[0] == "bookworks" and not PLACEHOLDER.search(words[1]):
            _check_bookworks(words)
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), f"{name}: there is no module {words[2]}"


def test_a_command_that_does_not_exist_is_found_out() -> None:
    with pytest.raises(AssertionError, match="is no option"):
        _check_bookworks(["bookworks", "down", "--swiftly"])
    with pytest.raises(AssertionError, match="there is no"):
        _check_bookworks(["bookworks", "fly"])
    with pytest.raises(AssertionError, match=r"there are .*airflow"):
        _check_bookworks(["bookworks", "logs", "airflow-api-server"])
    _check_bookworks(["bookworks", "logs", "airflow-api", "-n", "5"])
    assert isinstance(_command("bench"), click.Group) or hasattr(_command("bench"), "commands")


def test_servers_that_the_code_names_exist() -> None:
    found = [(path, text) for path in SOURCES for text in SERVER_COMMAND.findall(path.read_text(encoding="utf-8"))]
    assert len(found) > 20
    for path, text in found:
        try:
            _check_servers(text.split())
        except AssertionError as error:
            raise AssertionError(f"{path.relative_to(PROJECT_ROOT)}: {error}") from None


def test_make_targets_that_the_pages_name_exist() -> None:
    named = {target for page in PAGES for target in re.findall(r"`?\bmake ([a-z][\w-]*)", _code(page))}
    targets = set(re.findall(r"^([\w-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= targets


def _code(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return "\n".join([*BLOCK.findall(text), *INLINE.findall(BLOCK.sub("", text))])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_outside_the_site_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", (PROJECT_ROOT / name).read_text()):
        assert (PROJECT_ROOT / target).exists(), f"{name}: {target}"


def test_the_readmes_tree_names_folders_that_exist() -> None:
    tree = next(block for block in BLOCK.findall((PROJECT_ROOT / "README.md").read_text()) if "shared kernel" in block)
    folders = re.findall(r"^(\w+/)", tree, re.MULTILINE)
    assert len(folders) > 10
    assert all((PROJECT_ROOT / folder).is_dir() for folder in folders)


def test_settings_that_the_pages_name_exist() -> None:
    known = {f"BOOKWORKS_{name.upper()}" for name in Settings.model_fields}
    for page in PAGES:
        named = set(re.findall(r"\bBOOKWORKS_[A-Z0-9_]*[A-Z0-9]\b(?!_?…)", page.read_text(encoding="utf-8")))
        assert named <= known, f"{page.name}: {sorted(named - known)}"


def test_the_site_builds_strictly_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= len([page for page in PAGES if "docs" in page.parts])
    for page in pages:
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert not fetched, f"{page.name}: {fetched}"
