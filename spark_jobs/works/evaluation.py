"""How good clusters are: against known works, and where nothing is known."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from bookworks.errors import ContractError, TerminalError
from bookworks.metrics.clustering import agreement

WORST = 10
SIZES = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, None))


@dataclass(frozen=True)
class Worst:
    """A cluster with many wrong pairs.

    Attributes:
        work_id: the cluster.
        records: its size.
        works: how many true works it mixes.
        false_pairs: pairs in it that are not one work.
    """

    work_id: str
    records: int
    works: int
    false_pairs: int


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        scores: `pairwise_` and `bcubed_` precision, recall, f1.
        records: records of the truth.
        missing: of these, how many were not clustered; each counts as alone.
        unknown: clustered records that the truth does not know; left out.
        sizes: how many clusters of each size there are, found and true.
        worst: clusters with the most wrong pairs.
    """

    scores: dict[str, float]
    records: int
    missing: int
    unknown: int
    sizes: dict[str, dict[str, int]]
    worst: list[Worst]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def evaluate(found: Mapping[str, str], truth: Mapping[str, str]) -> Evaluation:
    """Compare the work of each record with the true one.

    Raises:
        ContractError: there is no record in both.
    """
    ids = list(truth)
    if not any(one in found for one in ids):
        raise ContractError(
            "Clusters and truth have no record in common",
            received=f"{len(found)} and {len(ids)} records",
            allowed="the same record ids in both",
            todo="check that both files are of one catalogue.",
        )
    placed = [found.get(one, f"\u0000{one}") for one in ids]
    true = [truth[one] for one in ids]
    sizes = {"found": _histogram(Counter(placed)), "true": _histogram(Counter(true))}
    missing = sum(one not in found for one in ids)
    unknown = sum(one not in truth for one in found)
    return Evaluation(agreement(placed, true), len(ids), missing, unknown, sizes, _worst(placed, true))


def size_name(low: int, high: int | None) -> str:
    """A class of sizes in words: `1`, `3-5`, `101+`."""
    return f"{low}" if low == high else f"{low}-{high}" if high else f"{low}+"


def _histogram(sizes: Counter[str]) -> dict[str, int]:
    counts = {size_name(low, high): 0 for low, high in SIZES}
    for size in sizes.values():
        for name, (low, high) in zip(counts, SIZES, strict=True):
            if size >= low and (high is None or size <= high):
                counts[name] += 1
    return counts


def _worst(placed: list[str], true: list[str]) -> list[Worst]:
    mixed: dict[str, Counter[str]] = defaultdict(Counter)
    for work, right in zip(placed, true, strict=True):
        mixed[work][right] += 1
    found = []
    for work, parts in mixed.items():
        size = parts.total()
        false = (size * size - sum(n * n for n in parts.values())) // 2
        if false:
            found.append(Worst(work, size, len(parts), false))
    return sorted(found, key=lambda one: (-one.false_pairs, one.work_id))[:WORST]


def read_works(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Record and work of each row of a CSV file; the work's column is the first of `names` that is there.

    Raises:
        TerminalError: the file cannot be read.
        ContractError: a column is missing, or a record stands twice with two works.
    """
    try:
        return _read_works(path, names)
    except (UnicodeError, EOFError, OSError, csv.Error) as error:
        raise TerminalError(f"{path.name} cannot be read", received=error, allowed="CSV in UTF-8, also gzipped",
                            todo="check the file.") from None  # fmt: skip


def _read_works(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    works: dict[str, str] = {}
    with _opened(path) as stream:
        reader = csv.DictReader(stream)
        header = reader.fieldnames or []
        column = next((name for name in names if name in header), None)
        if "record_id" not in header or column is None:
            raise ContractError(f"Columns are missing in {path.name}", received=", ".join(header) or "no header",
                                allowed=f"record_id and {' or '.join(names)}", todo="rename the columns.")  # fmt: skip
        for row in reader:
            if not row["record_id"] or not row[column]:
                raise ContractError(
                    f"Line {reader.line_num} of {path.name} names no record or no work",
                    received=",".join(str(value or "") for value in row.values()),
                    allowed=f"record_id and {column} in each row", todo="remove or complete it.",
                )  # fmt: skip
            if works.setdefault(row["record_id"], row[column]) != row[column]:
                raise ContractError(f"A record stands twice in {path.name}, with two works", received=row["record_id"],
                                    allowed="each record in one work", todo="remove one of them.")  # fmt: skip
    return works


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
