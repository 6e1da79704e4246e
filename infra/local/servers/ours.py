"""bookworks' own programs: the consumers of the stream, the recorder of DAG runs, the recommendation service."""

from __future__ import annotations

import sys

import httpx

from bookworks.errors import TransientError
from infra.local import supervisor
from infra.local.server import Context, Program, Server

CONSUMER_MODULES = {
    "kafka-to-lake": "ingestion.kafka_to_lake",
    "kafka-to-online": "ingestion.kafka_to_online",
    "kafka-to-clickhouse": "analytics.kafka_to_clickhouse",
    "airflow-to-clickhouse": "analytics.airflow_to_clickhouse",
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SETTLED_S = 2.0  # a consumer that has run for so long has found its settings and its code


def consumers(_: Context) -> list[Program]:
    """One process per place that the stream flows into, and one that records DAG runs."""
    return [Program(name, [sys.executable, "-m", module], ONE_THREAD) for name, module in CONSUMER_MODULES.items()]


def check_consumers(context: Context) -> None:
    """Each consumer runs, and not only since a moment ago."""
    for name in CONSUMER_MODULES:
        age = supervisor.running_for(context.layout, name)
        if age is None or age < SETTLED_S:
            raise TransientError(
                f"{name} does not run", received="no process" if age is None else f"up for {age:.0f} s"
            )


def service(_: Context) -> list[Program]:
    """The recommendation service."""
    return [Program("service", [sys.executable, "-m", "serving.run"], stop_group=True)]


def check_service(context: Context) -> None:
    """The service answers; whether it already has a bundle is asked at `/readyz`."""
    httpx.get(f"{context.settings.service_url}/healthz", timeout=5).raise_for_status()


CONSUMERS = Server(
    name="consumers",
    programs=consumers,
    check=check_consumers,
    after=("kafka", "minio", "redis", "clickhouse"),
)
SERVICE = Server(
    name="service",
    programs=service,
    check=check_service,
    ports=("service_port",),
    after=("kafka", "minio", "redis", "postgres", "mlflow"),
    page=lambda settings: f"{settings.service_url}/docs",
)
