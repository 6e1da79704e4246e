"""Parquet of editions -> what a model may know of each: author, series, place in it, house, year, work.

    python -m spark_jobs.describe_editions editions.parquet --out described.parquet

The same reading of titles and names that clusters works, in one process, without Spark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from bookworks.cli.entry import run
from bookworks.contracts.editions import DESCRIBED
from spark_jobs.text_repair import repair
from spark_jobs.works.aliases import load_aliases
from spark_jobs.works.persons import Aliases, names_are_inverted
from spark_jobs.works.records import parse_record


def describe(editions: pa.Table) -> pa.Table:
    """`DESCRIBED` of `EDITIONS`, row by row."""
    rows = editions.to_pylist()
    inverted = sum(names_are_inverted(row["author"]) for row in rows) > 0
    aliases = Aliases(load_aliases())
    return pa.Table.from_pylist([_described(row, parse_record(row, inverted, aliases)) for row in rows], DESCRIBED)


def _described(row: dict[str, Any], parsed: dict[str, Any]) -> dict[str, Any]:
    author = f"{parsed['surname']} {parsed['given'][:1]}".strip() or None
    series = f"{parsed['surname']} {parsed['series']}" if parsed["series"] else None
    work = f"{author}/{parsed['main']}/{parsed['volume']}" if author and parsed["main"] else None
    return {
        "edition_id": row["edition_id"],
        "isbns": parsed["isbns"],
        "title": repair(row["title"])[0],
        "work_key": work,
        "author_id": author,
        "series_id": series,
        "series_number": _number(parsed["series_number"] or parsed["volume"]),
        "publisher": parsed["publisher"] or None,
        "year": int(parsed["year"]) if parsed["year"] else None,
        "language": parsed["language"] or parsed["guess"] or None,
    }


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def main(
    editions: Annotated[Path, typer.Argument(help="Parquet of editions.")],
    out: Annotated[Path, typer.Option(help="Parquet to write.")],
) -> None:
    """Write what a model may know of each edition."""
    pq.write_table(describe(pq.read_table(editions)), out)


if __name__ == "__main__":
    run(lambda: typer.run(main))
