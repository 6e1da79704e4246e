"""`bookworks demo`: the whole line on real servers, through Airflow, and what came of it.

`bookworks demo` generates readers and books; `bookworks demo --data DIR` takes real files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bookworks.adapters import airflow as airflow_api
from bookworks.adapters import registry
from bookworks.clock import now
from bookworks.contracts.bundle import CHAMPION
from bookworks.contracts.generator import EVENTS, READERS, SEED, WORKS
from bookworks.errors import TerminalError
from bookworks.settings import Settings, get_settings
from infra.local import showcase
from infra.local.command import run_command
from infra.local.follow import Refused, TaskTime, follow, wait_until_read

CHAIN = ["catalogue", "features", "train_and_promote", "publish"]
Steps = list[tuple[str, float]]


def demo(
    data: Annotated[Path | None, typer.Option(help="Folder of real files; empty: generate.")] = None,
    source: Annotated[str, typer.Option(help="Loader of the files; auto looks at them.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows a file at most.")] = None,
    works: Annotated[int, typer.Option(min=WORKS[0], max=WORKS[1], help="Works to generate.")] = 3_000,
    readers: Annotated[int, typer.Option(min=20, max=READERS[1], help="Readers to generate.")] = 2_000,
    events: Annotated[int, typer.Option(min=200, max=EVENTS[1], help="Events to generate.")] = 100_000,
    seed: Annotated[int, typer.Option(min=SEED[0], max=SEED[1], help="Seed of the generator.")] = 7,
    plays: Annotated[int, typer.Option(min=0, help="Generated readers to play against the service.")] = 30,
) -> None:
    """Start the servers, run the DAGs, show recommendations and where to look."""
    console = Console()
    if data is not None and not data.is_dir():
        raise TerminalError(
            "The folder of data is not there", received=data, allowed="a folder of files that a loader knows",
            todo="give its path, for example `make demo DATA=path/to/book-crossing`.",
        )  # fmt: skip
    steps: Steps = []
    with step(console, steps, "servers up"):
        run_command("up")
    get_settings.cache_clear()  # the first `up` has made the secrets
    settings = get_settings()
    folder = data.resolve() if data else settings.state_dir / "demo"
    if data is None:
        with step(console, steps, "readers and books generated"):
            sizes = [f"--works={works}", f"--readers={readers}", f"--events={events}", f"--seed={seed}"]
            run_command("simulate", "generate", *sizes, f"--out={folder}")
    tasks = run_dags(console, steps, settings, folder, source, limit)
    if plays and data is None:
        with step(console, steps, "readers play against the service"):
            world = [f"--world-works={works}", f"--world-readers={readers}", f"--world-seed={seed}"]
            run_command("simulate", "play", f"--readers={plays}", *world)
    showcase.show(console, settings, steps, tasks)


def run_dags(
    console: Console, steps: Steps, settings: Settings, folder: Path, source: str, limit: int | None
) -> list[TaskTime]:
    """Trigger `catalogue` and follow what it sets off; returns the time of each task.

    Raises:
        Refused: the gate refused, and there is no champion yet that could serve on.
    """
    with airflow_api.connect(settings) as airflow:
        with step(console, steps, "DAGs read by Airflow"):
            wait_until_read(airflow, [*CHAIN, "housekeeping"])
        with step(console, steps, "DAGs run by Airflow"):
            since = now()
            airflow.trigger("catalogue", {"path": str(folder), "source": source, "limit": str(limit or "")})
            try:
                return follow(airflow, CHAIN, since)
            except Refused as refused:
                _serve_on(console, settings, refused)
                return refused.times


def _serve_on(console: Console, settings: Settings, refused: Refused) -> None:
    """Say why the gate refused and who serves; without a champion the refusal is the demo's end."""
    with registry.connect(settings) as client:
        champion = registry.version_of_alias(client, settings, CHAMPION)
    if champion is None:
        raise refused
    console.print("The gate refused the new bundle, so there is nothing to publish.", style="yellow")
    for line in refused.verdict:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"The champion serves on: {champion}.", highlight=False)


@contextmanager
def step(console: Console, steps: Steps, name: str) -> Iterator[None]:
    """Say what begins, and keep how long it took."""
    console.rule(name, align="left")
    started = time.monotonic()
    yield
    steps.append((name, time.monotonic() - started))
