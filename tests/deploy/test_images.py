"""The images: each holds what its code imports, the service nothing heavy, and its servers start from our settings."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from bookworks.settings import PROJECT_ROOT, Settings
from infra.images import airflow_command, mlflow_server

DOCKERFILE = (PROJECT_ROOT / "infra" / "images" / "Dockerfile").read_text()
HEAVY = {"torch", "pyspark", "apache-airflow", "sentence-transformers", "pandas", "dbt-core", "dvc"}
SERVICE = ("service",)
CONSUMERS: tuple[str, ...] = ()
CONSUMER_MODULES = (
    "ingestion/kafka_to_lake.py",
    "ingestion/kafka_to_online.py",
    "analytics/kafka_to_clickhouse.py",
    "analytics/airflow_to_clickhouse.py",
)
JOBS = ("jobs",)
AIRFLOW = ("jobs", "airflow")
JOB_FOLDERS = (
    "ingestion",
    "spark_jobs",
    "training",
    "indexing",
    "simulation",
    "analytics",
    "infra/compose",
    "infra/images",
)
OURS = {"bookworks", "ingestion", "analytics", "serving", "spark_jobs", "training", "indexing", "simulation", "infra"}
OURS |= {"orchestration"}
LOCAL_ONLY = {"infra/images/spark_jars.py"}  # runs while the images are built, with the group local


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _packages(groups: tuple[str, ...]) -> frozenset[str]:
    """Names of all packages that an image with these groups installs, from the lock file alone."""
    chosen = [argument for group in groups for argument in ("--group", group)]
    command = [
        shutil.which("uv") or str(PROJECT_ROOT / ".uv" / "bin" / "uv"),  # as the Makefile finds it
        "export",
        "--frozen",
        "--offline",
        "--no-default-groups",
        "--no-hashes",
        "--no-emit-project",
        *chosen,
    ]
    lines = subprocess.run(command, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return frozenset(_normal(re.split(r"[=<>~\[ ;]", line)[0]) for line in lines if re.match(r"\w", line))


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def _reached(starts: list[Path]) -> set[str]:
    """Third-party top-level names that `starts` import, directly or through our own modules."""
    waiting, seen, outside = list(starts), set(), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in _imports(path):
            top = module.partition(".")[0]
            if top in OURS:
                target = PROJECT_ROOT / module.replace(".", "/")
                found = [target.with_suffix(".py"), target / "__init__.py"]
                waiting += [file for file in found if file.exists()]
            elif top not in sys.stdlib_module_names:
                outside.add(top)
    return outside


def _missing(modules: set[str], packages: frozenset[str]) -> set[str]:
    homes = packages_distributions()
    return {name for name in modules if not packages & {_normal(home) for home in homes.get(name, [name])}}


@pytest.mark.parametrize("groups", [SERVICE, CONSUMERS])
def test_small_images_hold_nothing_heavy(groups: tuple[str, ...]) -> None:
    packages = _packages(groups)
    assert {"kafka-python", "pydantic"} <= packages
    assert not packages & HEAVY


def test_the_jobs_hold_what_the_service_must_not() -> None:
    assert _packages(("jobs", "airflow")) >= HEAVY


def test_the_service_image_holds_all_that_the_service_imports() -> None:
    files = list((PROJECT_ROOT / "serving").rglob("*.py"))
    assert _missing(_reached(files), _packages(SERVICE)) == set()


def test_the_service_image_holds_the_library_of_the_trees() -> None:
    """It is loaded without an import (`bookworks.models.trees`), and needs OpenMP."""
    assert "lightgbm" in _packages(SERVICE)
    stage = DOCKERFILE.split(" AS service\n")[1].split("\nFROM ")[0]
    assert "libgomp1" in stage


def test_the_consumers_image_holds_all_that_the_consumers_import() -> None:
    files = [PROJECT_ROOT / module for module in CONSUMER_MODULES]
    assert _missing(_reached(files), _packages(CONSUMERS)) == set()


def _python_files(*folders: str) -> list[Path]:
    files = [file for folder in folders for file in (PROJECT_ROOT / folder).rglob("*.py")]
    return [file for file in files if str(file.relative_to(PROJECT_ROOT)) not in LOCAL_ONLY]


def test_the_jobs_image_holds_all_that_the_jobs_import() -> None:
    asked_for = {"duckdb", "splink"}  # `works baselines` says so where they are not
    assert _missing(_reached(_python_files(*JOB_FOLDERS)), _packages(JOBS)) == asked_for


def test_the_airflow_image_holds_all_that_the_dags_import() -> None:
    assert _missing(_reached(_python_files("dags", "orchestration")), _packages(AIRFLOW)) == set()


def test_the_dockerfile_installs_the_groups_that_these_tests_check() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    installed = {stage.split(" AS ")[1].split()[0]: set(re.findall(r"--group (\w+)", stage)) for stage in stages[1:]}
    assert installed["build-service"] == set(SERVICE)
    assert installed["build-consumers"] == set(CONSUMERS)
    assert installed["build-airflow"] == {"jobs", "airflow"}
    assert all("--frozen --no-default-groups" in line for line in DOCKERFILE.splitlines() if "uv sync" in line)


def test_base_images_are_pinned_and_no_image_runs_as_root() -> None:
    bases = [base for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if ":" in base]
    assert bases
    assert all(re.search(r":\d+\.\d+\.\d+", base) for base in bases)
    for name in ("consumers", "service", "jobs", "airflow"):
        stage = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
        assert stage is not None
        assert "USER 10001:10001" in stage.group(1)


def _settings(tmp_path: Path) -> Settings:
    secrets = {name: "s" for name, field in Settings.model_fields.items() if field.annotation is SecretStr}
    return Settings(_env_file=None, state_dir=tmp_path, mlflow_host="mlflow", mlflow_port=5000, **secrets)


def test_airflow_knows_every_variable_that_its_image_sets(tmp_path: Path) -> None:
    import airflow

    options = yaml.safe_load((Path(airflow.__file__).parent / "config_templates" / "config.yml").read_text())
    for name in airflow_command.airflow_environment(_settings(tmp_path)):
        if name != "AIRFLOW_HOME":
            _, section, option = name.lower().split("__")
            assert option in options[section]["options"], name


def test_airflows_password_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    airflow_command.write_passwords(_settings(tmp_path), tmp_path / "airflow")
    path = tmp_path / "airflow" / "passwords.json"
    assert path.stat().st_mode & 0o077 == 0
    assert path.read_text() == '{"bookworks": "s"}'


def test_mlflow_knows_every_variable_and_option_that_its_image_sets(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    package = Path(importlib.util.find_spec("mlflow").origin).parent  # type: ignore[union-attr,arg-type]
    places = ("environment_variables.py", "cli/__init__.py", "utils/cli_args.py")
    sources = "".join((package / place).read_text() for place in places)
    for name in mlflow_server.mlflow_environment(settings, tmp_path):
        assert f'"{name}"' in sources or name.startswith("AWS_"), name
    arguments = mlflow_server.server_arguments(settings)
    for argument in arguments[2:]:
        assert f'"{argument.partition("=")[0]}"' in sources, argument
    assert not any("password" in argument for argument in arguments)
