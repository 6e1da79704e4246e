"""The dbt project: one source of truth for weights; every model with grain and keys."""

from __future__ import annotations

from pathlib import Path

import yaml

from bookworks.contracts.records import CONSUMED_KINDS, KIND_WEIGHTS, RATING_MAX, UNRATED_WEIGHT
from bookworks.settings import PROJECT_ROOT

PROJECT = PROJECT_ROOT / "dbt_project"
NAMES = {"staging": "stg_lake__", "intermediate": "int_", "marts": ""}


def documented() -> dict[str, str]:
    """Description of each model and snapshot."""
    found = {}
    for path in PROJECT.glob("**/*.yml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for node in content.get("models", []) if isinstance(content.get("models"), list) else []:
            found[node["name"]] = node.get("description", "")
        for node in content.get("snapshots", []) if isinstance(content.get("snapshots"), list) else []:
            found[node["name"]] = node.get("description", "")
    return found


def test_weights_are_those_of_the_records() -> None:
    variables = yaml.safe_load((PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    assert variables["kind_weights"] == KIND_WEIGHTS
    assert variables["consumed_kinds"] == list(CONSUMED_KINDS)
    assert variables["rating_max"] == RATING_MAX
    assert variables["unrated_weight"] == UNRATED_WEIGHT


def test_every_model_says_its_grain_and_is_named_by_its_layer() -> None:
    said = documented()
    models: list[Path] = [*PROJECT.glob("models/**/*.sql"), *PROJECT.glob("snapshots/*.sql")]
    assert len(models) >= 18
    for path in models:
        assert "Grain: " in said.get(path.stem, ""), path
        if path.parent.name in NAMES:
            assert path.stem.startswith(NAMES[path.parent.name]), path


def test_every_model_with_a_key_has_it_tested() -> None:
    for path in PROJECT.glob("**/*.yml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        nodes = [
            node for kind in ("models", "snapshots") if isinstance(content.get(kind), list) for node in content[kind]
        ]
        for node in nodes:
            if "Key: " in node["description"]:
                tests = str(node.get("data_tests", "")) + str(node.get("columns", ""))
                assert "unique" in tests or "unique index" in node["description"], f"{path.name}: {node['name']}"


def test_no_telemetry_and_no_password_in_the_project() -> None:
    assert "send_anonymous_usage_stats: false" in (PROJECT / "dbt_project.yml").read_text(encoding="utf-8")
    profile = yaml.safe_load((PROJECT / "profiles.yml").read_text(encoding="utf-8"))
    assert "env_var('DBT_ENV_SECRET_" in profile["bookworks"]["outputs"]["warehouse"]["password"]
