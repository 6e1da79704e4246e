"""`bookworks works repairs`: what the cleaning would make of any catalogue, without a server or Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bookworks.clock import now
from bookworks.errors import SettingError
from spark_jobs.clean_catalogue import clean_row
from spark_jobs.works.files import Columns, read_rows, write_csv
from spark_jobs.works.records import FIELDS

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
HEADER = ("record_id", "field", "rule", "before", "after")


@app.command("repairs")
def repairs_command(
    input: Annotated[Path, typer.Option(help="Catalogue: CSV, also gzipped.")],
    columns: Annotated[
        str, typer.Option(help="Which column is what: id=record_id,title=Title,…; see `works cluster`.")
    ],
    output: Annotated[Path, typer.Option(help=f"CSV to write: {', '.join(HEADER)}.")],
    separator: Annotated[str, typer.Option(help="Between fields.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of the catalogue.")] = "utf-8",
) -> None:
    """Write each repair of a catalogue's texts, ISBNs and years: rule, before, after; needs no server."""
    if output.resolve() == input.resolve():
        raise SettingError("--output would overwrite the catalogue", received=output, todo="name another file.")
    rejected: list[tuple[int, str, str]] = []
    rules: Counter[tuple[str, str]] = Counter()
    rows = read_rows(input, Columns.of_text(columns), separator, encoding, rejected)
    rows = chain(list(islice(rows, 1)), rows)  # what is wrong with the input is told before a file is made
    write_csv(output, HEADER, _counted(repairs(rows), rules))
    _report(Console(stderr=True), rules, len(rejected), output)


def _counted(found: Iterator[tuple[Any, ...]], rules: Counter[tuple[str, str]]) -> Iterator[tuple[Any, ...]]:
    for repair in found:
        rules[repair[2], repair[1]] += 1
        yield repair


def repairs(rows: Iterator[tuple[str | None, ...]]) -> Iterator[tuple[Any, ...]]:
    """`HEADER` of each repair of rows of `records.FIELDS`."""
    fixed = {"source": "", "image_url": None, "subjects": None, "last_year": now().year + 1}
    for row in rows:
        clean = clean_row(dict(zip(FIELDS, row, strict=True)) | fixed)
        for change in clean["changes"]:
            yield row[0], change["field"], change["rule"], change["before"], change["after"]


def _report(console: Console, rules: Counter[tuple[str, str]], rejected: int, output: Path) -> None:
    table = Table("rule", "field", "repairs")
    for (rule, field), count in rules.most_common():
        table.add_row(rule, field, f"{count:,}")
    console.print(table)
    console.print(f"{rules.total():,} repairs: {output}")
    if rejected:
        console.print(f"{rejected:,} rows could not be read; `bookworks works cluster` names them", style="yellow")
