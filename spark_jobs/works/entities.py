"""Works, authors and series, described by their editions. Pure: DataFrames in, DataFrames out."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from bookworks.contracts.lake import CLEAN_SCHEMAS
from spark_jobs.works.frames import in_buckets
from spark_jobs.works.persons import given_agree

MAX_SUBJECTS = 20
MAX_ALIASES = 20
# What a format's own words say, the first that fits; all else is `other`, none at all `unknown`.
FORMATS = {
    "audio": r"audi|cassette|\bcds?\b|mp3|h(ö|o|oe)rb|lesung|livre lu",
    "ebook": r"e-?(book|livre)|kindle|nook|epub|pdf|digital|electronic|elektronisch|num(é|e)rique|electr(ó|o)nico",
    "paperback": r"paper|mass market|soft ?(cover|back)|taschen|brosch|kartoniert|broch|poche|pocket|r(ú|u)stica|"
    r"blanda|brossura|bolso",
    "hardcover": r"hard|cloth|gebunden|reli(é|e)|cartonn|tapa dura|rilegat|library binding|leather|leinen",
}
FULLER = pa.schema([pa.field("spelled", pa.string()), pa.field("fuller", pa.string())])
_SERIES_MARK = r"\s*[(\[][^()\[\]]*#\s*\d[^()\[\]]*[)\]]\s*$"  # "(Discworld, #4)"
_BUCKET_ROWS = 200_000


def describe(editions: DataFrame, assigned: DataFrame, parsed: DataFrame) -> tuple[DataFrame, DataFrame, DataFrame]:
    """The clean tables works, authors, series.

    A work's title is the best written one of its most frequent main title; its year the earliest. Its author and series
    are those that most of its editions name. Its original title is that of the earliest edition in the author's
    language which names no translator; null when no dated edition tells. The author's language is that in which more
    than half of his works appear first; where there is none such, that of the work's first edition.

    Args:
        editions: columns of clean/editions.
        assigned: `edition_id`, `work_id`.
        parsed: `records.PARSED` of each edition.
    """
    rows = _rows(editions, assigned, parsed).localCheckpoint()
    works = _works(rows).localCheckpoint()
    fuller = F.broadcast(_fuller(works).localCheckpoint())
    works = _with_ids(works, fuller).localCheckpoint()
    authors = _authors(works, _named(rows, fuller)).localCheckpoint()
    series = _series(works).localCheckpoint()
    titled = _with_original_titles(works.drop("series"), authors)
    named = titled.join(series.select("series_id", F.col("name").alias("series")), "series_id", "left")
    frames = {"works": named, "authors": authors, "series": series}
    whole, people, cycles = (frame.select(*CLEAN_SCHEMAS[name].names) for name, frame in frames.items())
    return whole, people, cycles


def _rows(editions: DataFrame, assigned: DataFrame, parsed: DataFrame) -> DataFrame:
    """Editions with their works, what was parsed of them, and how many of the work agree in it."""
    told = parsed.select(
        "edition_id", "main", "surname", "given", "written", F.col("author").alias("person"), "translated",
        F.col("series").alias("cycle"), "series_name", F.expr("try_cast(series_number as double)").alias("number"),
        F.when(F.col("surname") != "", F.trim(F.concat_ws(" ", "surname", "given"))).alias("spelled"),
    )  # fmt: skip
    bare = F.regexp_replace("title", _SERIES_MARK, "")
    joined = (
        editions.join(assigned.select("edition_id", "work_id"), "edition_id")
        .join(told, "edition_id")
        .withColumns({"title": F.when(bare != "", bare).otherwise(F.col("title")), "format": _format(F.col("format"))})
        # A name in brackets without a number may be anything: "(Oprah's Book Club)".
        .withColumn("in_series", (F.col("cycle") != "") & (F.col("series").isNotNull() | F.col("number").isNotNull()))
        .repartition("work_id")
    )
    return joined.withColumns({
        "same_main": _same("main"), "same_title": _same("main", "title"), "same_format": _same("format"),
        "same_cycle": _same("in_series", "cycle"), "same_number": _same("in_series", "cycle", "number"),
    })  # fmt: skip


def _same(*names: str) -> Column:
    return F.count("*").over(Window.partitionBy("work_id", *names))


def _format(written: Column) -> Column:
    """The name of a format in `FORMATS`, or `other`, or `unknown`."""
    folded = F.lower(F.trim(written))
    named = F.when(F.coalesce(folded, F.lit("")) == "", "unknown")
    for name, pattern in FORMATS.items():
        named = named.when(folded.rlike(pattern), name)
    return named.otherwise("other")


def _well_written(name: str) -> Column:
    """Whether a text is neither all capitals nor all small, where its script has both."""
    upper, lower = F.upper(name), F.lower(name)
    return ((F.col(name) != upper) & (F.col(name) != lower)) | (upper == lower)


def _works(rows: DataFrame) -> DataFrame:
    length = F.length("title")
    titled = F.struct("same_main", _well_written("title").alias("well"), "same_title", -length, "title")
    subjects = F.array_sort(F.array_distinct(F.flatten(F.collect_list(F.slice("subjects", 1, MAX_SUBJECTS)))))
    first = F.struct("year", "language", (~_well_written("title")).alias("ill"), length, "title")
    dated = F.col("year").isNotNull() & F.col("language").isNotNull() & ~F.col("translated")
    cycle = F.struct("same_cycle", "cycle", F.col("number").isNotNull().alias("numbered"), "same_number", "number",
                     "series_name")  # fmt: skip
    formats = F.map_from_entries(F.array_sort(F.collect_set(F.struct("format", "same_format"))))
    return rows.groupBy("work_id").agg(
        F.max(titled).getField("title").alias("title"),
        *(F.mode(name, True).alias(name) for name in ("author", "spelled", "publisher", "language")),
        F.array_sort(F.collect_set("language")).alias("languages"),
        F.collect_set(F.when(dated, first)).alias("firsts"),
        F.collect_set(F.when(F.col("surname") != "", F.struct("surname", "given"))).alias("names"),
        F.max(F.when(F.col("in_series"), cycle)).alias("cycle"),
        F.to_json(formats).alias("formats"),
        F.min("year").alias("year"),
        F.slice(subjects, 1, MAX_SUBJECTS).alias("subjects"),
        F.min("image_url").alias("image_url"),
        F.count("*").cast("int").alias("editions"),
    )


def _fuller(works: DataFrame) -> DataFrame:
    """`FULLER`: the spellings of authors that stand for a fuller one (`fullest`)."""
    name = works.where(F.size("names") > 1).select("names", F.explode("names").alias("name"))
    pairs = name.select("name.surname", F.col("name.given").alias("given"), F.explode("names").alias("other")).where(
        "other.surname = surname and other.given <> given"
    )

    # Following one spelling to another needs a loop; the pairs are few, and those of a surname come together.
    def run(table: pa.Table) -> pa.Table:
        seen = Counter(zip(*(table[column].to_pylist() for column in ("surname", "given", "other")), strict=True))
        leads = fullest(seen)
        return pa.table([list(leads), list(leads.values())], schema=FULLER)

    columns = pairs.select("surname", "given", F.col("other.given").alias("other"))
    return in_buckets(columns, ["surname"], _BUCKET_ROWS, run, FULLER)


def fullest(shared: dict[tuple[str, str, str], int]) -> dict[str, str]:
    """The spelling that each stands for, where there is a fuller one: `king s` for `king stephen`.

    Each leads to that fuller one with which it shares most works, if first names agree; so John and Jane stay apart,
    whatever J. is.

    Args:
        shared: works that name both, by surname and two given names.
    """
    leads: dict[tuple[str, str], tuple[str, str]] = {}
    votes = sorted((-n, surname, given, other) for (surname, given, other), n in shared.items())
    for _, surname, given, other in votes:
        if _fullness(other) > _fullness(given) and given_agree(given, other) > 0:
            leads.setdefault((surname, given), (surname, other))
    found = {}
    for name, step in leads.items():
        end = step
        while end in leads:
            end = leads[end]
        found[" ".join(name).strip()] = " ".join(end)
    return found


def _fullness(given: str) -> tuple[bool, int, str]:
    return len(given.partition(" ")[0]) > 1, len(given), given


def _with_ids(works: DataFrame, fuller: DataFrame) -> DataFrame:
    """Works with `author_id`, `series_id` and `series_number`."""
    surname = F.substring_index("author_id", " ", 1)  # a surname has no blanks
    named = works.join(fuller, "spelled", "left").withColumn("author_id", F.coalesce("fuller", "spelled"))
    return named.withColumns({
        "series_id": F.when(F.col("cycle").isNotNull(), F.concat_ws("|", surname, "cycle.cycle")),
        "series": F.col("cycle.series_name"), "series_number": F.col("cycle.number"),
        "first_language": F.array_min("firsts").getField("language"),
    })  # fmt: skip


def _named(rows: DataFrame, fuller: DataFrame) -> DataFrame:
    """`author_id`, `name`, `seen`: what each author is called, and all spellings, most frequent first."""
    counted = rows.where("spelled is not null").groupBy("spelled", "person", "written").agg(F.count("*").alias("n"))
    author_id = F.coalesce("fuller", "spelled").alias("author_id")
    forms = counted.join(fuller, "spelled", "left").select(author_id, "person", "written", "n")
    n = {of: F.sum("n").over(Window.partitionBy("author_id", of)) for of in ("person", "written")}
    rated = forms.withColumns({"n_person": n["person"], "n_written": n["written"]})
    best = F.struct(_well_written("person").alias("well"), "n_person", "person")
    ranked = F.collect_set(F.struct((-F.col("n_written")).alias("rank"), "written"))
    return rated.groupBy("author_id").agg(
        F.max(best).getField("person").alias("name"), F.array_sort(ranked).getField("written").alias("seen")
    )


def _authors(works: DataFrame, named: DataFrame) -> DataFrame:
    """The table authors, and `spoken`: the language of more than half of an author's works, or null."""
    languages = F.array_sort(F.collect_list("first_language"))
    middle = F.try_element_at("languages", (F.size("languages") / 2 + 1).cast("int"))  # of a majority one of its own
    most = F.size(F.filter("languages", lambda one: one == F.col("middle"))) * 2 > F.size("languages")
    wrote = works.where("author_id is not null").groupBy("author_id").agg(
        F.count("*").alias("works"), F.sum("editions").alias("editions"),
        F.min("year").alias("first_year"), F.max("year").alias("last_year"), languages.alias("languages"),
    ).withColumn("middle", middle)  # fmt: skip
    aliases = F.slice(F.filter("seen", lambda one: one != F.col("name")), 1, MAX_ALIASES)
    return wrote.join(named, "author_id").withColumns({"aliases": aliases, "spoken": F.when(most, F.col("middle"))})


def _series(works: DataFrame) -> DataFrame:
    place = F.struct(F.coalesce("series_number", F.lit(float("inf"))), F.coalesce("year", F.lit(9999)), "work_id")
    return works.where("series_id is not null").groupBy("series_id").agg(
        F.mode("series", True).alias("name"),
        F.mode("author_id", True).alias("author_id"),
        F.count("*").alias("works"),
        F.array_sort(F.collect_list(place)).getField("work_id").alias("work_ids"),
    )  # fmt: skip


def _with_original_titles(works: DataFrame, authors: DataFrame) -> DataFrame:
    own = F.coalesce("spoken", "first_language")
    originals = F.filter("firsts", lambda one: one.getField("language") == own)
    spoken = works.join(authors.select("author_id", "spoken"), "author_id", "left")
    return spoken.withColumn("original_title", F.array_min(originals).getField("title"))
