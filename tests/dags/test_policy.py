"""Every DAG: readable, documented, wiring only."""

from __future__ import annotations

import ast
import importlib.util
import warnings
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
import typer
from airflow.sdk import DAG, AssetAny

from bookworks.cli.main import app
from bookworks.settings import PROJECT_ROOT
from orchestration.operators import CommandOperator

DAG_FILES = sorted((PROJECT_ROOT / "dags").glob("*.py"))
EXPECTED = {"catalogue", "features", "train_and_promote", "publish", "housekeeping"}
ALLOWED_IMPORTS = {"airflow.sdk", "orchestration"}


def load(path: Path) -> DAG:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = importlib.util.spec_from_file_location(f"dag_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    (dag,) = [value for value in vars(module).values() if isinstance(value, DAG)]
    return dag


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    return {path.stem: load(path) for path in DAG_FILES}


def test_all_dags_are_there_and_named_as_their_files(dags: dict[str, DAG]) -> None:
    assert set(dags) == EXPECTED
    assert {dag.dag_id for dag in dags.values()} == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_dag_has_triage_notes_owner_impact_and_retries(dags: dict[str, DAG], name: str) -> None:
    dag = dags[name]
    assert dag.doc_md is not None
    assert "**Triage**" in dag.doc_md
    assert any(tag.startswith("impact:") for tag in dag.tags)
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    for task in dag.tasks:
        assert isinstance(task, CommandOperator)
        assert task.owner == "bookworks"
        assert task.retries >= 1
        assert task.retry_exponential_backoff
        assert task.execution_timeout is not None


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_dag_file_is_wiring_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        assert not isinstance(node, ast.For | ast.While | ast.FunctionDef), f"{path.name}: wiring only"
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.module in ALLOWED_IMPORTS or node.module.split(".")[0] in ALLOWED_IMPORTS
        assert not isinstance(node, ast.Import)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_command_names_a_module_that_exists(dags: dict[str, DAG], name: str) -> None:
    for task in dags[name].tasks:
        module = task.arguments[0]
        assert importlib.util.find_spec(module) is not None, f"{name}.{task.task_id}: no module {module}"


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_bookworks_command_exists(dags: dict[str, DAG], name: str) -> None:
    for task in dags[name].tasks:
        if task.arguments[0] == "bookworks.cli.main":
            command = typer.main.get_command(app)
            for word in task.arguments[1:]:
                if word.startswith(("-", "{")) or not hasattr(command, "get_command"):
                    break
                found = command.get_command(typer.Context(command), word)
                assert found is not None, f"{name}.{task.task_id}: no command {word}"
                command = found


def test_assets_chain_the_dags(dags: dict[str, DAG]) -> None:
    produced = {outlet.name for dag in dags.values() for task in dag.tasks for outlet in task.outlets}
    assert produced == {"lake_clean", "marts", "challenger", "champion_is_old"}
    wanted = {"features": ["lake_clean"], "train_and_promote": ["marts", "champion_is_old"], "publish": ["challenger"]}
    for consumer, assets in wanted.items():
        assert [a.name for a in dags[consumer].timetable.asset_condition.objects] == assets
    assert isinstance(dags["train_and_promote"].timetable.asset_condition, AssetAny)


def test_an_old_champion_starts_a_training_and_a_young_one_does_not(dags: dict[str, DAG]) -> None:
    task = dags["housekeeping"].get_task("train_when_old")
    for said, rendered in (("due: …", "due"), ("not due: …", ""), (None, "")):
        pulled = SimpleNamespace(xcom_pull=lambda task_ids, said=said: said)
        assert jinja2.Template(task.skip_unless).render(ti=pulled) == rendered
    assert [asset.name for asset in task.outlets] == ["champion_is_old"]


def test_nothing_takes_works_that_were_not_measured(dags: dict[str, DAG]) -> None:
    after = dags["catalogue"].get_task("evaluate_works").get_flat_relative_ids(upstream=False)
    assert {task.task_id for task in dags["catalogue"].tasks if task.outlets} <= after
    assert "cluster_works" not in after
