"""`bookworks doctor | install | up | status | logs | down`."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

from bookworks.errors import TerminalError
from bookworks.settings import PROJECT_ROOT, get_settings
from infra.local import doctor as examination
from infra.local import install as installation
from infra.local import stack
from infra.local.layout import Layout, layout_of
from infra.local.server import context_of
from infra.local.servers import ALL, pick
from infra.local.supervisor import NAME as SUPERVISOR

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Servers = Annotated[list[str] | None, typer.Argument(help=f"Of: {', '.join(ALL)}. None means all.")]
STYLES = {"up": "green", "down": "red", "failed": "red", "not answering": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Name each missing prerequisite and the command that installs it; exit 1 when something is missing."""
    findings = examination.examine(get_settings())
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        table = Table("what", "", "found", "wanted", "to do")
        for one in findings:
            mark = "[green]ok[/]" if one.ok else "[red]missing[/]"
            table.add_row(one.name, mark, one.found, one.wanted, "" if one.ok else one.remedy)
        Console().print(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def install() -> None:
    """Fetch and build what no Python wheel brings: Kafka, Neo4j, MinIO, Spark's jars for S3 and Postgres."""
    console = Console()
    begun = time.monotonic()
    examination.require(get_settings())
    installation.install(get_settings(), console)
    with console.status("Spark's classes"):
        command = [sys.executable, "-m", "spark_jobs.class_archive"]
        made = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        console.print("jobs of Spark will start some seconds later than they could", style="yellow")
        console.print(made.stderr[-500:], markup=False, highlight=False)
    console.print(f"installed in {time.monotonic() - begun:.0f} s", highlight=False)


def up(servers: Servers = None) -> None:
    """Start the servers and wait until each answers to its password; may be called twice."""
    begun = time.monotonic()
    with Live(console=Console(), refresh_per_second=4) as live:
        try:
            stack.up(get_settings(), servers or [], lambda runs: live.update(_progress_table(runs)))
        finally:
            live.console.line()
    settings = get_settings()
    print(f"all up after {time.monotonic() - begun:.1f} s; logs: {layout_of(settings).logs}")


def _progress_table(runs: list[stack.Progress]) -> Table:
    table = Table("server", "state", "seconds", "")
    for run in runs:
        style = STYLES.get(run.state, "yellow")
        seconds = f"{run.seconds:.1f}" if run.seconds else ""
        table.add_row(run.server.name, f"[{style}]{run.state}[/]", seconds, "ran already" if run.was_running else "")
    return table


def status(servers: Servers = None, as_json: AsJson = False) -> None:
    """Say which servers run and answer; exit 1 when one does not."""
    lines = stack.health(get_settings(), servers or [])
    if as_json:
        print(json.dumps([dataclasses.asdict(line) for line in lines], indent=1))
    else:
        table = Table("server", "state", "memory", Column("address", overflow="fold"), Column(overflow="fold"))
        for line in lines:
            state = f"[{STYLES[line.state]}]{line.state}[/]"
            table.add_row(line.server, state, f"{line.memory_mb} MiB", line.address, line.detail)
        Console().print(table)
    if any(line.state != "up" for line in lines):
        raise typer.Exit(1)


def logs(
    server: Annotated[str, typer.Argument(help=f"Of: {', '.join(ALL)}, a program of theirs, or {SUPERVISOR}.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as the log grows.")] = False,
    n: Annotated[int, typer.Option("-n", min=0, help="Last lines to begin with.")] = 50,
) -> None:
    """Show a server's log."""
    paths = _log_files(server)
    for path in paths:
        if len(paths) > 1:
            print(f"==> {path.name} <==")
        print("\n".join(stack.tail(path, n)))
    if follow:
        _follow(paths)


def _log_files(server: str) -> list[Path]:
    context = context_of(get_settings())
    layout: Layout = context.layout
    programs = {program.name for one in ALL.values() for program in one.programs(context)} | {SUPERVISOR}
    if server in ALL:
        names = (
            [program.name for program in pick([server])[-1].programs(context)] if server not in programs else [server]
        )
    elif server in programs:
        names = [server]
    else:
        raise TerminalError("There is no such server", received=server, allowed=", ".join([*ALL, *sorted(programs)]))
    there = [layout.log(name) for name in names if layout.log(name).exists()]
    if not there:
        raise TerminalError("There is no log yet", received=server, todo=f"run `bookworks up {server}`.")
    return there


def _follow(paths: list[Path]) -> None:
    places = {path: path.stat().st_size for path in paths}
    while True:
        for path, place in places.items():
            size = path.stat().st_size if path.exists() else 0
            since = place if size >= place else 0  # a smaller file has been rotated
            if size > since:
                with path.open("rb") as file:
                    file.seek(since)
                    sys.stdout.write(file.read(size - since).decode(errors="replace"))
                    sys.stdout.flush()
            places[path] = size
        time.sleep(0.3)


def down(
    servers: Servers = None,
    wipe: Annotated[bool, typer.Option("--wipe", help="Then remove all data, logs and secrets.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --wipe.")] = False,
) -> None:
    """Stop every server (or those named); leaves no process behind."""
    settings = get_settings()
    if servers and wipe:
        raise TerminalError(
            "--wipe removes everything", received=f"--wipe {' '.join(servers)}", todo="leave one of them out."
        )
    where = layout_of(settings)
    if wipe:
        stack.to_wipe(settings)
    if wipe and not yes:
        typer.confirm(f"Remove all data of the stack in {where.state}?", abort=True)
    apart = stack.down(settings, servers)
    print("stopped" + (f"; {apart} processes had to be ended one by one" if apart else ""))
    if wipe:
        stack.wipe(settings)
        print(f"removed {where.state}")
