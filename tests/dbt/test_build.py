"""`bookworks dbt -- build` on a real Postgres: marts from raw rows, and what was known at a time."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from bookworks.adapters import postgres
from bookworks.contracts import warehouse
from bookworks.contracts.lake import CLEAN_SCHEMAS
from bookworks.contracts.records import weight_of
from bookworks.settings import Settings

TYPES = {"string": "text", "int32": "integer", "double": "double precision", "timestamp[us, tz=UTC]": "timestamptz"}
NOW = datetime(2026, 7, 1, tzinfo=UTC)
Row = dict[str, Any]
Db = psycopg.Connection[Any]


def at(day: int, month: int = 3) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


def event(n: int, user: str, work: str | None, kind: str, when: datetime | None, value: float | None = None) -> Row:
    return {
        "event_id": f"ev{n:03}", "kind": kind, "user_id": user, "work_id": work, "value": value,
        "occurred_at": when, "received_at": NOW, "source": "test",
    }  # fmt: skip


WORKS = [
    {
        "work_id": f"w{n}",
        "title": f"Title {n}",
        "author": f"A{n % 2}",
        "author_id": f"a{n % 2}",
        "series": "S",
        "series_id": "s",
        "series_number": 4.0 - n,
        "formats": '{"paperback": 1}',
        "languages": ["en"],
        "year": 1990 + n,
        "subjects": ["all", f"s{n}"],
        "editions": 1,
    }
    for n in range(4)
]  # fmt: skip
AUTHORS = [
    {"author_id": f"a{n}", "name": f"A{n}", "aliases": [f"Alias {n}"], "works": 2, "editions": 2} for n in range(2)
]
SERIES = [{"series_id": "s", "name": "S", "author_id": "a0", "works": 4, "work_ids": ["w3", "w2", "w1", "w0"]}]
READERS = [{"user_id": f"r{n}", "country": "DE", "age": 20 + n, "source": "test"} for n in range(3)]
EVENTS = [
    event(1, "r0", "w0", "rating", at(1), 8),
    event(2, "r0", "w1", "click", at(2)),
    event(3, "r1", "w0", "loan", at(3)),
    event(4, "r1", "w1", "purchase", at(20)),
    event(5, "r0", "w2", "impression", at(20)),
    event(6, "r2", None, "view", at(20)),
    event(7, "r0", "w1", "shelve", at(25)),
]


def change(day: int, kind: str, old: str, new: str) -> Row:
    when = NOW + timedelta(days=day)
    return {"old_work_id": old, "new_work_id": new, "kind": kind, "at": when, "why": "test", "editions": [f"e-{old}"]}


def random_history(days: int = 50) -> tuple[list[Row], dict[str, str]]:
    """A change of an id each day, and where each id leads at the end: what replaying day by day gives."""
    rng, merged_into = random.Random(5), dict[str, str]()
    ids, history = [f"h{n}" for n in range(30)], list[Row]()

    def end(work_id: str) -> str:
        return end(merged_into[work_id]) if work_id in merged_into else work_id

    for day in range(days):
        if merged_into and rng.random() < 0.3:
            back = rng.choice(sorted(merged_into))
            history.append(change(day, "restored", end(back), back))
            del merged_into[back]
        else:
            living = [one for one in ids if one not in merged_into]
            old = living.pop(rng.randrange(len(living)))
            merged_into[old] = rng.choice([*living[:4], "w0", "w1", "w2"])
            history.append(change(day, "merge", old, merged_into[old]))
    rng.shuffle(history)
    ids += [str(work["work_id"]) for work in WORKS]
    return history, {one: end(one) for one in ids if end(one).startswith("w")}


HISTORY, LEADS = random_history()


def load(db: Db, events: list[Row], works: list[Row] = WORKS, history: list[Row] = HISTORY) -> None:
    """Replace the raw tables by hand, as `lake_to_warehouse` would; editions of a work that is gone are of the last."""
    editions = [{"edition_id": f"e{n}", "source": "test", "title": w["title"]} for n, w in enumerate(WORKS)]
    of_work = [
        {"edition_id": f"e{n}", "work_id": (w if w in works else works[-1])["work_id"], "confidence": 1.0}
        for n, w in enumerate(WORKS)
    ]
    tables = {
        "works": works,
        "authors": AUTHORS,
        "series": SERIES,
        "work_history": history,
        "readers": READERS,
        "interactions": events,
        "editions": editions,
        "edition_works": of_work,
    }
    with db.transaction():
        for name in warehouse.SCHEMAS:
            db.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(name)))
        for table, rows in tables.items():
            columns = [(f.name, TYPES.get(str(f.type), "text[]")) for f in CLEAN_SCHEMAS[table]]
            ddl = ", ".join(f"{name} {kind}" for name, kind in [*columns, ("loaded_at", "timestamptz")])
            db.execute(f"create table if not exists raw.{table} ({ddl})")
            for name, kind in columns:  # of a stack that an older version filled
                db.execute(f"alter table raw.{table} add column if not exists {name} {kind}")
            db.execute(f"truncate raw.{table}")
            for row in rows:
                filled = row | {"loaded_at": datetime.now(UTC)}
                marks = ", ".join(["%s"] * len(filled))
                db.execute(f"insert into raw.{table} ({', '.join(filled)}) values ({marks})", list(filled.values()))


def build(*arguments: str) -> None:
    command = [sys.executable, "-m", "bookworks.cli.main", "dbt", "--", "--no-use-colors", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def rows(db: Db, query: str, *values: object) -> list[tuple[Any, ...]]:
    return db.execute(query, values).fetchall()


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    ready: Settings = stack.need("postgres")
    postgres.ensure_databases(ready)
    return ready


@pytest.mark.integration
def test_marts_and_what_was_known_at_a_time(settings: Settings) -> None:
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        load(db, EVENTS)
        build("build")
        check_marts(db)
        first_build = rows(db, "select clock_timestamp()")[0][0]
        before = rows(db, "select * from marts.interactions_as_of(%s) order by user_id, work_id", at(10))
        later = [event(8, "r0", "w0", "rating", at(1, 4), 2), event(9, "r1", "w1", "dismiss", at(2, 4))]
        load(db, [*EVENTS, *later], WORKS[:3], [change(0, "merge", "w3", "w2")])
        build("build", "--exclude-resource-type", "test", "unit_test")
        check_as_of(db, first_build)
        assert rows(db, "select * from marts.interactions_as_of(%s) order by user_id, work_id", at(10)) == before
        load(db, [event(n, f"r{n % 3}", f"w{n % 4}", "rating", None, float(n % 11)) for n in range(24)])
        build("build")
        check_without_times(db)


def check_marts(db: Db) -> None:
    assert rows(db, "select user_id, work_id, weight, value, kind from marts.interactions order by 1, 2") == [
        ("r0", "w0", weight_of("rating", 8), 8, "rating"),
        ("r0", "w1", weight_of("shelve"), None, "shelve"),
        ("r1", "w0", weight_of("loan"), None, "loan"),
        ("r1", "w1", weight_of("purchase"), None, "purchase"),
    ]
    features = (
        "select total_interactions, avg_rating, recency_days::float, age_bin, preferred_authors, preferred_subjects"
    )
    assert rows(db, f"{features} from marts.readers order by user_id") == [
        (3, 8, 0, "18-24", ["a0", "a1"], ["all", "s0", "s1"]),
        (2, None, 5, "18-24", ["a0", "a1"], ["all", "s0", "s1"]),
        (0, None, None, "18-24", [], []),
    ]
    popularity = "select popularity_7d, popularity_30d, popularity_90d, popularity_all, ratings, avg_rating, year_bin"
    assert rows(db, f"{popularity} from marts.works order by work_id") == [
        (0, 2, 2, 2, 1, 8, "1990s"),
        (2, 2, 2, 2, 0, 8, "1990s"),
        (0, 0, 0, 0, 0, 8, "1990s"),
        (0, 0, 0, 0, 0, 8, "1990s"),
    ]
    assert rows(db, "select work_id, other_work_id, readers, similarity from marts.work_co_occurrence order by 1") == [
        ("w0", "w1", 2, 1.0), ("w1", "w0", 2, 1.0),
    ]  # fmt: skip
    assert rows(db, "select user_id, work_ids, has_time from marts.reader_sequences order by 1") == [
        ("r0", ["w0", "w1"], True), ("r1", ["w0", "w1"], True),
    ]  # fmt: skip
    assert rows(db, "select author_id, name, aliases, works, readers from marts.authors order by 1") == [
        ("a0", "A0", ["Alias 0"], 2, 2), ("a1", "A1", ["Alias 1"], 2, 2),
    ]  # fmt: skip
    series = "select name, author_id, works, work_ids[1], readers, popularity_all from marts.series"
    assert rows(db, series) == [("S", "a0", 4, "w3", 2, 4)]
    entity = "select series_id, series_number, languages, formats -> 'paperback' from marts.works where work_id = 'w1'"
    assert rows(db, entity) == [("s", 3, ["en"], 1)]
    assert dict(rows(db, "select work_id, current_work_id from marts.work_ids")) == LEADS
    assert len(LEADS) > 10, "a history that proves little"
    merges = "select count(*), count(*) filter (where kind = 'merge') from marts.work_history"
    assert rows(db, merges) == [(len(HISTORY), sum(row["kind"] == "merge" for row in HISTORY))]


def check_as_of(db: Db, first_build: datetime) -> None:
    now = rows(db, "select clock_timestamp()")[0][0]
    assert rows(db, "select weight, kind from marts.interactions where user_id = 'r0' and work_id = 'w0'") == [
        (0.2, "rating")
    ]
    assert rows(db, "select weight, kind from marts.interactions where user_id = 'r1' and work_id = 'w1'") == [
        (0.0, "dismiss")
    ]
    known = "select avg_rating from snapshots.reader_features_as_of(%s) where user_id = 'r0'"
    assert rows(db, known, first_build) == [(8,)]
    assert rows(db, known, now) == [(2,)]
    popular = "select popularity_all from snapshots.work_features_as_of(%s) where work_id = 'w1'"
    assert (rows(db, popular, first_build), rows(db, popular, now)) == ([(2,)], [(1,)])
    merged = "select count(*) from snapshots.work_features_as_of(%s) where work_id = 'w3'"
    assert (rows(db, merged, first_build), rows(db, merged, now)) == ([(1,)], [(0,)])
    assert ("w3", "w2") in rows(db, "select work_id, current_work_id from marts.work_ids")


def check_without_times(db: Db) -> None:
    assert rows(db, "select bool_or(has_time), count(occurred_at) from marts.interactions") == [(False, 0)]
    assert rows(db, "select count(popularity_7d), min(popularity_all) from marts.works") == [(0, 3)]
    assert rows(db, "select count(last_at), count(recency_days) from marts.readers") == [(0, 0)]


@pytest.mark.integration
def test_an_event_and_its_weight_agree_with_the_kernel(settings: Settings) -> None:
    events = [event(n, "r0", "w0", kind, at(1)) for n, kind in enumerate(("view", "click", "shelve", "loan"))]
    events += [event(10 + n, "r0", "w0", "rating", at(1), float(n)) for n in range(11)]
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        load(db, events)
        build("run", "--select", "+int_interactions__weighed")
        stored = rows(db, "select kind, value, weight from intermediate.int_interactions__weighed")
    assert len(stored) == 15
    assert all(weight == pytest.approx(weight_of(kind, value)) for kind, value, weight in stored)


@pytest.mark.integration
def test_a_warehouse_that_is_away_is_told_in_words(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKWORKS_POSTGRES_PORT", "9")
    command = [sys.executable, "-m", "bookworks.cli.main", "dbt", "--", "build"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 75
    assert "Postgres does not let us in" in done.stderr
    assert "Traceback" not in done.stderr
    assert settings.postgres_password.get_secret_value() not in done.stderr + done.stdout
