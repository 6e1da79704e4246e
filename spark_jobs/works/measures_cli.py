"""`bookworks works measures|accept`: how good the works of the platform are, and taking them all the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from bookworks.errors import TerminalError
from bookworks.metrics.bootstrap import Interval
from bookworks.settings import get_settings
from spark_jobs.works import verdicts
from spark_jobs.works.decisions_cli import Who, Why, console, name_of
from spark_jobs.works.verdicts import Verdict

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("measures")
def show_measures(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what was measured last, beside the works it was compared with."""
    settings = get_settings()
    found = verdicts.last(settings)
    if found is None:
        raise TerminalError("The works were not measured yet", todo="run the DAG catalogue.")
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"state": found.state}, default=str))
        return
    console().print(_table(found, verdicts.baseline(settings, found.version)))
    for complaint in found.complaints:
        typer.echo(complaint)
    if found.accepted_at:
        typer.echo(f"accepted by {found.accepted_by}: {found.why}")


@app.command()
def accept(why: Why, who: Who = None) -> None:
    """Let works that were refused go on, and compare later ones with them."""
    taken = verdicts.accept(get_settings(), name_of(who), why)
    typer.echo(f"the works {taken.version} are accepted ({'; '.join(taken.complaints)}); "
               "clear the task evaluate_works of the DAG catalogue, and it goes on")  # fmt: skip


def _table(found: Verdict, before: Verdict | None) -> Table:
    now, then = found.intervals(), before.intervals() if before else {}
    table = Table("measure", found.version, before.version if before else "", title=found.state, title_justify="left")
    for name, value in now.items():
        table.add_row(name, _told(value), _told(then[name]) if name in then else "")
    return table


def _told(one: Interval) -> str:
    if one.low == one.high:
        return f"{one.value:,.4f}".rstrip("0").rstrip(".")
    return f"{one.value:.4f} ({one.low:.3f} to {one.high:.3f})"
