"""Raw catalogue and readers to clean editions and readers: `python -m spark_jobs.clean_catalogue`.

In: raw/catalogue, raw/readers. Out: clean/editions, clean/repairs, clean/readers (bookworks.contracts.lake).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from bookworks.contracts.lake import CLEAN_SCHEMAS, RAW_SCHEMAS
from bookworks.countries import COUNTRY_NAMES
from bookworks.isbn import isbns_in, read_isbn
from bookworks.settings import Settings
from spark_jobs.codes import language_code
from spark_jobs.job import Counter, check_sum, run_job
from spark_jobs.lake import Lake, require_columns, spark_schema
from spark_jobs.text_repair import STEPS, Repair, clean_author, clean_publisher, clean_title, repair

YEAR_MIN = 1450  # no printed book is older
AGE_MIN, AGE_MAX = 5, 100

# Of clean/repairs, without the edition.
CHANGE = pa.struct([field for field in CLEAN_SCHEMAS["repairs"] if field.name != "edition_id"])
# Nullable in all: a row without a title still passes here, to be counted.
CLEANED = pa.schema([
    *(field.with_nullable(True) for field in CLEAN_SCHEMAS["editions"]), pa.field("changes", pa.list_(CHANGE)),
])  # fmt: skip
# What the Python step gets: the raw text, and the last year that a record of its time can bear.
_INPUT = ("edition_id", "source", "isbn", "title", "author", "year", "publisher", "language", "series", "format",
          "subjects", "image_url", "last_year")  # fmt: skip


def latest(frame: DataFrame, key: str) -> DataFrame:
    """The last record of each key, in Kafka's order (a key stays in one partition)."""
    order = Window.partitionBy(key).orderBy(F.desc("kafka_at"), F.desc("kafka_offset"))
    return frame.withColumn("_nth", F.row_number().over(order)).where("_nth = 1").drop("_nth")


def clean_editions(raw: DataFrame) -> DataFrame:
    """One clean row per edition, as its last record has it; `title` is null where it has none.

    Besides the columns of clean/editions it has `changes`: what each repair made of what (`CHANGE`).

    Args:
        raw: records of raw/catalogue.

    Raises:
        ContractError: a column is missing.
    """
    require_columns(raw, RAW_SCHEMAS["catalogue"].names, "raw/catalogue")
    last = latest(raw, "edition_id").withColumn("last_year", F.year("received_at") + 1).select(*_INPUT)
    # No built-in knows ftfy's heuristics for broken encodings, HTML's entities or an ISBN's check
    # digit. Arrow hands over whole columns, without pandas.
    return last.mapInArrow(clean_batches, spark_schema(CLEANED))


def clean_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """`clean_row` for each row."""
    for batch in batches:
        yield pa.RecordBatch.from_pylist([clean_row(row) for row in batch.to_pylist()], schema=CLEANED)


_FORMS = (
    ("title", "trailing_slash", clean_title),
    ("author", "author_form", clean_author),
    ("publisher", "company_form", clean_publisher),
)
_TEXTS = ("title", "author", "publisher", "series", "format", "image_url")
RULES = (
    *(rule for rule, _ in STEPS), "null_word", *(rule for _, rule, _ in _FORMS), "isbn_number", "isbn_leading_zero",
    "isbn_check_digit", "no_isbn", "implausible_year", "unknown_language",
)  # fmt: skip


def clean_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One edition's clean values, the names of the repairs, and in `changes` what each made of what."""
    clean: dict[str, Any] = {"edition_id": row["edition_id"], "source": row["source"]}
    changes: list[tuple[str, Repair]] = []
    for name in _TEXTS:
        clean[name], repairs = repair(row[name])
        changes += [(name, one) for one in repairs]
    for name, rule, function in _FORMS:
        before = clean[name]
        clean[name] = function(before) or (before if name == "title" else None) if before else None
        changes += _changed(name, rule, before, clean[name])
    clean["isbn13"], mended = edition_isbn13(row["isbn"])
    clean["year"] = plausible_year(row["year"], row["last_year"])
    clean["language"] = language_code(row["language"])
    changes += _changed("isbn", mended, row["isbn"], clean["isbn13"]) if mended else []
    for name, rule in (("year", "implausible_year"), ("language", "unknown_language")):
        said = (row[name] or "").strip()
        changes += _changed(name, rule, row[name], None) if said and clean[name] is None else []
    subjects = [repair(subject) for subject in row["subjects"] or []]
    changes += [("subjects", one) for _, repairs in subjects for one in repairs]
    clean["subjects"] = list(dict.fromkeys(subject.casefold() for subject, _ in subjects if subject))
    clean["repairs"] = [one.rule if one.rule.startswith(name) else f"{name}_{one.rule}" for name, one in changes]
    clean["changes"] = [{"field": name, **one._asdict()} for name, one in changes]
    return clean


def _changed(field: str, rule: str, before: str | None, after: str | None) -> list[tuple[str, Repair]]:
    return [(field, Repair(rule, before, after))] if before is not None and before != after else []


def edition_isbn13(raw: str | None) -> tuple[str | None, str | None]:
    """The ISBN-13 of an ISBN as written, the first of several; and the rule that mended or refused it."""
    found, rule = read_isbn(raw)
    several = [] if found else isbns_in(raw)
    return (several[0], None) if several else (found, rule)


_YEAR = re.compile(r"(?<!\d)(\d{4})(?!\d)")


def plausible_year(raw: str | None, last_year: int) -> int | None:
    """The year of publication, or None when it cannot be one (0, 1376, 2050)."""
    match = _YEAR.search(raw or "")
    year = int(match[1]) if match else 0
    return year if YEAR_MIN <= year <= last_year else None


def repairs_of(cleaned: DataFrame) -> DataFrame:
    """One row per repair (clean/repairs) of the rows of `clean_editions`."""
    return cleaned.select("edition_id", F.explode("changes").alias("change")).select("edition_id", "change.*")


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
    catalogue = lake.read_raw("catalogue")
    # Two tables are written from it; what is cached passes no counter below it.
    cleaned = clean_editions(catalogue).persist(StorageLevel.DISK_ONLY)
    editions = counter.watch(cleaned, editions_latest=True, editions_rejected_no_title=~titled)
    repaired = titled & (F.size("repairs") > 0)
    lake.replace_clean("editions", counter.watch(editions.where(titled), editions_out=True, editions_repaired=repaired))
    of_rule = {f"repairs_{rule}": F.col("rule") == rule for rule in RULES}
    lake.replace_clean("repairs", counter.watch(repairs_of(cleaned.where(titled)), repairs=True, **of_rule))
    cleaned.unpersist()
    readers = counter.watch(lake.read_raw("readers", optional=True), readers_in=True)
    lake.replace_clean("readers", counter.watch(clean_readers(readers), readers_out=True))
    counts = counter.counts()
    check_sum(counts, "editions_latest", "editions_out", "editions_rejected_no_title")
    counts["editions_in"] = catalogue.count()
    counts["editions_superseded"] = counts["editions_in"] - counts.pop("editions_latest")
    counts["readers_superseded"] = counts["readers_in"] - counts["readers_out"]
    return counts


def main() -> None:
    """Entry point of the job."""
    run_job("clean_catalogue", run)


if __name__ == "__main__":
    main()
