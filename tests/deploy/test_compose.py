"""The compose file: loadable, pinned, closed to the outside, and true to the settings."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from bookworks.settings import PROJECT_ROOT, Settings

FOLDER = PROJECT_ROOT / "infra" / "compose"
TEXT = (FOLDER / "compose.yaml").read_text()
FIELDS = {f"BOOKWORKS_{name.upper()}": field for name, field in Settings.model_fields.items()}
SECRETS = {name for name, field in FIELDS.items() if field.annotation is SecretStr}
REQUIRED = re.compile(r"\$\{(BOOKWORKS_\w+):\?")
# Container port behind each setting whose port is published on loopback under the setting's default.
PUBLISHED = {
    "kafka_port": 19092,
    "minio_port": 9000,
    "minio_console_port": 9001,
    "postgres_port": 5432,
    "redis_port": 6379,
    "neo4j_port": 7687,
    "neo4j_http_port": 7474,
    "clickhouse_port": 8123,
    "mlflow_port": 5000,
    "airflow_port": 8080,
    "service_port": 3000,
}
ONE_SHOT = {"setup", "airflow-init"}


def _example() -> dict[str, str]:
    lines = (FOLDER / "example.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if "build" in service}


def test_the_platform_is_complete(compose: dict[str, Any]) -> None:
    stores = {"kafka", "minio", "postgres", "redis", "neo4j", "clickhouse", "qdrant"}
    airflow = {f"airflow-{part}" for part in ("init", "api-server", "scheduler", "dag-processor", "triggerer")}
    consumers = {"kafka-to-lake", "kafka-to-online", "kafka-to-clickhouse", "airflow-to-clickhouse"}
    assert set(compose["services"]) == stores | airflow | consumers | {"setup", "mlflow", "service"}


def test_the_schema_check_bites(load_compose: Callable[[Path], Any], tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(TEXT.replace("mem_limit:", "memory_limit:", 1))
    with pytest.raises(ValueError, match="memory_limit"):
        load_compose(wrong)


def test_every_image_is_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+|RELEASE\.\d{4}", tag), f"{name}: {service['image']}"


def test_every_server_says_when_it_is_well_and_keeps_its_data(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if "build" not in service:
            assert service["healthcheck"]["test"], name
            assert service["volumes"], name
            assert service["restart"] == "unless-stopped", name


def test_ports_are_published_on_loopback_only_and_under_the_settings_defaults(compose: dict[str, Any]) -> None:
    found = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in found} == {"127.0.0.1"}
    expected = {(str(Settings.model_fields[name].default), target) for name, target in PUBLISHED.items()}
    assert {(port["published"], port["target"]) for port in found} == expected


def test_environment_names_are_settings_and_secrets_come_from_outside(compose: dict[str, Any]) -> None:
    for name, service in _ours(compose).items():
        for variable, value in service["environment"].items():
            assert variable in FIELDS, f"{name}: {variable} is no setting"
            if variable in SECRETS:
                assert REQUIRED.match(str(value)), f"{name}: {variable} has a value in the file"


def test_addresses_lead_to_services_of_the_file(compose: dict[str, Any]) -> None:
    for service in _ours(compose).values():
        hosts = {value for key, value in service["environment"].items() if key.endswith("_HOST")} - {"0.0.0.0"}
        urls = [value for key, value in service["environment"].items() if key.endswith("_URL")]
        assert hosts | {re.split("[:/]+", url)[1] for url in urls} <= set(compose["services"])


def test_the_example_names_exactly_the_secrets_that_the_file_asks_for() -> None:
    assert set(_example()) == set(REQUIRED.findall(TEXT))
    assert not any(_example().values()), "the example must hold no value"


def test_settings_made_from_the_file_are_accepted(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for service in _ours(compose).values():
        for variable, value in service["environment"].items():
            monkeypatch.setenv(variable, str(value))
        settings = Settings(_env_file=None)
        assert settings.kafka_bootstrap == "kafka:9092"
        assert settings.s3_url == "http://minio:9000"


def test_commands_are_modules_of_this_repository(compose: dict[str, Any]) -> None:
    for name, service in _ours(compose).items():
        command = service.get("command") or []
        if command[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(command[2]), f"{name}: {command[2]}"


def test_interactions_wait_on_a_volume(compose: dict[str, Any]) -> None:
    service = compose["services"]["service"]
    folder = service["environment"]["BOOKWORKS_INTERACTIONS_SPOOL_DIR"]
    assert [(one["type"], one["target"]) for one in service["volumes"]] == [("volume", folder)]
    dockerfile = (PROJECT_ROOT / "infra/images/Dockerfile").read_text()
    assert re.search(rf"^RUN install .*--owner=10001 .* {folder}$", dockerfile, re.MULTILINE), "else it is root's"


def test_our_containers_hold_no_privilege(compose: dict[str, Any]) -> None:
    for name, service in _ours(compose).items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name


def test_build_targets_exist_in_the_dockerfile() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)", (PROJECT_ROOT / "infra/images/Dockerfile").read_text(), re.MULTILINE)
    targets = {line.split()[1] for line in TEXT.splitlines() if line.strip().startswith("target: ")}
    assert {target for target in targets if not target.startswith("/")} <= set(stages)
    assert yaml.safe_load(TEXT)["name"] == "bookworks"
