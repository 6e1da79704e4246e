"""Answers of the review as labels for the scorer, and the catalogue that they are of.

Labels: CSV with `left_id`, `right_id`, `same` (1 or 0). Records: CSV with the columns of `works.records.FIELDS`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from psycopg import errors

from bookworks.adapters import postgres
from bookworks.errors import ContractError, SettingError, TerminalError
from bookworks.settings import Settings
from spark_jobs.works.files import write_csv

Label = tuple[str, str, bool]
HEADER = ["left_id", "right_id", "same"]
_RECORDS = (
    "copy (select edition_id, title, author, isbn13 as isbn, publisher, year, language, series, format"
    " from raw.editions order by edition_id) to stdout with (format csv, header)"
)


def write_labels(labels: Iterable[Label], path: Path) -> None:
    """Write labels as CSV.

    Raises:
        SettingError: the file cannot be written.
    """
    write_csv(path, HEADER, ((left, right, int(same)) for left, right, same in labels))


def write_records(settings: Settings, path: Path) -> None:
    """Write the editions of the warehouse as CSV: the catalogue that the labels are of.

    Raises:
        SettingError: the file cannot be written.
        TerminalError: the warehouse was not loaded yet.
        TransientError: Postgres is away.
    """
    try:
        with (
            path.open("wb") as stream,
            postgres.connect(settings, settings.warehouse_db) as db,
            db.cursor() as cursor,
            cursor.copy(_RECORDS) as copy,
        ):
            for part in copy:
                stream.write(part)
    except errors.UndefinedTable:
        raise TerminalError("The warehouse has no editions yet", todo="run the DAG catalogue first.") from None
    except OSError as error:
        raise SettingError("The records cannot be written", received=f"{path}: {error.strerror}",
                           todo="name another file.") from None  # fmt: skip


def read_labels(path: Path) -> list[Label]:
    """The labels of a CSV file.

    Raises:
        SettingError: there is no such file.
        ContractError: a column is missing, or `same` is neither 1 nor 0.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in HEADER if name not in (reader.fieldnames or [])]:
                raise ContractError(f"Columns are missing in {path.name}: {', '.join(missing)}",
                                    received=", ".join(reader.fieldnames or []) or "no header",
                                    allowed=", ".join(HEADER), todo="see `bookworks works labels`.")  # fmt: skip
            rows = [(row["left_id"], row["right_id"], row["same"]) for row in reader]
    except OSError as error:
        raise SettingError("The labels cannot be read", received=f"{path}: {error.strerror}",
                           todo="check the path.") from None  # fmt: skip
    if wrong := next((same for _, _, same in rows if same not in ("0", "1")), None):
        raise ContractError(f"A label of {path.name} says neither", received=wrong, allowed="1 or 0")
    return [(left, right, same == "1") for left, right, same in rows]
