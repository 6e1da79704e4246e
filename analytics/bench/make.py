"""Wall time of a target of the Makefile: here, or as a newcomer has it, with nothing installed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from time import monotonic

from analytics.bench.report import Figure
from bookworks.errors import TransientError
from bookworks.settings import PROJECT_ROOT


def here(target: str, rounds: int) -> list[Figure]:
    """Seconds of each round in this checkout, where all is installed."""
    return [Figure(target, "s", [_seconds(target, PROJECT_ROOT, os.environ) for _ in range(rounds)])]


def cold(target: str, folder: Path) -> list[Figure]:
    """Seconds in a new clone with empty caches; of what it installs; and of the same target again.

    What the target leaves running is stopped; the clone is removed.
    """
    rmtree(folder, ignore_errors=True)
    checkout, home = folder / "bookworks", folder / "home"
    subprocess.run(["git", "clone", "-q", str(PROJECT_ROOT), str(checkout)], check=True)
    home.mkdir()
    environment = newcomer(home)
    try:
        install = _seconds("install", checkout, environment)
        first, again = (_seconds(target, checkout, environment) for _ in range(2))
    finally:
        subprocess.run(["make", "down"], cwd=checkout, env=environment, check=False)
        rmtree(folder, ignore_errors=True)
    return [Figure(f"install, then {target}", "s", [install + first]), Figure("install", "s", [install]),
            Figure(f"{target} again", "s", [again])]  # fmt: skip


def newcomer(home: Path) -> dict[str, str]:
    """This environment without settings of ours, with a home of its own in which every cache is."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BOOKWORKS_", "UV_", "VIRTUAL_"))}
    return own | {
        "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "GOPATH": str(home / "go"),
        "GOCACHE": str(home / ".cache" / "go-build"), "GOMODCACHE": str(home / "go" / "mod"),
        "MAVEN_OPTS": f"-Dmaven.repo.local={home / '.m2'}",
    }  # fmt: skip


def _seconds(target: str, checkout: Path, environment: Mapping[str, str]) -> float:
    began = monotonic()
    code = subprocess.run(["make", target], cwd=checkout, env=environment, check=False).returncode
    if code:
        raise TransientError(f"`make {target}` failed, so its time says nothing", received=f"exit code {code}")
    return monotonic() - began
