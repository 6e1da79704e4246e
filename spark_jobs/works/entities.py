"""Works, authors and series, described by their editions. Pure: DataFrames in, DataFrames out."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bookworks.contracts.lake import CLEAN_SCHEMAS

MAX_SUBJECTS = 20


def describe(editions: DataFrame, assigned: DataFrame, parsed: DataFrame) -> tuple[DataFrame, DataFrame, DataFrame]:
    """The clean tables works, authors, series.

    Args:
        editions: columns of clean/editions.
        assigned: `edition_id`, `work_id`, `author_id`.
        parsed: `records.PARSED` of each edition.
    """
    works = describe_works(editions, assigned).localCheckpoint()
    authors = works.where("author_id is not null").groupBy("author_id").agg(
        F.mode("author", True).alias("name"),
        F.array_sort(F.collect_set("author")).alias("aliases"),
        F.count("*").alias("works"),
        F.sum("editions").alias("editions"),
        F.min("year").alias("first_year"),
        F.max("year").alias("last_year"),
    )  # fmt: skip
    series = works.where("series is not null").groupBy(F.col("series").alias("series_id")).agg(
        F.first("series").alias("name"),
        F.mode("author_id", True).alias("author_id"),
        F.count("*").alias("works"),
        F.array_sort(F.collect_list("work_id")).alias("work_ids"),
    )  # fmt: skip
    return works, authors, series


def describe_works(editions: DataFrame, assigned: DataFrame) -> DataFrame:
    """One row per work, from its editions.

    The title is the most frequent one, of several the shortest that is not all capitals; the
    year the earliest.

    Args:
        editions: columns of clean/editions.
        assigned: `edition_id`, `work_id`, `author_id`.
    """
    rows = editions.join(assigned.select("edition_id", "work_id", "author_id"), "edition_id")
    titled = F.struct(F.upper("title") == F.col("title"), F.length("title"), F.col("title").alias("title"))
    subjects = F.array_sort(F.array_distinct(F.flatten(F.collect_list(F.slice("subjects", 1, MAX_SUBJECTS)))))
    frequent = [F.mode(name, True).alias(name) for name in ("author", "author_id", "series", "publisher", "language")]
    works = rows.groupBy("work_id").agg(
        F.mode(titled, True).getField("title").alias("title"),
        *frequent,
        F.min("year").alias("year"),
        F.slice(subjects, 1, MAX_SUBJECTS).alias("subjects"),
        F.min("image_url").alias("image_url"),
        F.count("*").cast("int").alias("editions"),
    )
    return works.select(*CLEAN_SCHEMAS["works"].names)
