"""What the demo shows at the end: times, counts, metrics beside floors, recommendations, SQL, addresses."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from bookworks.adapters import clickhouse, s3
from bookworks.clock import now
from bookworks.contracts.queries import QUERIES
from bookworks.contracts.records import CONSUMED_KINDS, uuid7_of
from bookworks.contracts.reports import INGEST_PREFIX
from bookworks.errors import TransientError
from bookworks.settings import Settings
from infra.local.command import run_command
from infra.local.follow import TaskTime

N = 5
SHOWN_QUERIES = ("recommendations_per_bundle", "click_through_per_surface", "ndcg_by_model_version")
ROWS = 12
FILE_COLUMNS = ["file", "rows in", "sent", "used", "duplicates", "rejected", "reasons"]
WARM_READER = """
    SELECT user_id FROM events FINAL WHERE kind IN {kinds:Array(String)}
    GROUP BY user_id HAVING count() BETWEEN 5 AND 40 ORDER BY count() DESC, user_id LIMIT 1
"""
METRICS = """
    SELECT model, metric, k, value, low, high FROM metrics FINAL
    WHERE slice = 'all' AND k IN (0, 10)
      AND bundle_version = (SELECT argMax(bundle_version, measured_at) FROM metrics FINAL)
"""


def show(console: Console, settings: Settings, steps: list[tuple[str, float]], tasks: list[TaskTime]) -> None:
    """Print everything that a newcomer should see."""
    counts(console, settings)
    client = clickhouse.connect(settings)
    metrics(console, client)
    with httpx.Client(base_url=settings.service_url, timeout=10) as service:
        recommendations(console, settings, client, service)
    time.sleep(3)  # what was just shown travels through Kafka before the queries below ask for it
    for name in SHOWN_QUERIES:
        answer = client.query(QUERIES[name])
        console.print(table(name, list(answer.column_names), answer.result_rows[:ROWS]))
    times(console, steps, tasks)
    addresses(console, settings)


def counts(console: Console, settings: Settings) -> None:
    """Rows of each loaded file, then offsets: produced, stored, duplicate, dead-lettered, missing."""
    console.rule("counts", align="left")
    console.print(table("rows of the last load", FILE_COLUMNS, loaded_files(settings)))
    run_command("ingest", "wait", "--timeout=300")
    run_command("ingest", "reconcile")


def loaded_files(settings: Settings) -> list[list[Any]]:
    """One row a file of the newest load's report: in = sent + used (of look-up files) + duplicates + rejected."""
    newest = max(s3.list_keys(settings, settings.lake_bucket, INGEST_PREFIX))
    body = s3.connect(settings).get_object(Bucket=settings.lake_bucket, Key=newest)["Body"].read()
    return [
        [
            *(file[name] for name in ("file", "rows_in", "sent", "used", "duplicates")), sum(file["rejected"].values()),
            ", ".join(f"{reason}: {count}" for reason, count in file["rejected"].items()),
        ]
        for file in json.loads(body)["files"]
    ]  # fmt: skip


def metrics(console: Console, client: Any) -> None:
    """The newest bundle's metrics, one row a model, floors among them."""
    found: dict[str, dict[str, str]] = {}
    for model, metric, k, value, low, high in client.query(METRICS).result_rows:
        name = f"{metric}@{k}" if k else metric
        interval = f" [{low:.4f}, {high:.4f}]" if high > low else ""
        found.setdefault(model, {})[name] = f"{value:.4f}{interval}"
    names = sorted({name for row in found.values() for name in row})
    rows = [[model, *(row.get(name, "") for name in names)] for model, row in found.items()]
    rows.sort(key=lambda row: row[1 + names.index("ndcg@10")] if "ndcg@10" in names else row[0], reverse=True)
    console.print(table("full-catalogue ranking on the test part, 95 % intervals", ["model", *names], rows))


def recommendations(console: Console, settings: Settings, client: Any, service: httpx.Client) -> None:
    """One warm reader, one new reader, and the new reader again after a click."""
    key = {"X-API-Key": settings.service_api_key.get_secret_value()}
    warm = client.query(WARM_READER, parameters={"kinds": list(CONSUMED_KINDS)}).result_rows
    if warm:
        slate(console, f"warm reader {warm[0][0]}", recommend(service, key, warm[0][0]))
    new = f"demo-{now():%Y%m%d%H%M%S}"
    before = recommend(service, key, new)
    slate(console, f"new reader {new}, before a click", before)
    if before["items"]:
        click(service, key, new, before)
        title = before["items"][0]["title"]
        slate(console, f"the same reader after a click on “{title}”", recommend(service, key, new))


def recommend(service: httpx.Client, key: dict[str, str], user_id: str) -> dict[str, Any]:
    """The service's answer for one reader."""
    return _post(service, "/v1/recommend", key, {"user_id": user_id, "n": N, "surface": "demo"})


def click(service: httpx.Client, key: dict[str, str], user_id: str, answer: dict[str, Any]) -> None:
    """Click on the first book of an answer."""
    item, at = answer["items"][0], now()
    event = {
        "event_id": uuid7_of(f"demo|{user_id}|{item['work_id']}", at),
        "kind": "click",
        "user_id": user_id,
        "work_id": item["work_id"],
        "occurred_at": at.isoformat(),
        "surface": "demo",
        "decision_id": answer["decision_id"],
        "position": item["position"],
    }
    _post(service, "/v1/interactions", key, {"events": [event]})


def _post(service: httpx.Client, path: str, key: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    answer = service.post(path, json=body, headers=key)
    if not answer.is_success:
        raise TransientError(
            f"The service did not answer {path}",
            received=f"{answer.status_code} {answer.text[:300]}",
            todo="look at `bookworks logs service`.",
        )
    return dict(answer.json())


def slate(console: Console, heading: str, answer: dict[str, Any]) -> None:
    """One answer as a table."""
    title = f"{heading} · tier {answer['tier']} · bundle {answer['bundle_version']}"
    rows = [[i["position"], i["title"], i.get("author") or "", f"{i['score']:.3f}"] for i in answer["items"]]
    console.print(table(title, ["", "title", "author", "score"], rows))


def times(console: Console, steps: list[tuple[str, float]], tasks: list[TaskTime]) -> None:
    """Seconds of each step of the demo and of each Airflow task."""
    rows = [[t.dag_id, t.task_id, t.state, f"{t.seconds:.1f}"] for t in tasks]
    console.print(table("time of each Airflow task", ["DAG", "task", "state", "s"], rows))
    total = [["total", f"{sum(seconds for _, seconds in steps):.0f}"]]
    console.print(table("time of each step", ["step", "s"], [[n, f"{s:.0f}"] for n, s in steps] + total))


def addresses(console: Console, settings: Settings) -> None:
    """Where to look, and how to stop."""
    host = settings.bind_host
    rows = [
        ["Airflow", settings.airflow_url, "airflow_user, airflow_password"],
        ["MLflow", settings.mlflow_url, "mlflow_user, mlflow_password"],
        ["MinIO console", f"http://{host}:{settings.minio_console_port}", "s3_access_key, s3_secret_key"],
        ["Neo4j browser", f"http://{settings.neo4j_host}:{settings.neo4j_http_port}", "neo4j_user, neo4j_password"],
        ["service, OpenAPI page", f"{settings.service_url}/docs", "service_api_key"],
    ]
    console.print("where to look", style="bold")
    for what, address, names in rows:
        console.print(f"  {what}: {address} ({names})", highlight=False, soft_wrap=True)
    console.print(f"Passwords are in {settings.state_dir / 'secrets.env'} (mode 600).", highlight=False)
    console.print("The servers stay up. Stop them with `bookworks down` (or `make down`).", highlight=False)


def table(title: str, columns: list[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A rich table of rows turned into text; long words go on in the next line, nothing is cut."""
    grid = Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*(text(cell) for cell in row))
    return grid


def text(cell: Any) -> str:
    """A cell as a person reads it."""
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return f"{cell:%H:%M:%S}" if isinstance(cell, datetime) else str(cell)
