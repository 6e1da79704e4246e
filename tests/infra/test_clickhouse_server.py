"""The ClickHouse engine behind its HTTP interface: what a ClickHouse client may rely on."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator

import httpx
import lz4.frame
import psutil
import pyarrow as pa
import pytest
from clickhouse_connect import get_client
from clickhouse_connect.driver.exceptions import DatabaseError

from bookworks.adapters import clickhouse
from bookworks.errors import TransientError
from bookworks.settings import Settings
from infra.local import processes
from infra.local.layout import layout_of
from tests.conftest import Stack

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(stack: Stack) -> Settings:
    return stack.need("clickhouse")


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    auth = (settings.clickhouse_user, settings.clickhouse_password.get_secret_value())
    url = f"http://{settings.clickhouse_host}:{settings.clickhouse_port}"
    with httpx.Client(base_url=url, auth=auth, timeout=30) as http:
        yield http


@pytest.fixture
def table(client: httpx.Client) -> Iterator[str]:
    client.post("/", content="CREATE TABLE default.t (a Int32, b String) ENGINE = MergeTree ORDER BY a")
    yield "default.t"
    client.post("/", content="DROP TABLE default.t SYNC")


def test_statement_in_url_or_body_or_both(client: httpx.Client, table: str) -> None:
    assert client.get("/", params={"query": "SELECT 1"}).text == "1\n"
    assert client.post("/", content="SELECT 2").text == "2\n"
    client.post("/", params={"query": f"INSERT INTO {table} FORMAT CSV"}, content="1,one\n2,two\n").raise_for_status()
    assert client.post("/", content=f"SELECT b FROM {table} ORDER BY a").text == "one\ntwo\n"


def test_format_database_parameters_and_settings(client: httpx.Client) -> None:
    answer = client.post("/", params={"default_format": "JSONEachRow"}, content="SELECT 1 AS a")
    assert answer.json() == {"a": 1}
    assert answer.headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert client.post("/", params={"database": "system"}, content="SELECT currentDatabase()").text == "system\n"
    assert client.post("/", params={"param_x": "it's"}, content="SELECT {x:String}").text == "it\\'s\n"
    question = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    assert client.post("/", params={"max_threads": "3"}, content=question).text == "3\n"
    assert client.post("/", content=question).text != "3\n"


def test_setting_of_one_request_does_not_stay_in_its_session(client: httpx.Client) -> None:
    question = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
    session = {"session_id": "s1"}
    assert client.post("/", params=session | {"max_block_size": "77"}, content=question).text == "77\n"
    assert client.post("/", params=session, content=question).text != "77\n"


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", lambda raw: pa.compress(raw, codec="zstd", asbytes=True)),
        ("br", lambda raw: pa.compress(raw, codec="brotli", asbytes=True)),
    ],
)
def test_compressed_bodies_both_ways(client: httpx.Client, table: str, encoding: str, pack) -> None:
    rows = b"".join(b"%d,row\n" % i for i in range(1000))
    headers = {"Content-Encoding": encoding}
    client.post("/", params={"query": f"INSERT INTO {table} FORMAT CSV"}, content=pack(rows), headers=headers)
    headers = {"Accept-Encoding": encoding}
    with client.stream(
        "POST", "/", params={"enable_http_compression": "1"}, content=f"SELECT * FROM {table}", headers=headers
    ) as answer:
        packed = b"".join(answer.iter_raw())
        assert answer.headers["Content-Encoding"] == encoding
    codec = {"br": "brotli"}.get(encoding, encoding)
    assert pa.CompressedInputStream(pa.BufferReader(packed), codec).read().count(b"\n") == 1000


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_the_official_client(settings: Settings, table: str, compress: str | bool) -> None:
    connected = get_client(
        host=settings.clickhouse_host,
        port=settings.clickhouse_port,
        username=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
        compress=compress,
    )
    connected.insert(table, [[i, f"é{i}"] for i in range(5000)], column_names=["a", "b"])
    assert connected.command(f"SELECT count() FROM {table}") == 5000
    assert connected.query(f"SELECT * FROM {table} WHERE a = 7").result_rows == [(7, "é7")]
    frame = connected.query_df(f"SELECT * FROM {table} ORDER BY a LIMIT 3")
    assert frame["b"].tolist() == ["é0", "é1", "é2"]
    with pytest.raises(DatabaseError, match="60"):
        connected.query("SELECT * FROM nowhere")
    connected.close()


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("SELECT * FROM nowhere", 404, 60),
        ("SELEC 1", 400, 62),
        ("SELECT unknown_column", 404, 47),
        ("SELECT {x:Int32}", 400, 456),
        ("SELECT throwIf(1)", 500, 395),
    ],
)
def test_errors_as_clickhouse_does(client: httpx.Client, statement: str, status: int, code: int) -> None:
    answer = client.post("/", content=statement)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert answer.text.startswith(f"Code: {code}. DB::Exception:")


def test_bad_bodies_and_options(client: httpx.Client) -> None:
    answer = client.post("/", content=b"not gzip", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "271")
    assert client.post("/", content=b"x", headers={"Content-Encoding": "snappy"}).status_code == 501
    assert client.post("/", params={"decompress": "1"}, content=b"x").status_code == 501
    assert client.post("/", params={"no_such_setting": "1"}, content="SELECT 1").status_code == 400
    assert client.post("/", params={"a b": "1"}, content="SELECT 1").headers["X-ClickHouse-Exception-Code"] == "115"


def test_get_changes_nothing(client: httpx.Client) -> None:
    answer = client.get("/", params={"query": "CREATE TABLE default.x (a Int32) ENGINE = Memory"})
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"


def test_password_in_three_ways_and_none(settings: Settings, client: httpx.Client) -> None:
    user, password = settings.clickhouse_user, settings.clickhouse_password.get_secret_value()
    url = str(client.base_url)
    good_headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    assert httpx.post(url, content="SELECT 1", headers=good_headers).text == "1\n"
    assert httpx.post(url, content="SELECT 1", params={"user": user, "password": password}).text == "1\n"
    for wrong in (
        {},
        {"auth": (user, "wrong")},
        {"auth": ("wrong", password)},
        {"params": {"user": user, "password": password + "x"}},
        {"headers": {"X-ClickHouse-User": user}},
        {"headers": {"Authorization": "Basic ???"}},
    ):
        answer = httpx.post(url, content="SELECT 1", **wrong)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (401, "516")
    with pytest.raises(TransientError, match="does not let us in"):
        clickhouse.connect(settings.model_copy(update={"clickhouse_user": "someone"}))
    assert httpx.get(f"{url}/ping").text == "Ok.\n"


def test_what_was_acknowledged_survives_kill_9(settings: Settings, client: httpx.Client, table: str) -> None:
    layout = layout_of(settings)
    for round_ in range(2):
        client.post("/", content=f"INSERT INTO {table} VALUES ({round_}, 'kept')").raise_for_status()
        known = processes.recorded(layout, "clickhouse")
        assert known is not None
        known[0].kill()
        psutil.wait_procs([known[0]], timeout=5)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                client.get("/ping")
                break
            except httpx.TransportError:
                time.sleep(0.2)
        assert client.post("/", content=f"SELECT count() FROM {table}").text == f"{round_ + 1}\n"
