"""Renders the compose file and the overlays with the tools that a cluster's user would use, pinned and built once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bookworks.settings import PROJECT_ROOT, Settings

KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
COMPOSE_SPEC = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"
COMPOSE_FILE = PROJECT_ROOT / "infra" / "compose" / "compose.yaml"
OVERLAYS = ("dev", "production")

Manifest = dict[str, Any]


def _go_tool(module: str, program: str) -> Path:
    """The program, built into the tools folder the first time (about a minute); its version is in the path."""
    folder = Settings().tools_dir / "go" / module.replace("/", "_")
    target = folder / program
    if not target.exists():
        if shutil.which("go") is None:
            pytest.fail(f"Go 1.24 or newer is needed to build {module}; `bookworks doctor` says how to install it.")
        environment = os.environ | {"GOBIN": str(folder), "GOTOOLCHAIN": "local"}
        built = subprocess.run(["go", "install", module], env=environment, check=False, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="session")
def load_compose() -> Callable[[Path], Manifest]:
    """Compose's own loader: fails where the file breaks the specification's schema or contradicts itself."""
    program = _go_tool(COMPOSE_SPEC, "cmd")

    def load(path: Path) -> Manifest:
        command = [program, "--no-interpolation", "--format=json", path.name]
        done = subprocess.run(command, cwd=path.parent, check=False, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(done.stderr)
        return json.loads(done.stdout)

    return load


@pytest.fixture(scope="session")
def compose(load_compose: Callable[[Path], Manifest]) -> Manifest:
    return load_compose(COMPOSE_FILE)


@pytest.fixture(scope="session")
def kustomize() -> Path:
    return _go_tool(KUSTOMIZE, "kustomize")


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Path:
    return PROJECT_ROOT / "k8s" / "overlays" / request.param


@pytest.fixture(scope="session")
def manifests(overlay: Path, kustomize: Path) -> list[Manifest]:
    return _rendered(kustomize, overlay)


@pytest.fixture(scope="session")
def with_spool(overlay: Path, kustomize: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The overlay, after what docs/deployment.md says to add for interactions that wait while Kafka is away."""
    copy = tmp_path_factory.mktemp("with-spool") / "k8s"
    shutil.copytree(PROJECT_ROOT / "k8s", copy)
    with (copy / "overlays" / overlay.name / "kustomization.yaml").open("a") as file:
        file.write("components: [../../components/spool]\n")
    return _rendered(kustomize, copy / "overlays" / overlay.name)


def _rendered(kustomize: Path, folder: Path) -> list[Manifest]:
    done = subprocess.run([kustomize, "build", folder], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
