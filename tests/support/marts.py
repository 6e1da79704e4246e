"""Small marts in a real Postgres, with the columns that the dbt project gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from bookworks.adapters import postgres
from bookworks.settings import Settings

TABLES = """
create schema if not exists raw;
create schema if not exists marts;
drop table if exists raw.editions, raw.edition_works, marts.works, marts.authors, marts.work_ids, marts.readers cascade;
drop table if exists marts.events cascade;
drop function if exists marts.interactions_as_of(timestamptz);
create table raw.editions (edition_id text, isbn13 text);
create table raw.edition_works (edition_id text, work_id text);
create table marts.works (
    work_id text, title text, author text, author_id text, series text, publisher text, year integer, year_bin text,
    language text, subjects text[], image_url text, editions integer, original_title text, series_id text,
    series_number float8
);
create table marts.authors (author_id text, name text, aliases text[]);
create table marts.work_ids (work_id text, current_work_id text);
create table marts.readers (user_id text, age_bin text, country text);
create table marts.events (user_id text, work_id text, weight float8, occurred_at timestamptz);
create function marts.interactions_as_of(t timestamptz)
returns table (user_id text, work_id text, weight float8, occurred_at timestamptz) language sql stable as
$$ select user_id, work_id, weight, occurred_at from marts.events where occurred_at is null or occurred_at <= t $$;
"""
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
AGE_BINS = ("18-24", "25-34", "35-44", None)
COUNTRIES = ("germany", "usa")
TASTES = 6


def make_marts(
    settings: Settings, n_works: int = 120, n_readers: int = 150, per_reader: int = 14, seed: int = 1
) -> None:
    """Readers with one of six tastes who mostly read works of that taste, over 200 days.

    Works `w-a` and `w-b` were merged into `w0007`, whose author has a further name.
    """
    rng = np.random.default_rng(seed)
    with postgres.connect(settings, settings.warehouse_db) as db:
        db.execute(TABLES)
        with db.cursor() as cursor:
            cursor.executemany(
                "insert into marts.works values (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)",
                [_work(i) for i in range(n_works)],
            )
            cursor.execute("insert into marts.authors values ('author 7', 'Author Seven', '{A. Seven}')")
            ids = [(f"w{i:04d}", f"w{i:04d}") for i in range(n_works)]
            cursor.executemany("insert into marts.work_ids values (%s,%s)", [*ids, ("w-b", "w0007"), ("w-a", "w0007")])
            pairs = [(f"w{i:04d}-e{e}", f"w{i:04d}") for i in range(n_works) for e in range(2)]
            cursor.executemany("insert into raw.edition_works values (%s,%s)", pairs)
            cursor.executemany("insert into raw.editions values (%s,%s)", [(edition, None) for edition, _ in pairs])
            cursor.executemany(
                "insert into marts.readers values (%s,%s,%s)",
                [(f"r{r:04d}", AGE_BINS[r % 4], COUNTRIES[r % 2]) for r in range(n_readers)],
            )
            events = [e for r in range(n_readers) for e in _events(rng, r, n_works, per_reader)]
            cursor.executemany("insert into marts.events values (%s,%s,%s,%s)", events)


def _work(i: int) -> tuple[object, ...]:
    author = f"Author {i % 30}"
    title = f"The {('river', 'murder', 'garden', 'ship', 'winter', 'letter')[i % TASTES]} number {i}"
    subjects = [f"subject {i % TASTES}"]
    return (
        f"w{i:04d}",
        title,
        author,
        author.lower(),
        None,
        f"P {i % 5}",
        1990 + i % 30,
        "1990s",
        "en",
        subjects,
        None,
        2,
    )


def _events(rng: np.random.Generator, reader: int, n_works: int, count: int) -> list[tuple[object, ...]]:
    taste = reader % TASTES
    chance = np.where(np.arange(n_works) % TASTES == taste, 8.0, 0.3)
    works = rng.choice(n_works, size=count, replace=False, p=chance / chance.sum())
    days = np.sort(rng.uniform(0, 200, size=count))
    times = [FIRST_DAY + timedelta(days=float(day)) for day in days]
    return [(f"r{reader:04d}", f"w{w:04d}", 1.0, at) for w, at in zip(works, times, strict=True)]
