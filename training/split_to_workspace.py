"""A split of files as the workspace of a run, to try the stages of `dvc.yaml` on it without a server.

python -m training.split_to_workspace --train train.txt.gz --test test.txt.gz FOLDER
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from bookworks.cli.entry import run
from bookworks.settings import PROJECT_ROOT
from training.dataset import TEST, Dataset
from training.evaluate_cli import load
from training.files import PARAMS, SNAPSHOT, SPLIT, TITLES, TUNED, write_json
from training.split import save_dataset
from training.split_files import hold_out

HELD_OUT = 0.1
STAGES = (
    "train_item_item", "train_als", "train_popularity", "train_two_tower", "train_gnn", "train_ranker", "refit",
    "evaluate",
)  # fmt: skip

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def split_to_workspace(
    folder: Annotated[Path, typer.Argument(help="The workspace; made, or written over.")],
    train: Annotated[Path, typer.Option(help="What the models learn from, as `bookworks evaluate` takes it.")],
    test: Annotated[Path, typer.Option(help="What they are asked for.")],
    items: Annotated[Path | None, typer.Option(help="Numbers of works to ISBNs.")] = None,
    catalogue: Annotated[
        list[Path] | None, typer.Option(help="Title, author, house, year by ISBN. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the part that is held out.")] = 42,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 2,
) -> None:
    """Write split, titles and editions; a tenth of each reader's training rows becomes the part `valid`."""
    write(with_valid(load(train, test, items, catalogue or [], threads), seed), folder)
    print(f"Run in {folder}: " + "; ".join(f"python -m training.{stage}" for stage in STAGES))


def with_valid(data: Dataset, seed: int) -> Dataset:
    """The dataset with a part `valid`, held out of each reader's training rows."""
    inner = hold_out(data, HELD_OUT, seed)
    tests = data.rows(TEST).select(inner.interactions.column_names).cast(inner.interactions.schema)
    return inner.replaced(pa.concat_tables([inner.interactions, tests]))


def write(data: Dataset, folder: Path) -> None:
    """The files that the stages after `embed_titles` and `tune_two_tower` read; every work is its own edition."""
    trained = pa.array(np.arange(data.n_readers) < data.n_trained)
    readers = data.readers.select(["user_id", "age_bin", "country"]).append_column("trained", trained)
    save_dataset(replace(data, readers=readers), folder / SPLIT)
    for path in (SNAPSHOT, TITLES.parent):
        (folder / path).mkdir(parents=True, exist_ok=True)
    titles = data.titles if data.titles is not None else np.zeros((data.n_works, 0), dtype=np.float16)
    np.save(folder / TITLES, titles)
    ids = data.works["work_id"]
    nobody = pa.nulls(data.n_works, pa.string())
    editions = pa.table({"edition_id": ids, "isbn13": nobody, "work_id": ids})
    pq.write_table(editions, folder / SNAPSHOT / "editions.parquet")
    write_json(folder / TUNED, {"params": {}})
    shutil.copy(PROJECT_ROOT / PARAMS, folder / PARAMS)


if __name__ == "__main__":
    run(app)
