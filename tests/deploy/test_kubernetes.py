"""The rendered overlays: valid for the API, coherent among themselves, true to the settings."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import kubernetes_validate
import pytest
from pydantic import SecretStr

from bookworks.settings import PROJECT_ROOT, Settings

KUBERNETES = "1.34"
FIELDS = {f"BOOKWORKS_{name.upper()}": field for name, field in Settings.model_fields.items()}
SECRETS = {name for name, field in FIELDS.items() if field.annotation is SecretStr}
SECRET_OBJECT = "bookworks-secrets"

Manifest = dict[str, Any]


def _of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def _named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return next(manifest for manifest in _of_kind(manifests, kind) if manifest["metadata"]["name"] == name)


def _pod(deployment: Manifest) -> Manifest:
    return deployment["spec"]["template"]["spec"]


def _container(deployment: Manifest) -> Manifest:
    (container,) = _pod(deployment)["containers"]
    return container


def _settings(manifests: list[Manifest]) -> dict[str, str]:
    (config,) = _of_kind(manifests, "ConfigMap")
    return config["data"]


def _pod_labels(deployment: Manifest) -> dict[str, str]:
    return deployment["spec"]["template"]["metadata"]["labels"]


def _selected(manifests: list[Manifest], selector: dict[str, str]) -> list[Manifest]:
    return [d for d in _of_kind(manifests, "Deployment") if selector.items() <= _pod_labels(d).items()]


def test_each_object_fits_the_api(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_api_check_bites(manifests: list[Manifest]) -> None:
    wrong = copy.deepcopy(_of_kind(manifests, "Deployment")[0])
    _container(wrong)["securityContext"]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_what_the_platform_needs_is_there(manifests: list[Manifest]) -> None:
    deployments = {deployment["metadata"]["name"] for deployment in _of_kind(manifests, "Deployment")}
    consumers = {"kafka-to-lake", "kafka-to-online", "kafka-to-clickhouse", "airflow-to-clickhouse"}
    assert deployments == consumers | {"service"}
    assert {manifest["kind"] for manifest in manifests} >= {
        "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount",
    }  # fmt: skip


def test_everything_is_in_the_overlays_namespace(manifests: list[Manifest]) -> None:
    (namespace,) = _of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [manifest for manifest in manifests if manifest["kind"] != "Namespace"]
    assert {manifest["metadata"]["namespace"] for manifest in others} == {namespace["metadata"]["name"]}


def test_selectors_match(manifests: list[Manifest]) -> None:
    for deployment in _of_kind(manifests, "Deployment"):
        assert _selected(manifests, deployment["spec"]["selector"]["matchLabels"]) == [deployment]
    service = _named(manifests, "Deployment", "service")
    assert _selected(manifests, _named(manifests, "Service", "service")["spec"]["selector"]) == [service]
    budget = _named(manifests, "PodDisruptionBudget", "service")
    assert _selected(manifests, budget["spec"]["selector"]["matchLabels"]) == [service]
    target = _named(manifests, "HorizontalPodAutoscaler", "service")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "service")


def test_the_config_map_holds_settings_that_the_class_accepts(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = _settings(manifests)
    assert set(values) <= set(FIELDS)
    assert not set(values) & SECRETS
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None).model_fields_set >= {name.removeprefix("BOOKWORKS_").lower() for name in values}


def test_every_pod_reads_the_config_map_of_this_rendering(manifests: list[Manifest]) -> None:
    (config,) = _of_kind(manifests, "ConfigMap")
    for deployment in _of_kind(manifests, "Deployment"):
        assert _container(deployment)["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]


def test_secrets_come_by_reference_only_and_the_example_names_all_of_them(manifests: list[Manifest]) -> None:
    assert not _of_kind(manifests, "Secret")
    used = set()
    for deployment in _of_kind(manifests, "Deployment"):
        for variable in _container(deployment)["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert variable["name"] in SECRETS
            assert reference == {"name": SECRET_OBJECT, "key": variable["name"]}
            used.add(variable["name"])
    lines = (PROJECT_ROOT / "k8s" / "secrets.example.env").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert set(example) == used
    assert not any(example.values())


def test_probes_and_ports_lead_to_the_service(manifests: list[Manifest]) -> None:
    container = _container(_named(manifests, "Deployment", "service"))
    (port,) = container["ports"]
    assert str(port["containerPort"]) == _settings(manifests)["BOOKWORKS_SERVICE_PORT"]
    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}
    (outside,) = _named(manifests, "Service", "service")["spec"]["ports"]
    assert outside["targetPort"] == port["name"]


def test_pods_run_without_privilege(manifests: list[Manifest]) -> None:
    accounts = {account["metadata"]["name"]: account for account in _of_kind(manifests, "ServiceAccount")}
    for deployment in _of_kind(manifests, "Deployment"):
        pod, container = _pod(deployment), _container(deployment)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False, "service links would set BOOKWORKS_… variables"


def test_what_is_written_to_is_a_volume(manifests: list[Manifest]) -> None:
    for deployment in _of_kind(manifests, "Deployment"):
        volumes = {volume["name"] for volume in _pod(deployment)["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in _container(deployment)["volumeMounts"]}
        assert set(mounts) == {"/tmp", _settings(manifests)["BOOKWORKS_STATE_DIR"]}
        assert set(mounts.values()) == volumes


def test_interactions_wait_on_a_volume_that_outlives_the_pod(with_spool: list[Manifest]) -> None:
    test_each_object_fits_the_api(with_spool)
    folder = _settings(with_spool)["BOOKWORKS_INTERACTIONS_SPOOL_DIR"]
    service = _named(with_spool, "Deployment", "service")
    (mount,) = [mount for mount in _container(service)["volumeMounts"] if mount["mountPath"] == folder]
    (volume,) = [volume for volume in _pod(service)["volumes"] if volume["name"] == mount["name"]]
    claim = _named(with_spool, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"], "the service has several pods"
    test_every_pod_reads_the_config_map_of_this_rendering(with_spool)
    test_everything_is_in_the_overlays_namespace(with_spool)


def test_resources_are_bounded_and_images_pinned(manifests: list[Manifest]) -> None:
    for deployment in _of_kind(manifests, "Deployment"):
        container = _container(deployment)
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert container["image"].rpartition(":")[2] == "0.1.0"


def test_commands_are_modules_of_this_repository(manifests: list[Manifest]) -> None:
    for deployment in _of_kind(manifests, "Deployment"):
        python, option, module = _container(deployment)["args"]
        assert (python, option) == ("python", "-m")
        assert importlib.util.find_spec(module), module


def test_network_is_closed_but_for_the_ports_of_the_settings(manifests: list[Manifest]) -> None:
    deny = _named(manifests, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    values = _settings(manifests)
    known = {value for name, value in values.items() if name.endswith("_PORT")}
    known |= {value.rpartition(":")[2] for name, value in values.items() if name.endswith("_URL")}
    for deployment in _of_kind(manifests, "Deployment"):
        policy = _named(manifests, "NetworkPolicy", deployment["metadata"]["name"])["spec"]
        assert _selected(manifests, policy["podSelector"]["matchLabels"]) == [deployment]
        ports = {str(port["port"]) for rule in policy["egress"] for port in rule["ports"]}
        assert ports
        assert ports <= known


def test_each_secret_has_the_way_to_its_store_open(manifests: list[Manifest]) -> None:
    values = _settings(manifests)
    store_port = {
        "BOOKWORKS_KAFKA_PASSWORD": values["BOOKWORKS_KAFKA_PORT"],
        "BOOKWORKS_S3_SECRET_KEY": values["BOOKWORKS_S3_ENDPOINT_URL"].rpartition(":")[2],
        "BOOKWORKS_POSTGRES_PASSWORD": values["BOOKWORKS_POSTGRES_PORT"],
        "BOOKWORKS_REDIS_PASSWORD": values["BOOKWORKS_REDIS_PORT"],
        "BOOKWORKS_CLICKHOUSE_PASSWORD": values["BOOKWORKS_CLICKHOUSE_PORT"],
        "BOOKWORKS_QDRANT_API_KEY": values["BOOKWORKS_QDRANT_URL"].rpartition(":")[2],
        "BOOKWORKS_MLFLOW_PASSWORD": values["BOOKWORKS_MLFLOW_PORT"],
        "BOOKWORKS_AIRFLOW_PASSWORD": values["BOOKWORKS_AIRFLOW_PORT"],
    }
    for deployment in _of_kind(manifests, "Deployment"):
        policy = _named(manifests, "NetworkPolicy", deployment["metadata"]["name"])["spec"]
        ports = {str(port["port"]) for rule in policy["egress"] for port in rule["ports"]}
        secrets = {variable["name"] for variable in _container(deployment)["env"]} & store_port.keys()
        assert ports == {store_port[name] for name in secrets}
