"""How fast a model ages: trained on all before a month, asked for the new works of each month after it.

    python -m training.rolling --interactions interactions.csv.gz --json rolling.json

In: CSV (plain or `.gz`) or Parquet with a reader, a work and a time in each row (columns `user_id, item_id, time`, or
as the library's loans have them, `u, i, t`; seconds since 1970 or timestamps). The whole catalogue is ranked. A pair
counts in the month it is first seen, so renewals are no hits. What a reader read before the month that is asked for is
known to every model, however old: the model ages, not the history. Readers without earlier works are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from pyarrow import csv
from rich.console import Console
from rich.table import Table

from bookworks.cli.entry import run
from bookworks.errors import ContractError
from bookworks.metrics.bootstrap import Interval, mean_interval
from bookworks.metrics.ranking import Values, find_hits, ndcg_at, recall_at
from training.dataset import TRAIN, Dataset
from training.files import write_json
from training.measuring import K
from training.params import Options
from training.recommenders.all import Fitter
from training.recommenders.base import Batch, Recommender
from training.split_files import by_hash

NAMES = (("user_id", "u"), ("item_id", "i"), ("time", "t"))
BLEND = {"item_filter": 1.0, "item_knn": 0.5, "popularity": 0.1}
CONFIGS: dict[str, dict[str, Any]] = {
    "item_filter": {"reader_power": 0.3, "work_power": 0.3, "top_k": 100},
    "blend": {"sources": tuple(BLEND), "weights": BLEND},
}
METRICS = ("recall_at_20", "ndcg_at_20")
Whole = npt.NDArray[np.int64]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Loans:
    """Each pair of reader and work once, in the month of its first time.

    Attributes:
        data: all pairs as training rows, in the order of `month`.
        month: of each row, months since the first, int64.
        first: the first month.
    """

    data: Dataset
    month: Whole
    first: np.datetime64

    def before(self, month: int) -> Dataset:
        """The rows before a month."""
        return self.data.replaced(self.data.interactions.filter(pa.array(self.month < month)))

    def within(self, month: int) -> Dataset:
        """The rows of a month."""
        return self.data.replaced(self.data.interactions.filter(pa.array(self.month == month)))


@dataclass(frozen=True)
class Asked:
    """Readers with earlier works who read new ones in one month."""

    readers: Whole
    batch: Batch
    relevant: list[list[int]]


@dataclass(frozen=True)
class Measured:
    """Recall and NDCG of one model of one age for the readers of one month."""

    model: str
    age: int
    month: int
    readers: Whole
    values: dict[str, Values]


@app.command()
def rolling(
    interactions: Annotated[Path, typer.Option(help="CSV, plain or .gz, or Parquet: reader, work, time.")],
    out: Annotated[Path | None, typer.Option("--json", help="Write the numbers here.")] = None,
    models: Annotated[str, typer.Option(help="Names, separated by commas.")] = "popularity,item_filter,blend",
    min_months: Annotated[int, typer.Option(min=1, help="Months that the first model learns from.")] = 3,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Measure models by their age in months, with 95 % intervals over readers."""
    loans = read_loans(interactions)
    found = list(measured(loans, models.split(","), min_months, Options(threads=threads)))
    rows = by_age(found)
    if out is not None:
        write_json(out, {"first_month": str(loans.first), "pairs": int(loans.month.size), "rows": rows})
    show(rows)


def read_loans(path: Path) -> Loans:
    """The file's pairs, oldest first.

    Raises:
        ContractError: a column is missing, or there is nothing in it.
    """
    table = pq.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path)
    columns = [_column(table, names, path) for names in NAMES]
    times = _seconds(columns[2])
    order = np.argsort(times, kind="stable")
    reader, work = (np.asarray(pc.cast(column, pa.string()).to_pylist())[order] for column in columns[:2])
    readers, reader = np.unique(reader, return_inverse=True)
    names, work = np.unique(work, return_inverse=True)
    works = sorted(names.tolist(), key=by_hash)
    work = np.argsort(np.searchsorted(names, works))[work]
    _, kept = np.unique(reader * len(works) + work, return_index=True)
    kept.sort()
    months = times[order][kept].astype("datetime64[s]").astype("datetime64[M]")
    rows = pa.table(
        {
            "reader": pa.array(reader[kept], pa.int64()),
            "work": pa.array(work[kept], pa.int64()),
            "weight": pa.array(np.ones(kept.size, dtype=np.float32)),
            "part": pa.array([TRAIN] * kept.size),
        }
    )
    nobody = pa.nulls(len(readers), pa.string())
    people = pa.table({"user_id": readers.tolist(), "age_bin": nobody, "country": nobody})
    data = Dataset(pa.table({"work_id": works}), people, rows, len(readers))
    return Loans(data, (months - months[0]).astype(np.int64), months[0])


def _column(table: pa.Table, names: Sequence[str], path: Path) -> pa.ChunkedArray:
    found = [name for name in names if name in table.column_names]
    if not found or not table.num_rows:
        raise ContractError(
            f"{path.name} has no {names[0]}",
            received=f"{table.num_rows} rows of {', '.join(table.column_names)}",
            allowed=f"at least one row, and a column {' or '.join(names)}",
        )
    return table[found[0]].combine_chunks()


def _seconds(column: pa.Array) -> npt.NDArray[np.int64]:
    """Seconds since 1970 of numbers or timestamps."""
    if pa.types.is_timestamp(column.type):
        column = pc.cast(pc.floor_temporal(column, unit="second"), pa.timestamp("s")).cast(pa.int64())
    values: npt.NDArray[np.int64] = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def measured(loans: Loans, models: Sequence[str], min_months: int, options: Options) -> Iterator[Measured]:
    """Every model trained before each month, on each month from there on; age 0 is the month right after training."""
    last = int(loans.month.max(initial=0))
    asked = {month: ask(loans, month) for month in range(min_months, last + 1)}
    for trained in range(min_months, last + 1):
        known, fitter = loans.before(trained), Fitter(options, CONFIGS)
        for name in models:
            model = fitter.fit(name, known)
            for month in range(trained, last + 1):
                values = measure(model, asked[month], options.threads)
                yield Measured(name, month - trained, month, asked[month].readers, values)


def ask(loans: Loans, month: int) -> Asked:
    """Who read something new in a month, and what was known of them before it."""
    histories, new = loans.before(month).matrix(TRAIN), loans.within(month).matrix(TRAIN)
    readers = np.flatnonzero((np.diff(new.indptr) > 0) & (np.diff(histories.indptr) > 0))
    nobody = [None] * readers.size
    relevant = [new.indices[new.indptr[r] : new.indptr[r + 1]].tolist() for r in readers]
    return Asked(readers, Batch(readers, histories[readers], nobody, nobody), relevant)


def measure(model: Recommender, asked: Asked, threads: int) -> dict[str, Values]:
    """Recall and NDCG of each reader."""
    n_relevant = np.array([len(works) for works in asked.relevant], dtype=np.int64)
    lists = model.recommend(asked.batch, K, threads).works
    hits = find_hits(lists, asked.relevant, asked.batch.histories.shape[1])
    return {"recall_at_20": recall_at(hits, n_relevant, K), "ndcg_at_20": ndcg_at(hits, n_relevant, K)}


def by_age(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """A row for each model and age: the metrics, and what is lost to the newest on the same readers and months."""
    newest = {(one.model, one.month): one for one in found if one.age == 0}
    rows = []
    for name, age in dict.fromkeys((one.model, one.age) for one in found):
        same = [one for one in found if (one.model, one.age) == (name, age)]
        row: dict[str, Any] = {"model": name, "age_months": age, "months": len(same)}
        row["reader_months"] = int(sum(one.readers.size for one in same))
        for metric in METRICS:
            lost = [one.values[metric] - newest[name, one.month].values[metric] for one in same]
            row[metric] = _interval(same, [one.values[metric] for one in same])
            row[f"{metric}_against_newest"] = _interval(same, lost)
        rows.append(row)
    return sorted(rows, key=lambda row: (row["model"], row["age_months"]))


def _interval(same: Sequence[Measured], values: Sequence[Values]) -> dict[str, float]:
    """Mean over readers, each with the mean of its months, so that one who comes each month counts once."""
    _, owner = np.unique(np.concatenate([one.readers for one in same]), return_inverse=True)
    means = np.bincount(owner, weights=np.concatenate(values)) / np.maximum(np.bincount(owner), 1)
    found: Interval = mean_interval(means)
    return {"value": found.value, "low": found.low, "high": found.high}


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    for title in ("model", "age", "months", "readers", "recall@20", "ndcg@20", "ndcg@20 against the newest"):
        table.add_column(title, justify="left" if title == "model" else "right", no_wrap=True)
    for row in rows:
        counts = [str(row[name]) for name in ("age_months", "months", "reader_months")]
        plain = [_shown(row[metric], "") for metric in METRICS]
        table.add_row(row["model"], *counts, *plain, _shown(row["ndcg_at_20_against_newest"], "+"))
    Console(width=140).print(table)


def _shown(value: dict[str, float], sign: str) -> str:
    return f"{value['value']:{sign}.4f} [{value['low']:{sign}.4f}, {value['high']:{sign}.4f}]"


if __name__ == "__main__":
    run(app)
