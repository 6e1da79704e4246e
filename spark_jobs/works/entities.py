"""Works, authors and series, described by their editions. Pure: DataFrames in, DataFrames out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby, permutations
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from bookworks.contracts.lake import CLEAN_SCHEMAS
from spark_jobs.frames import in_buckets
from spark_jobs.works.persons import given_agree

Row = dict[str, Any]

MAX_SUBJECTS = 20
MAX_ALIASES = 20
_FORMAT_WORDS = {
    "audio": r"audi|cassette|\bcds?\b|mp3|h(ö|o|oe)rb|lesung|livre lu",
    "ebook": r"e-?(book|livre)|kindle|nook|epub|pdf|digital|electronic|elektronisch|num(é|e)rique|electr(ó|o)nico",
    "paperback": r"paper|mass market|soft ?(cover|back)|taschen|brosch|kartoniert|broch|poche|pocket|r(ú|u)stica|"
    r"blanda|brossura|bolso",
    "hardcover": r"hard|cloth|gebunden|reli(é|e)|cartonn|tapa dura|rilegat|library binding|leather|leinen",
}
_FORMATS = {name: re.compile(pattern) for name, pattern in _FORMAT_WORDS.items()}
_SERIES_MARK = re.compile(r"\s*[(\[][^()\[\]]*#\s*\d[^()\[\]]*[)\]]\s*$")  # "(Discworld, #4)"
_BUCKET_ROWS = 20_000

_text = pa.string()


def _structs(*fields: tuple[str, pa.DataType]) -> pa.DataType:
    return pa.list_(pa.struct(list(fields)))


# What is known of a work by itself.
DESCRIBED = pa.schema([
    *(pa.field(name, _text) for name in ("work_id", "title", "author", "spelled", "publisher", "language", "formats",
                                         "image_url", "cycle", "series_name", "first_language")),
    pa.field("series_number", pa.float64()), pa.field("year", pa.int32()), pa.field("editions", pa.int32()),
    pa.field("languages", pa.list_(_text)), pa.field("subjects", pa.list_(_text)),
    pa.field("firsts", _structs(("language", _text), ("title", _text))),
    pa.field("persons", _structs(("spelled", _text), ("person", _text), ("written", _text), ("n", pa.int64()))),
    pa.field("namesakes", _structs(("surname", _text), ("given", _text), ("other", _text))),
])  # fmt: skip
FULLER = pa.schema([pa.field("spelled", _text), pa.field("fuller", _text)])


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
    # To weigh many texts of a work against one another takes loops; those of a work come together.
    rows = _rows(editions, assigned, parsed)
    alone = in_buckets(rows, ["work_id"], _BUCKET_ROWS, describe_works, DESCRIBED).localCheckpoint()
    fuller = F.broadcast(_fuller(alone).localCheckpoint())
    works = _with_ids(alone, fuller).localCheckpoint()
    authors = _authors(works, _named(works, fuller)).localCheckpoint()
    series = _series(works).localCheckpoint()
    titled = _with_original_titles(works.drop("series"), authors)
    named = titled.join(series.select("series_id", F.col("name").alias("series")), "series_id", "left")
    frames = {"works": named, "authors": authors, "series": series}
    whole, people, cycles = (frame.select(*CLEAN_SCHEMAS[name].names) for name, frame in frames.items())
    return whole, people, cycles


def _rows(editions: DataFrame, assigned: DataFrame, parsed: DataFrame) -> DataFrame:
    """Editions with their works and what was parsed of them."""
    told = parsed.select(
        "edition_id", "main", "surname", "given", "written", F.col("author").alias("person"), "translated",
        F.col("series").alias("cycle"), "series_name", "series_number",
    )  # fmt: skip
    said = editions.select("edition_id", "title", "author", "publisher", "language", "year", "series", "format",
                           F.slice("subjects", 1, MAX_SUBJECTS).alias("subjects"), "image_url")  # fmt: skip
    return said.join(assigned.select("edition_id", "work_id"), "edition_id").join(told, "edition_id")


def describe_works(table: pa.Table) -> pa.Table:
    """`DESCRIBED` of whole works, from the rows of their editions."""
    rows = sorted(table.to_pylist(), key=lambda row: (row["work_id"], row["edition_id"]))
    works = [describe_work(list(editions)) for _, editions in groupby(rows, key=lambda row: row["work_id"])]
    return pa.Table.from_pylist(works, schema=DESCRIBED)


def describe_work(editions: list[Row]) -> Row:
    """One row of `DESCRIBED`, from all editions of a work."""
    bare = [_SERIES_MARK.sub("", row["title"]) or row["title"] for row in editions]
    persons = Counter(
        (row["surname"], row["given"], row["person"], row["written"]) for row in editions if row["surname"]
    )
    years = [row["year"] for row in editions if row["year"] is not None]
    return {
        "work_id": editions[0]["work_id"],
        "title": _best_title([row["main"] for row in editions], bare),
        **{name: _most(row[name] for row in editions) for name in ("author", "publisher", "language")},
        "spelled": _most(_spelled(row["surname"], row["given"]) for row in editions if row["surname"]),
        "year": min(years, default=None),
        "languages": sorted({row["language"] for row in editions if row["language"]}),
        "formats": json.dumps(dict(sorted(Counter(format_name(row["format"]) for row in editions).items()))),
        "subjects": sorted({subject for row in editions for subject in row["subjects"] or ()})[:MAX_SUBJECTS],
        "image_url": min((row["image_url"] for row in editions if row["image_url"]), default=None),
        "editions": len(editions),
        "persons": [
            {"spelled": _spelled(surname, given), "person": person, "written": written, "n": n}
            for (surname, given, person, written), n in persons.items()
        ],
        "namesakes": [
            {"surname": surname, "given": given, "other": other}
            for surname, names in groupby(sorted({one[:2] for one in persons}), key=lambda name: name[0])
            for (_, given), (_, other) in permutations(names, 2)
        ],
        **_place_in_series(editions), **_firsts(editions, bare),
    }  # fmt: skip


def _spelled(surname: str, given: str) -> str:
    return f"{surname} {given}".strip()


def _most(values: Iterable[Any]) -> Any:
    """The most frequent value, of several the smallest; None where there is none."""
    told = [value for value in values if value is not None]
    if len(set(told)) <= 1:  # so it is with most works
        return told[0] if told else None
    counted = Counter(told)
    return min(counted, key=lambda value: (-counted[value], value))


def _best_title(mains: list[str], titles: list[str]) -> str:
    frequent, counted = Counter(mains), Counter(zip(mains, titles, strict=True))
    best = max(counted, key=lambda one: (frequent[one[0]], _well_written(one[1]), counted[one], -len(one[1]), one[1]))
    return best[1]


def _well_written(text: str) -> bool:
    """Whether a text is neither all capitals nor all small, where its script has both."""
    return text not in {text.upper(), text.lower()} or text.upper() == text.lower()


@lru_cache(maxsize=4096)
def format_name(written: str | None) -> str:
    """What a format's words say: audio, ebook, paperback, hardcover, the first that fits; else other, or unknown."""
    folded = (written or "").strip().lower()
    if not folded:
        return "unknown"
    return next((name for name, pattern in _FORMATS.items() if pattern.search(folded)), "other")


def _place_in_series(editions: list[Row]) -> Row:
    """The series that most editions name, and the number in it.

    A name in a title's brackets without a number may be anything: "(Oprah's Book Club)".
    """
    named = [row for row in editions if row["cycle"] and (row["series"] or row["series_number"])]
    cycle = _most(row["cycle"] for row in named)
    own = [row for row in named if row["cycle"] == cycle]
    number, name = _most(_number(row["series_number"]) for row in own), _most(row["series_name"] for row in own)
    return {"cycle": cycle, "series_number": number, "series_name": name}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _firsts(editions: list[Row], titles: list[str]) -> Row:
    """The title of the first dated edition in each language, translations that name the translator left out."""
    dated = sorted(
        (row["year"], row["language"], not _well_written(title), len(title), title)
        for row, title in zip(editions, titles, strict=True)
        if row["year"] is not None and row["language"] and not row["translated"]
    )
    first: dict[str, str] = {}
    for _, language, _, _, title in dated:
        first.setdefault(language, title)
    firsts = [{"language": language, "title": title} for language, title in first.items()]
    return {"firsts": firsts, "first_language": dated[0][1] if dated else None}


def _fuller(works: DataFrame) -> DataFrame:
    """`FULLER`: the spellings of authors that stand for a fuller one (`fullest`)."""
    pairs = works.select(F.inline("namesakes"))

    # Following one spelling to another needs a loop; the pairs are few, and those of a surname come together.
    def run(table: pa.Table) -> pa.Table:
        seen = Counter(zip(*(table[column].to_pylist() for column in ("surname", "given", "other")), strict=True))
        leads = fullest(seen)
        return pa.table([list(leads), list(leads.values())], schema=FULLER)

    return in_buckets(pairs, ["surname"], _BUCKET_ROWS, run, FULLER)


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
    """Works with `author_id` and `series_id`."""
    surname = F.substring_index("author_id", " ", 1)  # a surname has no blanks
    named = works.join(fuller, "spelled", "left").withColumn("author_id", F.coalesce("fuller", "spelled"))
    return named.withColumns({
        "series_id": F.when(F.col("cycle").isNotNull(), F.concat_ws("|", surname, "cycle")),
        "series": F.col("series_name"),
    })  # fmt: skip


def _named(works: DataFrame, fuller: DataFrame) -> DataFrame:
    """`author_id`, `name`, `seen`: what each author is called, and all spellings, most frequent first."""
    counted = works.select(F.inline("persons")).groupBy("spelled", "person", "written").agg(F.sum("n").alias("n"))
    author_id = F.coalesce("fuller", "spelled").alias("author_id")
    forms = counted.join(fuller, "spelled", "left").select(author_id, "person", "written", "n")
    n = {of: F.sum("n").over(Window.partitionBy("author_id", of)) for of in ("person", "written")}
    rated = forms.withColumns({"n_person": n["person"], "n_written": n["written"]})
    shouted = (F.col("person") == F.upper("person")) & (F.col("person") != F.lower("person"))
    best = F.struct((~shouted).alias("well"), "n_person", "person")
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
    return spoken.withColumn("original_title", F.try_element_at(originals, F.lit(1)).getField("title"))
