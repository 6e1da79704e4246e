"""`bookworks ingest load|wait|reconcile|dlq`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from bookworks.contracts.topics import TOPICS
from bookworks.errors import TerminalError
from bookworks.settings import get_settings

if TYPE_CHECKING:
    from ingestion.files_to_kafka import FileReport
    from ingestion.reconcile import PartitionCount

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Files and streams: load, reconcile, dead letters.")
dlq = typer.Typer(no_args_is_help=True, add_completion=False, help="Dead letters: what was refused, and why.")
app.add_typer(dlq, name="dlq")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TopicName = Annotated[str | None, typer.Option("--topic", help=f"Of: {', '.join(TOPICS)}. None means all.")]


def _console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


@app.callback()
def _quiet() -> None:
    """Kafka's client warns at each connection; what matters reaches the user as an error."""
    logging.getLogger("kafka").setLevel(logging.ERROR)


@app.command()
def load(
    path: Annotated[Path, typer.Option(help="Folder that holds the files of one source.")],
    source: Annotated[str, typer.Option(help="Name of the source, or auto: known by its files.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows of a file; look-ups whole.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send the rows of files to Kafka; each is sent, a duplicate, or a dead letter with the reason."""
    from ingestion import files_to_kafka

    console = Console(stderr=True)
    reports: dict[str, FileReport] = {}
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def show(report: FileReport) -> None:
            reports[report.file] = report
            live.update(_load_table(list(reports.values())))

        report = files_to_kafka.load(get_settings(), path, source, limit, show)
    if as_json:
        typer.echo(report.to_json().decode())
    else:
        _console().print(_load_table(report.files))
        for name in report.not_loaded:
            typer.echo(f"not loaded: {name} (no file of {report.source}, or of no use without another)")
        rows = sum(file.rows_in for file in report.files)
        typer.echo(
            f"{report.source}: {rows:,} rows in {report.seconds:.1f} s, {rows / max(report.seconds, 1e-3):,.0f}/s"
        )
    if (error := files_to_kafka.failed(report)) is not None:
        raise error


def _load_table(files: Sequence[FileReport]) -> Table:
    table = Table("file", "topic", "rows in", "sent", "used", "duplicates", "rejected", "reasons")
    for column in table.columns[2:7]:
        column.justify = "right"
    for file in files:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(file.rejected.items()))
        counts = (file.rows_in, file.sent, file.used, file.duplicates, sum(file.rejected.values()))
        table.add_row(file.file, file.topic, *(f"{n:,}" for n in counts), reasons)
    return table


@app.command()
def wait(
    timeout: Annotated[float, typer.Option(min=0, help="Give up after so many seconds.")] = 300.0,
    group: Annotated[list[str] | None, typer.Option(help="Only these consumer groups.")] = None,
) -> None:
    """Return when every consumer group has stored what is in Kafka now."""
    from ingestion import progress

    progress.wait(get_settings(), timeout, group or None)


@app.command()
def reconcile(
    as_json: AsJson = False,
    topic: TopicName = None,
    allow_pending: Annotated[
        bool, typer.Option("--allow-pending", help="Do not count as missing what the lake's consumer has yet to read.")
    ] = False,
) -> None:
    """Compare Kafka, lake and dead letters, offset by offset; exit 1 when they do not add up."""
    from ingestion import reconcile as reconciliation

    with Console(stderr=True).status("reading offsets …"):
        rows = reconciliation.reconcile(get_settings(), _topics(topic))
    wrong = [row for row in rows if not row.adds_up(allow_pending)]
    if as_json:
        typer.echo(json.dumps({"adds_up": not wrong, "partitions": [asdict(row) for row in rows]}, indent=1))
    else:
        _console().print(_reconcile_table(rows))
        typer.echo("it adds up" if not wrong else "it does NOT add up: see the columns missing and doubled")
    if wrong:
        raise typer.Exit(1)


def _reconcile_table(rows: Sequence[PartitionCount]) -> Table:
    names = ("produced", "stored", "duplicate", "dead_lettered", "missing", "pending", "doubled")
    table = Table("topic", "partition", *(name.replace("_", " ") for name in names))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(row.topic, str(row.partition), *(f"{getattr(row, name):,}" for name in names))
    totals = [sum(getattr(row, name) for row in rows) for name in names]
    table.add_section()
    table.add_row("all", "", *(f"{total:,}" for total in totals))
    return table


def _topics(name: str | None) -> list[str]:
    if name is None:
        return list(TOPICS)
    if name not in TOPICS:
        raise TerminalError("There is no such topic", received=name, allowed=", ".join(TOPICS))
    return [name]


@dlq.command("list")
def list_letters(
    topic: TopicName = None,
    show: Annotated[int, typer.Option(min=0, help="Examples to show of each reason.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Count dead letters by topic and reason, with examples."""
    from ingestion import replay

    counts = replay.summary(get_settings(), _topics(topic), show)
    if as_json:
        typer.echo(json.dumps([asdict(count) for count in counts], indent=1))
        return
    table = Table("topic", "reason", "letters", "replayed", "where", "detail", "raw")
    for count in counts:
        examples = count.examples or [replay.Example("", "", "")]
        seen = ("\n".join(getattr(one, name)[:60] for one in examples) for name in ("where", "detail", "raw"))
        table.add_row(count.topic, count.reason, f"{count.letters:,}", f"{count.replayed:,}", *seen)
    _console().print(table)


@dlq.command("replay")
def replay_letters(
    topic: TopicName = None,
    reason: Annotated[str | None, typer.Option(help="Only letters with this reason.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many letters.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters again, each once; a row of a file goes through its loader again first."""
    from ingestion import replay

    outcome = replay.replay(get_settings(), _topics(topic), reason, limit)
    if as_json:
        typer.echo(json.dumps(asdict(outcome)))
        return
    typer.echo(f"replayed {outcome.sent:,}; still refused, left as they are: {outcome.still_refused:,}")
    for why, n in sorted(outcome.reasons.items()):
        typer.echo(f"  {why}: {n:,} ({outcome.details[why]})")
