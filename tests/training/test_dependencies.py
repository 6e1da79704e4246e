"""dvc.yaml names every module that a stage imports: its edit runs the stage, never restores the cached old model."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bookworks.settings import PROJECT_ROOT
from training.workspace import CODE

STAGES = yaml.safe_load((PROJECT_ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
CHANGES_NO_RESULT = {
    "bookworks/adapters": "how a server is reached, not what is made of its rows",
    "bookworks/cli": "how a command ends",
    "bookworks/clock.py": "the time of day",
    "bookworks/errors.py": "what is said when a stage fails",
    "bookworks/settings.py": "addresses, folders and secrets of the machine",
    "training/params.py": "checks values; DVC compares the values themselves",
}


def file_of(module: str) -> Path | None:
    """The file of one of our modules, or None: a name inside a module, or somebody else's."""
    stem = PROJECT_ROOT.joinpath(*module.split("."))
    found = (path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file())
    return next(found, None) if module.startswith(CODE) else None


def imported(path: Path) -> Iterator[Path]:
    """Our files that one file imports, in functions too; packages come with the modules in them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import is not followed here"
            names = [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
        parts = [name.split(".") for name in names]
        found = {file_of(".".join(words[: n + 1])) for words in parts for n in range(len(words))}
        yield from (file for file in found if file is not None)


def within(file: str, places: list[str]) -> bool:
    return any(file == place or file.startswith(f"{place}/") for place in places)


def closure(module: Path) -> set[str]:
    """Files that a module imports at one remove or more, itself too, but those that change no result."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        path = todo.pop()
        name = path.relative_to(PROJECT_ROOT).as_posix()
        if name not in seen and not within(name, list(CHANGES_NO_RESULT)):
            seen.add(name)
            todo += imported(path)
    return seen


def empty_package(name: str) -> bool:
    """Whether it is an `__init__.py` with nothing but a docstring."""
    return name.endswith("/__init__.py") and len(ast.parse((PROJECT_ROOT / name).read_text()).body) <= 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_that_it_imports(stage: str) -> None:
    needed = closure(PROJECT_ROOT / "training" / f"{stage}.py")
    missing = {name for name in needed if not within(name, STAGES[stage]["deps"]) and not empty_package(name)}
    assert not missing, f"deps of {stage} in dvc.yaml lack {sorted(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_no_code_that_it_does_not_import(stage: str) -> None:
    needed = closure(PROJECT_ROOT / "training" / f"{stage}.py")
    code = [dep for dep in STAGES[stage]["deps"] if dep.startswith(CODE)]
    assert not [dep for dep in code if not any(within(name, [dep]) for name in needed)]


def test_the_closure_goes_through_functions_and_at_many_removes() -> None:
    found = closure(PROJECT_ROOT / "training" / "train_item_item.py")
    assert {"training/train_item_item.py", "training/dataset.py", "training/linear_filter.py"} < found
    assert not any(within(name, list(CHANGES_NO_RESULT)) for name in found)


def test_what_changes_no_result_is_there() -> None:
    assert all((PROJECT_ROOT / name).exists() for name in CHANGES_NO_RESULT)
