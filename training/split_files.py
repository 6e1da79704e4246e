"""A split as files: KGAT's text format or Parquet, as a `Dataset` of the parts train and test.

KGAT: one line a reader, `reader work work …`, blank separated, optionally gzipped. Parquet: columns `user_id`,
`item_id` and optionally `weight`. Works are put in an order that their numbers do not tell (by a hash), so that no tie
and no feature can profit from how a file numbers its works.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bookworks.errors import ContractError
from training.dataset import TEST, TRAIN, VALID, Dataset

KGAT_HEADER = ("org_id", "remap_id")


class Pairs(NamedTuple):
    """Interactions of one file: ids as written, and the liking of each."""

    readers: list[str]
    works: list[str]
    weights: list[float]


def read_pairs(path: Path) -> Pairs:
    """The interactions of a split's file; a pair that is there twice counts once.

    Raises:
        ContractError: no such file, not the format, or nothing in it.
    """
    if not path.is_file():
        raise ContractError("There is no such split file", received=str(path), todo="give the path of a file.")
    pairs = _parquet(path) if path.suffix == ".parquet" else _kgat(path)
    if not pairs.readers:
        raise ContractError("The split file holds no interaction", received=str(path))
    return pairs


def _kgat(path: Path) -> Pairs:
    readers: list[str] = []
    works: list[str] = []
    for number, line in enumerate(_lines(path), 1):
        reader, *read = line.split()[:1] + list(dict.fromkeys(line.split()[1:])) if line.split() else ("",)
        if reader and not all(part.isascii() and part.isdigit() for part in (reader, *read)):
            raise ContractError(
                f"Line {number} of {path.name} is not in KGAT's format",
                received=line[:60].strip(),
                allowed="`reader work work …`, whole numbers with blanks between; or a .parquet with user_id, item_id",
            )
        readers += [reader] * len(read)
        works += read
    return Pairs(readers, works, [1.0] * len(works))


def _lines(path: Path) -> Iterator[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            yield from file
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise ContractError(f"{path.name} cannot be read as text", received=str(error)) from None


def _parquet(path: Path) -> Pairs:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ContractError(f"{path.name} is not Parquet", received=str(error)) from None
    missing = [name for name in ("user_id", "item_id") if name not in table.column_names]
    if missing:
        raise ContractError(
            f"{path.name} lacks columns",
            received=", ".join(table.column_names),
            allowed="user_id, item_id, and optionally weight",
        )
    if "weight" not in table.column_names:
        table = table.append_column("weight", pa.array(np.ones(table.num_rows)))
    table = table.group_by(["user_id", "item_id"], use_threads=False).aggregate([("weight", "max")])
    ids = (table[name].cast(pa.string()).to_pylist() for name in ("user_id", "item_id"))
    return Pairs(*ids, table["weight_max"].cast(pa.float64()).to_pylist())


def by_hash(work: str) -> bytes:
    """By what works are put in order: neither an id nor when it came tells its place, so no tie is broken by these."""
    return hashlib.blake2b(work.encode(), digest_size=8).digest()


def make_split(train: Pairs, test: Pairs, catalogue: Iterable[str] = ()) -> Dataset:
    """Both files as one dataset; a test pair that is in train, too, is left out, as it cannot be recommended.

    Args:
        train, test: the interactions.
        catalogue: ids of works that can be recommended, also of those that nobody has read.
    """
    works = sorted({*train.works, *test.works, *catalogue}, key=by_hash)
    trained = dict.fromkeys(train.readers)
    readers = [*trained, *(reader for reader in dict.fromkeys(test.readers) if reader not in trained)]
    work_of = {work: i for i, work in enumerate(works)}
    reader_of = {reader: i for i, reader in enumerate(readers)}
    known = set(zip(train.readers, train.works, strict=True))
    rows = [(r, w, x, TRAIN) for r, w, x in zip(*train, strict=True)]
    rows += [(r, w, x, TEST) for r, w, x in zip(*test, strict=True) if (r, w) not in known]
    reader_column, work_column, weights, parts = zip(*rows, strict=True)
    interactions = pa.table(
        {
            "reader": pa.array([reader_of[r] for r in reader_column], pa.int64()),
            "work": pa.array([work_of[w] for w in work_column], pa.int64()),
            "weight": pa.array(weights, pa.float32()),
            "part": pa.array(parts),
        }
    )
    nobody = pa.nulls(len(readers), pa.string())
    people = pa.table({"user_id": readers, "age_bin": nobody, "country": nobody})
    return Dataset(pa.table({"work_id": works}), people, interactions, len(trained))


def hold_out(data: Dataset, share: float, seed: int) -> Dataset:
    """The same readers with a share of each one's training rows as part `valid`, and no test part.

    At least one row of each reader stays in train; a reader of one row keeps it. Rows without time are drawn at random.
    Where works of the catalogue have no training row, as many others lose all of theirs, so that what is learned from
    the split meets new works as often as what comes after it. Of these rows the same share is held out and the rest
    left out: with all of them in `valid` a new work would seem far likelier than another.
    """
    rows = data.rows(TRAIN)
    rng = np.random.default_rng(seed)
    drawn = rng.random(rows.num_rows)
    made_new = _made_new(rows["work"].to_numpy(), data.n_works, rng)
    new = np.isin(rows["work"].to_numpy(), made_new)
    stays = np.bincount(rows["reader"].to_numpy(), ~new, minlength=data.n_readers)[rows["reader"].to_numpy()] > 0
    kept = ~new | ~stays | (rng.random(rows.num_rows) < share)
    rows, drawn, new = rows.filter(pa.array(kept)), drawn[kept], new[kept]
    reader = rows["reader"].to_numpy()
    order = np.lexsort((drawn, ~new, reader))
    counts = np.bincount(reader, minlength=data.n_readers)
    place = np.empty(rows.num_rows, dtype=np.int64)
    place[order] = np.arange(rows.num_rows) - np.repeat(np.cumsum(counts) - counts, counts)
    of_new = np.bincount(reader, new, minlength=data.n_readers)
    others = counts - of_new
    held = of_new + np.where(others > 1, np.maximum(np.round(others * share), 1), 0)
    part = np.where(place < np.minimum(held, counts - 1)[reader], VALID, TRAIN)
    inner = rows.set_column(rows.column_names.index("part"), "part", pa.array(part))
    return data.replaced(inner)


def _made_new(work: npt.NDArray[np.int64], n_works: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Works to take out of the training rows: the share of the catalogue that has none, a fifth at most."""
    known = np.unique(work)
    share = min(1 - known.size / n_works, 0.2)
    return rng.choice(known, int(known.size * share), replace=False)
