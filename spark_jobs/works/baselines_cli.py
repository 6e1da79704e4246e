"""`bookworks works baselines`: what simple and well-known ways find in a labelled catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bookworks.errors import TerminalError
from spark_jobs.works import baselines
from spark_jobs.works.baselines import Record, Works
from spark_jobs.works.evaluation import evaluate, read_works
from spark_jobs.works.files import Columns, read_rows

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
KINDS = ("bcubed", "pairwise")
PARTS = ("precision", "recall", "f1")


@app.command("baselines")
def baselines_command(
    input: Annotated[Path, typer.Option(help="Catalogue: CSV, also gzipped.")],
    columns: Annotated[str, typer.Option(help="Which column is what, as for `works cluster`.")],
    truth: Annotated[Path, typer.Option(help="CSV: record_id, work.")],
    clusters: Annotated[Path | None, typer.Option(help="Of `works cluster`, to stand beside them.")] = None,
    separator: Annotated[str, typer.Option(help="Between fields.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of the catalogue.")] = "utf-8",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Cluster a labelled catalogue by an exact key, by titles alike, and by Splink where that is installed."""
    console = Console(stderr=True)
    known = read_works(truth, ("work", "work_id"))
    found: dict[str, dict[str, float]] = {}
    if clusters:
        found["bookworks"] = evaluate(read_works(clusters, ("work_id", "work")), known).scores
    with console.status("reading"):
        records = baselines.parse(read_rows(input, Columns.of_text(columns), separator, encoding, []))
    for name, works, seconds in _timed(records, console):
        found[name] = evaluate(works, known).scores | {"records_per_second": len(records) / seconds}
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        Console().print(_table(found))


def _timed(records: list[Record], console: Console) -> Iterator[tuple[str, Works, float]]:
    """Name, works, seconds of each; Splink at each threshold, its seconds those until the first."""
    for name, find in (("exact key", baselines.exact_key), ("titles alike", baselines.titles_alike)):
        began = monotonic()
        yield name, find(records), monotonic() - began
    began, seconds = monotonic(), 0.0
    try:
        for threshold, works in baselines.splink(records):
            seconds = seconds or monotonic() - began
            yield f"Splink, {threshold}", works, seconds
    except TerminalError as error:
        console.print(f"without Splink: {error}", style="yellow", markup=False)


def _table(found: dict[str, dict[str, float]]) -> Table:
    table = Table("", *(f"{kind[0].upper()} {part[0].upper()}" for kind in KINDS for part in PARTS), "records/s")
    table.caption = "B-cubed and pairwise precision, recall, F1"
    for name, scores in found.items():
        told = [f"{scores[f'{kind}_{part}']:.4f}" for kind in KINDS for part in PARTS]
        rate = scores.get("records_per_second")
        table.add_row(name, *told, f"{rate:,.0f}" if rate else "")
    return table
