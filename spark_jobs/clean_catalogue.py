"""Raw catalogue and readers to clean editions and readers: `python -m spark_jobs.clean_catalogue`.

In: raw/catalogue, raw/readers. Out: clean/editions, clean/readers (bookworks.contracts.lake).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from bookworks.contracts.lake import CLEAN_SCHEMAS, RAW_SCHEMAS
from bookworks.countries import COUNTRY_NAMES
from bookworks.isbn import to_isbn13
from bookworks.settings import Settings
from spark_jobs.codes import LANGUAGES
from spark_jobs.job import Counter, check_sum, run_job
from spark_jobs.lake import Lake, require_columns, spark_schema
from spark_jobs.text_repair import clean_author, clean_publisher, clean_title, repair

YEAR_MIN = 1450  # no printed book is older
AGE_MIN, AGE_MAX = 5, 100

# Nullable in all: a row without a title still passes here, to be counted.
EDITIONS = pa.schema([field.with_nullable(True) for field in CLEAN_SCHEMAS["editions"]])
# What the Python step gets: the raw text, and the last year that a record of its time can bear.
_INPUT = ("edition_id", "source", "isbn", "title", "author", "year", "publisher", "language", "series", "format",
          "subjects", "image_url", "last_year")  # fmt: skip


def latest(frame: DataFrame, key: str) -> DataFrame:
    """The last record of each key, in Kafka's order (a key stays in one partition)."""
    order = Window.partitionBy(key).orderBy(F.desc("kafka_at"), F.desc("kafka_offset"))
    return frame.withColumn("_nth", F.row_number().over(order)).where("_nth = 1").drop("_nth")


def clean_editions(raw: DataFrame) -> DataFrame:
    """One clean row per edition, as its last record has it; `title` is null where it has none.

    Args:
        raw: records of raw/catalogue.

    Raises:
        ContractError: a column is missing.
    """
    require_columns(raw, RAW_SCHEMAS["catalogue"].names, "raw/catalogue")
    last = latest(raw, "edition_id").withColumn("last_year", F.year("received_at") + 1).select(*_INPUT)
    # No built-in knows ftfy's heuristics for broken encodings, HTML's entities or an ISBN's check
    # digit. Arrow hands over whole columns, without pandas.
    return last.mapInArrow(clean_batches, spark_schema(EDITIONS))


def clean_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """`clean_row` for each row."""
    for batch in batches:
        yield pa.RecordBatch.from_pylist([clean_row(row) for row in batch.to_pylist()], schema=EDITIONS)


def clean_row(row: dict[str, Any]) -> dict[str, Any]:
    """One edition's clean values, with the names of the repairs that changed something."""
    clean: dict[str, Any] = {"edition_id": row["edition_id"], "source": row["source"]}
    repairs: list[str] = []
    for name in ("title", "author", "publisher", "series", "format", "image_url"):
        clean[name], done = repair(row[name])
        repairs += [f"{name}_{repaired}" for repaired in done]
    for name, function in (("title", clean_title), ("author", clean_author), ("publisher", clean_publisher)):
        if clean[name] is not None:
            after = function(clean[name]) or (clean[name] if name == "title" else None)
            if after != clean[name]:
                repairs.append(f"{name}_form")
            clean[name] = after
    clean["isbn13"] = edition_isbn13(row["isbn"])
    clean["year"] = plausible_year(row["year"], row["last_year"])
    if clean["year"] is None and row["year"] is not None:
        repairs.append("year_dropped")
    clean["language"] = language_code(row["language"])
    subjects = [repair(subject)[0] for subject in row["subjects"] or []]
    clean["subjects"] = list(dict.fromkeys(subject.casefold() for subject in subjects if subject))
    clean["repairs"] = repairs
    return clean


_FLOAT = re.compile(r"(9\.7[89]\d{0,10})e\+?12", re.I)


def edition_isbn13(raw: str | None) -> str | None:
    """The ISBN-13 of an ISBN as written, also when a spreadsheet made it a number.

    `9.78043902348e+12` has lost its last digit only: that is the check digit, and the twelve
    before it determine it.
    """
    number = _FLOAT.fullmatch((raw or "").strip())
    if number:
        digits = number[1].replace(".", "").ljust(12, "0")
        candidates = (to_isbn13(digits + str(check)) for check in range(10))
        return next((isbn for isbn in candidates if isbn), None)
    return to_isbn13((raw or "").removesuffix(".0"))


_YEAR = re.compile(r"(?<!\d)(\d{4})(?!\d)")


def plausible_year(raw: str | None, last_year: int) -> int | None:
    """The year of publication, or None when it cannot be one (0, 1376, 2050)."""
    match = _YEAR.search(raw or "")
    year = int(match[1]) if match else 0
    return year if YEAR_MIN <= year <= last_year else None


def language_code(raw: str | None) -> str | None:
    """ISO 639-1 of a language's code or name (`eng`, `en-US`, `German`); unknown ones are None."""
    word = (raw or "").strip().casefold()
    head = re.split(r"[-_ ;,]", word)[0]
    if len(head) == 2 and head.isalpha():
        return head
    return LANGUAGES.get(word) or LANGUAGES.get(head)


def clean_readers(raw: DataFrame) -> DataFrame:
    """One clean row per reader: country as ISO 3166-1 code, age from 5 to 100; else null.

    Raises:
        ContractError: a column is missing.
    """
    require_columns(raw, RAW_SCHEMAS["readers"].names, "raw/readers")
    place = F.regexp_extract("location", r"([^,]*)$", 1)
    last = latest(raw, "user_id").withColumn("name", country_name(F.coalesce("country", place)))
    codes = F.broadcast(raw.sparkSession.createDataFrame(sorted(COUNTRY_NAMES.items()), "name string, code string"))
    return last.join(codes, "name", "left").select(
        "user_id",
        F.col("code").alias("country"),
        F.when(F.col("age").between(AGE_MIN, AGE_MAX), F.col("age").cast("int")).alias("age"),
        "source",
    )


def country_name(text: Column) -> Column:
    """`bookworks.countries.country_name` in Spark's own functions."""
    return F.trim(F.regexp_replace(F.lower(text), r'["\\]|^[\s.]+', ""))


def run(lake: Lake, _settings: Settings) -> dict[str, int]:
    """Read, transform, write; returns the counts of rows.

    In = out + superseded by a later record + rejected for want of a title.
    """
    counter = Counter()
    titled = F.col("title").isNotNull()
    catalogue = counter.watch(lake.read_raw("catalogue"), editions_in=True)
    editions = counter.watch(clean_editions(catalogue), editions_latest=True, editions_rejected_no_title=~titled)
    repaired = titled & (F.size("repairs") > 0)
    lake.replace_clean("editions", counter.watch(editions.where(titled), editions_out=True, editions_repaired=repaired))
    readers = counter.watch(lake.read_raw("readers", optional=True), readers_in=True)
    lake.replace_clean("readers", counter.watch(clean_readers(readers), readers_out=True))
    counts = counter.counts()
    check_sum(counts, "editions_latest", "editions_out", "editions_rejected_no_title")
    counts["editions_superseded"] = counts["editions_in"] - counts.pop("editions_latest")
    counts["readers_superseded"] = counts["readers_in"] - counts["readers_out"]
    return counts


def main() -> None:
    """Entry point of the job."""
    run_job("clean_catalogue", run)


if __name__ == "__main__":
    main()
