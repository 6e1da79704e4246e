"""`bookworks install`: fetch and build the servers that no Python wheel brings, each of a pinned version.

Every part has a marker with its version, written last: a part without it is made again from nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bookworks.errors import SettingError, TerminalError, TransientError
from bookworks.settings import Settings
from infra.local.layout import write_private
from infra.local.servers import postgres

KAFKA, NEO4J, HADOOP, AWS_SDK, JDBC = "4.1.1", "5.26.0", "3.5.0", "2.35.4", "42.7.8"
MINIO = "v0.0.0-20260212201848-7aac2a2c5b7c"
MARKER = "installed.json"
TRIES = 2  # several Mavens fill one cache at once, and registries hiccup


@dataclass(frozen=True)
class Jar:
    """A Maven artifact, and what it shall not bring along."""

    group: str
    artifact: str
    version: str
    without: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Part:
    """Something to install under `tools_dir/<name>`.

    Attributes:
        version: what the marker must say; another one means: install again.
        make: fills an empty folder.
    """

    name: str
    version: str
    make: Callable[[Path], None]


def _maven(*jars: Jar, leave_out: tuple[str, ...] = ()) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "pom.xml").write_text(pom(jars))
        command = [
            "mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'jars'}",
        ]  # fmt: skip
        if leave_out:
            command.append(f"-DexcludeArtifactIds={','.join(leave_out)}")
        _run(command, os.environ)

    return make


def pom(jars: tuple[Jar, ...]) -> str:
    """A Maven project that depends on `jars` and is nothing else."""
    wanted = "".join(
        f"<dependency><groupId>{jar.group}</groupId><artifactId>{jar.artifact}</artifactId>"
        f"<version>{escape(jar.version)}</version><exclusions>"
        + "".join(
            f"<exclusion><groupId>{group}</groupId><artifactId>{artifact}</artifactId></exclusion>"
            for group, artifact in jar.without
        )
        + "</exclusions></dependency>"
        for jar in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>bookworks</groupId><artifactId>server</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{wanted}</dependencies></project>\n"
    )


def _build_minio(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="bookworks-go-") as work:
        env = os.environ | {"GOBIN": str(folder), "CGO_ENABLED": "0", "GOTMPDIR": work}
        _run(["go", "install", "-ldflags=-s -w", f"github.com/minio/minio@{MINIO}"], env)


def _run(command: list[str], env: os._Environ[str] | dict[str, str]) -> None:
    for _ in range(TRIES):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(env))
        except FileNotFoundError:
            raise TerminalError(f"`{command[0]}` is missing", todo="run `bookworks doctor`.") from None
        if not done.returncode:
            break
    else:
        raise TransientError(
            f"`{command[0]}` failed ({done.returncode})",
            received=(done.stdout + done.stderr).strip()[-1500:],
            todo="check that the package registries can be reached, then run `bookworks install` again.",
        )


def parts() -> list[Part]:
    """Everything to install, the slowest first."""
    sdk = "software.amazon.awssdk"
    no_bundle = ((sdk, "bundle"),)
    return [
        Part("minio", MINIO, _build_minio),
        Part("neo4j", NEO4J, _maven(
            Jar("org.neo4j.app", "neo4j-server", NEO4J), Jar("org.neo4j", "neo4j", NEO4J))),
        Part("spark-jars", f"hadoop-aws {HADOOP}, sdk {AWS_SDK}, postgresql {JDBC}", _maven(
            Jar("org.apache.hadoop", "hadoop-aws", HADOOP, no_bundle),
            *(Jar(sdk, name, AWS_SDK) for name in ("s3", "s3-transfer-manager", "sts")),
            Jar("org.postgresql", "postgresql", JDBC),
            leave_out=("slf4j-api",))),
        Part("kafka", KAFKA, _maven(Jar("org.apache.kafka", "kafka_2.13", KAFKA))),
    ]  # fmt: skip


def installed(settings: Settings, part: Part) -> bool:
    """Whether the part is there, whole, of the right version."""
    try:
        marker = json.loads((settings.tools_dir / part.name / MARKER).read_text())
        return bool(marker["version"] == part.version)
    except (OSError, ValueError, KeyError):
        return False


def missing(settings: Settings, names: set[str] | None = None) -> list[Part]:
    """Parts still to install, of those named (or all)."""
    return [part for part in parts() if (names is None or part.name in names) and not installed(settings, part)]


def install_one(settings: Settings, part: Part) -> float:
    """Install one part beside its place and put it there when it is whole; returns seconds."""
    begun = time.monotonic()
    target = settings.tools_dir / part.name
    work = settings.tools_dir / f".{part.name}.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        part.make(work)
        write_private(work / MARKER, json.dumps({"version": part.version}))
        shutil.rmtree(target, ignore_errors=True)
        work.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return time.monotonic() - begun


def install(settings: Settings, console: Console) -> dict[str, float]:
    """Install what is missing, all at once, with progress; returns seconds per part.

    Raises:
        TerminalError: a program that builds or fetches is missing.
        TransientError: fetching or building failed; the message has its last words.
    """
    try:
        settings.tools_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            "The folder of the servers cannot be used",
            received=f"{settings.tools_dir}: {error.strerror}",
            todo="set BOOKWORKS_TOOLS_DIR to another one.",
        ) from None
    postgres.copy_binaries()
    todo = missing(settings)
    for part in parts():
        if part.name not in {one.name for one in todo}:
            console.print(f"{part.name}: there already ({part.version})", highlight=False)
    if not todo:
        return {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(len(todo)) as pool:
        running = {part.name: pool.submit(_with_progress, settings, part, progress) for part in todo}
        return {name: future.result() for name, future in running.items()}


def _with_progress(settings: Settings, part: Part, progress: Progress) -> float:
    task = progress.add_task(f"{part.name}: {part.version}", total=1)
    seconds = install_one(settings, part)
    progress.update(task, completed=1, description=f"{part.name}: done")
    if not progress.console.is_terminal:
        progress.console.print(f"{part.name}: installed in {seconds:.0f} s", highlight=False)
    return seconds
