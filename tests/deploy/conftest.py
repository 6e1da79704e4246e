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
def manifests(request: pytest.FixtureRequest, kustomize: Path) -> list[Manifest]:
    folder = PROJECT_ROOT / "k8s" / "overlays" / request.param
    done = subprocess.run([kustomize, "build", folder], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
