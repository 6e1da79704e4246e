"""`bookworks works merge|split|undo|decisions|review|labels`: what a person decides about works."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bookworks.errors import TerminalError
from bookworks.settings import Settings, get_settings
from spark_jobs.works import decisions
from spark_jobs.works.decisions import Decision, ReviewPair
from spark_jobs.works.labels import write_labels, write_records

SHOWN = ("title", "author", "series", "year", "publisher", "language", "isbn13", "format")
EFFECT = "takes effect with the next run of the DAG catalogue"
QUESTION = "same (s), different (d), skip (Enter), quit (q): "
Choice = Literal["same", "different", "skip", "quit"]
CHOICES: dict[str, Choice] = {"s": "same", "d": "different", "": "skip", "q": "quit"}

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Who = Annotated[str | None, typer.Option("--who", help="Who decides; without it the log-in name.")]
Why = Annotated[str, typer.Option("--why", help="The reason; kept with the decision.")]


@app.command()
def merge(
    works: Annotated[list[str], typer.Argument(metavar="WORK", help="Ids of works that are one.")],
    why: Why,
    who: Who = None,
) -> None:
    """Decide that works are one."""
    _confirm(decisions.merge(get_settings(), works, name_of(who), why))


@app.command()
def split(
    work: Annotated[str, typer.Argument(help="Id of the work.")],
    editions: Annotated[list[str], typer.Argument(metavar="EDITION", help="Ids of the editions that leave it.")],
    why: Why,
    who: Who = None,
) -> None:
    """Decide that editions do not belong to a work."""
    _confirm(decisions.split(get_settings(), work, editions, name_of(who), why))


@app.command()
def undo(
    decision: Annotated[int, typer.Argument(help="Number of the decision; see `bookworks works decisions`.")],
    who: Who = None,
) -> None:
    """Take a decision back."""
    undone = decisions.undo(get_settings(), decision, name_of(who))
    typer.echo(f"decision {undone.decision_id} ({_describe(undone)}) is undone; {EFFECT}")


@app.command("decisions")
def list_decisions(
    as_json: AsJson = False,
    undone: Annotated[bool, typer.Option("--all", help="Also those that were undone.")] = False,
) -> None:
    """List decisions, oldest first."""
    settings = get_settings()
    found = decisions.history(settings) if undone else decisions.standing(settings)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], default=str))
    elif not found:
        typer.echo("Nobody has decided anything yet.")
    else:
        console().print(_decision_table(found))


@app.command()
def review(
    n: Annotated[int, typer.Option("--n", min=1, help="At most so many pairs.")] = 20,
    sample: Annotated[
        bool, typer.Option("--sample", help="Pairs drawn at random instead: their answers say how good the works are.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the pairs as JSON and ask nothing.")] = False,
    who: Who = None,
) -> None:
    """Show pairs of editions that the scorer is not sure of, most readers first, and ask whether they are one work."""
    settings = get_settings()
    if as_json:
        typer.echo(json.dumps([asdict(pair) for pair in decisions.queue(settings, n, sample)]))
        return
    if not sys.stdin.isatty():
        raise TerminalError(
            "A review asks a person, and standard input is no terminal",
            todo="run it in a terminal, or print the pairs with --json.",
        )
    answered = _review(settings, n, sample, name_of(who))
    if answered:
        typer.echo(f"{answered} answered; {EFFECT}. `bookworks works undo DECISION` takes an answer back.")


@app.command("labels")
def labels_command(
    output: Annotated[Path, typer.Option(help="CSV to write: left_id, right_id, same (1 or 0).")],
    records: Annotated[Path | None, typer.Option(help="CSV to write: the editions that the labels are of.")] = None,
) -> None:
    """Write the answers that stand as labels, for the training of the scorer."""
    settings = get_settings()
    found = decisions.labels(settings)
    write_labels(found, output)
    if records:
        write_records(settings, records)
    typer.echo(f"{len(found):,} labels: {output}")


def _review(settings: Settings, n: int, sample: bool, who: str) -> int:
    """Ask about `n` pairs at most; returns how many were answered."""
    pairs = decisions.queue(settings, n, sample)
    if not pairs:
        typer.echo("Nothing waits for a review; the DAG catalogue fills the queue.")
    answered = 0
    for number, pair in enumerate(pairs, 1):
        if answered and decisions.is_answered(settings, pair):
            continue
        # What the scorer thinks of a random pair is not told: it would colour the answer.
        told = "drawn at random" if sample else f"{pair.readers:,} readers, probability {pair.probability:.2f}"
        console().print(_pair_table(pair, f"{number} of {len(pairs)}: {told}"))
        choice = _ask()
        if choice == "quit":
            break
        if choice != "skip":
            stored = decisions.answer(settings, pair.left_edition, pair.right_edition, choice == "same", who)
            typer.echo(f"stored as decision {stored.decision_id}")
            answered += 1
    return answered


def _ask() -> Choice:
    """What the person chose; the end of the input is to quit."""
    while True:
        try:
            typed = input(QUESTION).strip().lower()
        except EOFError:
            return "quit"
        if typed in CHOICES:
            return CHOICES[typed]
        typer.echo(f"{typed!r} is none of the choices.")


def _pair_table(pair: ReviewPair, title: str) -> Table:
    """Both editions side by side; what differs is bold."""
    table = Table("", "left", "right", title=title, title_justify="left")
    table.columns[1].overflow = table.columns[2].overflow = "fold"
    table.add_row("edition", Text(pair.left_edition), Text(pair.right_edition))
    for name in SHOWN:
        left, right = (_plain(side.get(name)) for side in (pair.left, pair.right))
        style = "bold" if left != right else "dim"
        table.add_row(name, Text(left, style), Text(right, style))
    return table


def _decision_table(found: Sequence[Decision]) -> Table:
    table = Table("decision", "what", "why", "who", "when", "undone")
    for one in found:
        undone = f"{one.undone_by}, {one.undone_at:%Y-%m-%d %H:%M}" if one.undone_at else ""
        cells = (str(one.decision_id), _describe(one), one.why, one.who, f"{one.at:%Y-%m-%d %H:%M}", undone)
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    return table


def _confirm(decision: Decision) -> None:
    typer.echo(f"decision {decision.decision_id} ({_describe(decision)}) is stored; {EFFECT}")


def _describe(decision: Decision) -> str:
    """A decision in words, short."""
    left, right = len(decision.left_editions), len(decision.right_editions)
    if decision.kind == "merge":
        return f"merge of {', '.join(decision.works)}: {left + right:,} editions"
    if decision.kind == "split":
        return f"split of {', '.join(decision.works)}: {left:,} of {left + right:,} editions out"
    return f"{decision.left_editions[0]} and {decision.right_editions[0]}: {decision.kind}"


def name_of(who: str | None) -> str:
    """`who`, or the log-in name.

    Raises:
        TerminalError: the machine has no name for the user.
    """
    if who is not None:
        return who
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise TerminalError("This machine has no log-in name for you", todo="say who decides: --who NAME.") from None


def _plain(value: object) -> str:
    return "" if value is None else str(value)


def console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=160)
