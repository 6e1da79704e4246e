"""The real servers: their passwords, their addresses, their secrets, and what happens when one dies."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from contextlib import suppress

import boto3
import httpx
import kafka
import neo4j
import psutil
import psycopg
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError
from kafka.errors import KafkaError

from bookworks.adapters import redis as redis_adapter
from bookworks.settings import Settings
from infra.local import processes
from infra.local import stack as servers
from infra.local.layout import layout_of
from infra.local.secrets import secret_fields
from tests.conftest import Stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

WRONG = "wrong-password"
STARTED = ("kafka", "minio", "postgres", "redis", "neo4j", "clickhouse", "mlflow", "airflow", "consumers", "service")


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.need(*STARTED)


def ask_kafka(settings: Settings) -> None:
    kafka.KafkaAdminClient(
        bootstrap_servers=settings.kafka_bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=settings.kafka_user,
        sasl_plain_password=WRONG,
        bootstrap_timeout_ms=5000,
    )


def ask_kafka_without_password(settings: Settings) -> None:
    kafka.KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap, bootstrap_timeout_ms=3000)


def ask_minio(settings: Settings) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=WRONG,
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        client.list_buckets()
    finally:
        client.close()


def ask_postgres(settings: Settings) -> None:
    address = f"host={settings.postgres_host} port={settings.postgres_port} dbname=postgres"
    psycopg.connect(f"{address} user={settings.postgres_user} password={WRONG}").close()


def ask_redis(settings: Settings, password: str | None = WRONG) -> None:
    with redis.Redis(host=settings.redis_host, port=settings.redis_port, password=password) as client:
        client.ping()


def ask_neo4j(settings: Settings, password: str = WRONG) -> None:
    with neo4j.GraphDatabase.driver(settings.neo4j_uri, auth=(settings.neo4j_user, password)) as driver:
        driver.verify_connectivity()


def ask_mlflow(settings: Settings) -> None:
    url = f"{settings.mlflow_url}/api/2.0/mlflow/experiments/search"
    httpx.post(url, json={"max_results": 1}, auth=(settings.mlflow_user, WRONG)).raise_for_status()


def ask_mlflow_for_artifacts(settings: Settings) -> None:
    httpx.get(f"{settings.mlflow_url}/api/2.0/mlflow-artifacts/artifacts").raise_for_status()


def ask_airflow(settings: Settings) -> None:
    body = {"username": settings.airflow_user, "password": WRONG}
    httpx.post(f"{settings.airflow_url}/auth/token", json=body).raise_for_status()


def ask_airflow_without_token(settings: Settings) -> None:
    httpx.get(f"{settings.airflow_url}/api/v2/dags").raise_for_status()


@pytest.mark.parametrize(
    ("ask", "refusal"),
    [
        (ask_kafka, KafkaError),
        (ask_kafka_without_password, KafkaError),
        (ask_minio, ClientError),
        (ask_postgres, psycopg.OperationalError),
        (ask_redis, redis.AuthenticationError),
        (lambda settings: ask_redis(settings, None), redis.AuthenticationError),
        (ask_neo4j, neo4j.exceptions.AuthError),
        (lambda settings: ask_neo4j(settings, "neo4j"), neo4j.exceptions.AuthError),
        (ask_mlflow, httpx.HTTPStatusError),
        (ask_mlflow_for_artifacts, httpx.HTTPStatusError),
        (ask_airflow, httpx.HTTPStatusError),
        (ask_airflow_without_token, httpx.HTTPStatusError),
    ],
)
def test_wrong_password_is_refused(settings: Settings, ask: Callable[[Settings], None], refusal: type) -> None:
    with pytest.raises(refusal) as refused:
        ask(settings)
    if isinstance(refused.value, httpx.HTTPStatusError):
        assert refused.value.response.status_code in {401, 403}
    assert "refused" not in str(refused.value).lower() or "authent" in str(refused.value).lower()


def test_everything_listens_on_loopback_only(settings: Settings) -> None:
    pids = {process.pid for process in processes.of_stack(layout_of(settings))}
    listening = [
        connection
        for connection in psutil.net_connections("inet")
        if connection.pid in pids and (connection.status == psutil.CONN_LISTEN or connection.raddr == ())
    ]
    ports = {connection.laddr.port for connection in listening}
    for name in ("kafka", "kafka_controller", "minio", "postgres", "redis", "neo4j", "clickhouse", "mlflow", "airflow"):
        assert getattr(settings, f"{name}_port") in ports
    abroad = [c for c in listening if not ipaddress.ip_address(c.laddr.ip.removeprefix("::ffff:")).is_loopback]
    assert not abroad


def test_no_secret_in_arguments_or_logs(settings: Settings) -> None:
    secrets = [getattr(settings, name).get_secret_value() for name in secret_fields()]
    for process in processes.of_stack(layout_of(settings)):
        with suppress(psutil.NoSuchProcess):
            arguments = " ".join(process.cmdline())
            assert not any(secret in arguments for secret in secrets)
    for log in layout_of(settings).logs.iterdir():
        text = log.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), log


def test_state_is_for_its_owner_alone(settings: Settings) -> None:
    layout = layout_of(settings)
    for folder in (layout.state, layout.config, layout.logs, layout.run, layout.data):
        assert folder.stat().st_mode & 0o077 == 0
    for path in (*layout.config.iterdir(), *layout.run.iterdir(), layout.state / "secrets.env"):
        assert path.stat().st_mode & 0o077 == 0 or path.suffix in {".pid", ".starts", ".number"}


def test_status_says_up_for_all(settings: Settings) -> None:
    assert {line.server: line.state for line in servers.health(settings, [])} == dict.fromkeys(STARTED, "up")


def test_second_up_while_running_changes_nothing(settings: Settings) -> None:
    before = {process.pid for process in processes.of_stack(layout_of(settings))}
    runs = servers.up(settings, ["redis", "kafka"], lambda _: None)
    assert all(run.was_running for run in runs)
    assert {run.server.name for run in runs} == {"redis", "kafka"}
    assert processes.recorded(layout_of(settings), "redis")[0].pid in before


@pytest.mark.parametrize("program", ["redis", "kafka-to-lake", "minio"])
def test_what_is_killed_comes_back(settings: Settings, program: str) -> None:
    layout = layout_of(settings)
    known = processes.recorded(layout, program)
    assert known is not None
    known[0].kill()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        again = processes.recorded(layout, program)
        if again is not None and again[0].pid != known[0].pid:
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"{program} did not come back")
    name = "consumers" if program.startswith("kafka-to") else program
    while servers.health(settings, [name])[0].state != "up":
        assert time.monotonic() < until
        time.sleep(0.5)


def test_redis_keeps_what_it_knew_over_a_crash(settings: Settings) -> None:
    with redis_adapter.connect(settings) as client:
        client.set("infra-test", "kept")
        time.sleep(1.5)  # the append-only file is synchronised every second
    processes.recorded(layout_of(settings), "redis")[0].kill()
    until = time.monotonic() + 60
    while True:
        try:
            with redis_adapter.connect(settings) as client:
                assert client.get("infra-test") == "kept"
                client.delete("infra-test")
            return
        except redis.ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.2)


def test_postgres_has_pgvector_and_utf8(settings: Settings) -> None:
    with psycopg.connect(settings.postgres_dsn(settings.warehouse_db), autocommit=True) as db:
        assert db.execute("show server_encoding").fetchone() == ("UTF8",)
        assert db.execute("show password_encryption").fetchone() == ("scram-sha-256",)
        db.execute("create extension if not exists vector")
        assert db.execute("select '[1,2]'::vector <-> '[1,4]'::vector").fetchone() == (2.0,)


def test_mlflow_keeps_artifacts_in_the_object_store(settings: Settings) -> None:
    auth = (settings.mlflow_user, settings.mlflow_password.get_secret_value())
    url = f"{settings.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/infra-test/note.txt"
    with httpx.Client(auth=auth, timeout=30) as client:
        client.put(url, content=b"kept").raise_for_status()
        assert client.get(url).content == b"kept"
        client.delete(url).raise_for_status()


def test_airflow_gives_a_token_and_reads_the_dags(settings: Settings) -> None:
    body = {"username": settings.airflow_user, "password": settings.airflow_password.get_secret_value()}
    with httpx.Client(base_url=settings.airflow_url, timeout=30) as client:
        token = client.post("/auth/token", json=body).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        errors = client.get("/api/v2/importErrors").raise_for_status().json()
        assert errors["total_entries"] == 0, errors
