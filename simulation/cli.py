"""`bookworks simulate generate|play`."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

WORLD_SEED = 7  # that of `bookworks demo`, so that `play` meets the readers it made

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Generate readers and books with known truth; play readers."
)


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="Folder to write to; made if missing.")],
    works: Annotated[int, typer.Option(help="Works; each has one to six editions.")] = 3_000,
    readers: Annotated[int, typer.Option(help="Readers.")] = 2_000,
    events: Annotated[
        int, typer.Option(help="Exact number of good lines in interactions.jsonl, impressions among them.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed and options give the same bytes.")] = WORLD_SEED,
    dirt: Annotated[float, typer.Option(help="Share of broken lines put between the good ones.")] = 0.0,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day, UTC.")] = datetime(2025, 7, 1),
    days: Annotated[int, typer.Option(help="Length of the period, days.")] = 184,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Write catalogue.jsonl, readers.jsonl, interactions.jsonl, and the truth behind them in truth/."""
    from simulation.generate import Options
    from simulation.generate import generate as write

    options = Options(works=works, readers=readers, events=events, seed=seed, dirt=dirt, start=start.date(), days=days)
    with Console(stderr=True).status("making a world …"):
        counts = write(options, out)
    if as_json:
        typer.echo(json.dumps(counts))
    else:
        typer.echo(f"{out}: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))


@app.command()
def catalogue(
    out: Annotated[Path, typer.Option(help="Folder to write to; made if missing.")],
    works: Annotated[int, typer.Option(help="Works; each has one to six editions.")] = 3_000,
    seed: Annotated[int, typer.Option(help="The same seed and works give the same bytes.")] = WORLD_SEED,
) -> None:
    """Write the editions alone, without readers: records.csv, and truth.csv that says which are one work."""
    from simulation.generate import Options, write_catalogue

    with Console(stderr=True).status("making a catalogue …"):
        count = write_catalogue(Options(works=works, seed=seed), out)
    typer.echo(f"{out}: {count:,} records of {works:,} works")


@app.command()
def play(
    readers: Annotated[int, typer.Option(min=1, help="Readers to play.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the readers' choices.")] = 1,
    sessions: Annotated[int, typer.Option(min=1, help="Slates that each reader asks for.")] = 1,
    world_works: Annotated[int, typer.Option(help="--works with which the loaded world was generated.")] = 3_000,
    world_readers: Annotated[int, typer.Option(help="--readers with which it was generated.")] = 2_000,
    world_seed: Annotated[int, typer.Option(help="--seed with which it was generated.")] = WORLD_SEED,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let made-up readers ask the running service, click and rate; print click-through and latencies."""
    from rich.progress import Progress

    from bookworks.settings import get_settings
    from simulation.play import Played, World
    from simulation.play import play as run

    world = World(world_works, world_readers, world_seed)
    played = Played()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("playing readers", total=readers)
        for played in run(get_settings(), world, readers, seed, sessions):
            progress.update(task, completed=played.readers)
    summary = played.summary()
    if as_json:
        typer.echo(json.dumps(summary))
        return
    for name, value in summary.items():
        typer.echo(f"{name.replace('_', ' '):28}{value}")
