"""snapshot -> train, valid, test: by time where times exist, else by hash per reader.

In: data/snapshot. Out: data/split. Run: `python -m training.split` in a workspace.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from bookworks.cli.entry import run
from bookworks.errors import ContractError
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.files import METRICS, SNAPSHOT, SPLIT, write_json
from training.params import Params, load_params

READER_COLUMNS = ("user_id", "age_bin", "country")


class SplitParams(Params):
    """Section `split`."""

    valid_share: float = Field(0.1, gt=0, lt=0.5)
    test_share: float = Field(0.1, gt=0, lt=0.5)
    relevant_weight: float = Field(0.4, ge=0, description="Liking from which a held-out work counts as relevant.")
    salt: str = Field("bookworks", description="Changes which rows of an import without times are held out.")


def split(interactions: pa.Table, works: pa.Table, readers: pa.Table, params: SplitParams) -> Dataset:
    """Assign every interaction to one part.

    Rows with times: the last `test_share` of all in time are test, those before them valid. Rows without times:
    a hash of reader and work decides, so that the same pair falls into the same part in every run.
    Held-out rows below `relevant_weight` stay in the table under their part and never count as relevant.

    Raises:
        ContractError: no interaction with a work of the catalogue.
    """
    works = works.sort_by("work_id")
    table = _known(interactions, works)
    if table.num_rows == 0:
        raise ContractError(
            "There is nothing to learn from",
            received="0 interactions with works of the catalogue",
            todo="load events first: `bookworks ingest load --path …`, then run the DAGs catalogue and features.",
        )
    part = _parts(table, params)
    active = readers_in_order(table["user_id"].to_numpy(zero_copy_only=False), part == TRAIN)
    users = _reader_rows(active, readers)
    row_of = {user: row for row, user in enumerate(users["user_id"].to_pylist())}
    index_of = {work: row for row, work in enumerate(works["work_id"].to_pylist())}
    rows = pa.table(
        {
            "reader": pa.array([row_of[u] for u in table["user_id"].to_pylist()], pa.int64()),
            "work": pa.array([index_of[w] for w in table["work_id"].to_pylist()], pa.int64()),
            "weight": table["weight"].cast(pa.float32()),
            "part": pa.array(part.astype(str)),
            "occurred_at": table["occurred_at"],
        }
    )
    n_trained = int(np.count_nonzero(users["trained"].to_numpy(zero_copy_only=False)))
    return Dataset(works, users, rows, n_trained)


def _known(interactions: pa.Table, works: pa.Table) -> pa.Table:
    kept = pc.and_(pc.is_in(interactions["work_id"], value_set=works["work_id"]), pc.greater(interactions["weight"], 0))
    order = [("occurred_at", "ascending"), ("user_id", "ascending"), ("work_id", "ascending")]
    return interactions.filter(pc.fill_null(kept, False)).sort_by(order)


def _parts(table: pa.Table, params: SplitParams) -> npt.NDArray[np.str_]:
    timed = pc.is_valid(table["occurred_at"]).to_numpy(zero_copy_only=False)
    place = np.empty(table.num_rows)
    place[timed] = _place_in_time(table["occurred_at"].filter(pa.array(timed)))
    pairs = zip(table["user_id"].to_pylist(), table["work_id"].to_pylist(), strict=True)
    place[~timed] = [
        hash_share(f"{params.salt}|{user}|{work}") for (user, work), t in zip(pairs, timed, strict=True) if not t
    ]
    test_from = 1 - params.test_share
    return np.where(place >= test_from, TEST, np.where(place >= test_from - params.valid_share, VALID, TRAIN))


def _place_in_time(times: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Share of rows that are strictly older: rows of one instant stay together."""
    stamps = times.cast(pa.int64()).to_numpy()
    return np.searchsorted(np.sort(stamps), stamps, side="left") / max(stamps.size, 1)


def hash_share(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2.0**64


def readers_in_order(users: npt.NDArray[Any], in_train: npt.NDArray[np.bool_]) -> list[tuple[str, bool]]:
    """(user_id, has training rows), those with training rows first, each group by id."""
    trained = set(users[in_train])
    others = set(users) - trained
    return [(user, True) for user in sorted(trained)] + [(user, False) for user in sorted(others)]


def _reader_rows(active: list[tuple[str, bool]], readers: pa.Table) -> pa.Table:
    known = {row["user_id"]: row for row in readers.select(READER_COLUMNS).to_pylist()}
    rows = [known.get(user, {}) for user, _ in active]
    return pa.table(
        {
            "user_id": pa.array([user for user, _ in active], pa.string()),
            "age_bin": pa.array([row.get("age_bin") for row in rows], pa.string()),
            "country": pa.array([row.get("country") for row in rows], pa.string()),
            "trained": pa.array([trained for _, trained in active], pa.bool_()),
        }
    )


def save_dataset(data: Dataset, folder: Path = SPLIT) -> None:
    """Write the dataset for the stages that follow."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(data.works, folder / "works.parquet")
    pq.write_table(data.readers, folder / "readers.parquet")
    pq.write_table(data.interactions, folder / "interactions.parquet")


def main() -> None:
    """Stage `split`."""
    tables = [pq.read_table(SNAPSHOT / f"{name}.parquet") for name in ("interactions", "works", "readers")]
    data = split(*tables, load_params("split", SplitParams))
    save_dataset(data)
    counts = {part: int(pc.sum(pc.equal(data.interactions["part"], part)).as_py()) for part in (TRAIN, VALID, TEST)}
    timed = tables[0].num_rows - tables[0]["occurred_at"].null_count
    sizes = {"readers": data.n_readers, "readers_trained": data.n_trained, "works": data.n_works, "rows_timed": timed}
    write_json(METRICS / "split.json", counts | sizes)


if __name__ == "__main__":
    run(main)
