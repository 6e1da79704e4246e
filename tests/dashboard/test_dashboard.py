"""The dashboard against the real ClickHouse, and what it says when ClickHouse is away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from streamlit.testing.v1 import AppTest

from bookworks.adapters.clickhouse import connect, ensure_tables
from bookworks.contracts.queries import QUERIES
from bookworks.settings import PROJECT_ROOT, get_settings

APP = str(PROJECT_ROOT / "dashboard" / "app.py")
DATABASE = "bookworks_dashboard_test"
MORNING, NOON = datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC)


def _open() -> AppTest:
    return AppTest.from_file(APP, default_timeout=60).run()


@pytest.fixture
def database(stack: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The platform's tables in a database of this test's own, which the dashboard is told to read."""
    stack.need("clickhouse")
    monkeypatch.setenv("BOOKWORKS_CLICKHOUSE_DATABASE", DATABASE)
    settings = stack.settings
    root = connect(settings, database="default")
    root.command(f"DROP DATABASE IF EXISTS {DATABASE}")
    ensure_tables(settings)
    client = connect(settings)
    yield client
    root.command(f"DROP DATABASE {DATABASE}")
    client.close()
    root.close()
    get_settings.cache_clear()


def _show(client: Client, decision: str, bundle: str, works: list[str], at: datetime) -> None:
    rows = [
        [decision, "anna", "home", bundle, "full", [], at, 4.0, work, position, 1.0, {}, "service", 1.0, [], {}]
        for position, work in enumerate(works)
    ]
    client.insert("decisions", rows)


def _event(client: Client, event_id: str, kind: str, **fields: object) -> None:
    row = {"event_id": event_id, "kind": kind, "user_id": "anna", "received_at": NOON, "source": "service"} | fields
    client.insert("events", [list(row.values())], column_names=list(row))


def _fill(client: Client) -> None:
    _show(client, "d1", "v1", ["w1", "w2"], MORNING)
    _show(client, "d2", "v2", ["w1", "w3"], NOON)
    _event(client, "e1", "click", surface="home", decision_id="d1", work_id="w2")
    _event(client, "e1", "click", surface="home", decision_id="d1", work_id="w2")  # delivered twice
    _event(client, "e2", "click", surface="home", decision_id="d2", work_id="w9")  # was not shown
    for number in range(4):
        _event(client, f"i{number}", "impression", surface="mail", work_id="w1", source="simulate")
    _event(client, "c1", "click", surface="mail", work_id="w1", source="simulate")
    client.insert("metrics", [
        ["v2", "two_tower", "ndcg", 10, "all", 0.30, 0.25, 0.35, NOON],
        ["v2", "popularity", "ndcg", 10, "all", 0.10, 0.05, 0.15, NOON],
        ["v2", "two_tower", "recall", 10, "all", 0.50, 0.40, 0.60, NOON],
    ])  # fmt: skip
    client.insert("pipeline_runs", [["features", "r1", "success", MORNING, NOON, ""]])


@pytest.mark.integration
def test_queries_count_what_happened(database: Client) -> None:
    _fill(database)
    answers = {name: list(database.query(sql).named_results()) for name, sql in QUERIES.items()}
    bundles = {row["bundle_version"]: row["recommendations"] for row in answers["recommendations_per_bundle"]}
    assert bundles == {"v1": 2, "v2": 2}
    surfaces = {row["surface"]: row for row in answers["click_through_per_surface"]}
    assert (surfaces["home"]["shown"], surfaces["home"]["clicks"]) == (4, 1)
    assert (surfaces["mail"]["shown"], surfaces["mail"]["click_through"]) == (4, 0.25)
    assert [row["model"] for row in answers["ndcg_by_model_version"]] == ["two_tower", "popularity"]
    assert answers["pipeline_runs"][0]["seconds"] == 4 * 3600


@pytest.mark.integration
def test_page_shows_each_answer_with_its_sql(database: Client) -> None:
    _fill(database)
    app = _open()
    assert not app.exception
    assert not app.error
    assert [header.value for header in app.header] == [
        "Recommendations per bundle version", "Click-through per surface", "NDCG by model version", "Pipeline runs",
    ]  # fmt: skip
    assert set(app.dataframe[0].value["bundle_version"]) == {"v1", "v2"}
    assert [code.value for code in app.code] == [sql.strip() for sql in QUERIES.values()]


@pytest.mark.integration
def test_page_says_that_nothing_is_recorded_yet(database: Client) -> None:
    app = _open()
    assert not app.error
    assert {info.value for info in app.info} == {"Nothing recorded yet."}
    assert len(app.info) == len(QUERIES)


@pytest.mark.integration
def test_page_names_the_remedy_when_the_tables_are_missing(database: Client) -> None:
    database.command("DROP TABLE metrics")
    app = _open()
    assert not app.exception
    assert "ndcg_by_model_version" in app.error[0].value
    assert "bookworks up clickhouse" in app.error[0].value


def test_page_says_so_when_clickhouse_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKWORKS_CLICKHOUSE_PORT", "9")
    get_settings.cache_clear()
    try:
        app = _open()
    finally:
        get_settings.cache_clear()
    assert not app.exception
    assert "ClickHouse does not let us in" in app.error[0].value
    assert "bookworks status clickhouse" in app.error[0].value
