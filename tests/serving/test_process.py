"""The service as a process, with no other server: what it listens on, and what BentoML must not answer itself."""

import json
import os
import socket
import stat
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tests.serving.fakes import KEY, SECRET, settings
from tests.serving.process import eventually, running
from tests.support.bundles import make_tiny_bundle

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ALONE = {"BOOKWORKS_SERVICE_API_KEY": KEY, "BOOKWORKS_JWT_SECRET": SECRET} | {
    f"BOOKWORKS_{name}_PORT": "9" for name in ("MLFLOW", "MINIO", "REDIS", "KAFKA", "POSTGRES")
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def two_workers(folder):
    """A client of a service of two workers, and its port; all that it writes, and its bundles, are in `folder`."""
    port = free_port()
    environment = ALONE | {
        "BOOKWORKS_SERVICE_PORT": str(port),
        "BOOKWORKS_SERVICE_WORKERS": "2",
        "BOOKWORKS_BUNDLE_CACHE_DIR": str(folder / "bundles"),
        "BENTOML_HOME": str(folder / "bentoml"),
        "TMPDIR": str(folder),
    }
    with running(settings(), folder / "service.log", **environment) as client:
        yield client, port


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A service of two workers, its port and its folder."""
    folder = tmp_path_factory.mktemp("alone")
    with two_workers(folder) as (client, port):
        yield client, port, folder


def test_it_listens_on_its_own_port_and_on_nothing_else(alone):
    _, port, folder = alone
    family = psutil.Process().children(recursive=True)
    assert len(family) >= 3, "the keeper and two workers"
    sockets = [one for process in family for one in process.net_connections(kind="inet")]
    bound = {tuple(one.laddr) for one in sockets if one.status == psutil.CONN_LISTEN or one.type == socket.SOCK_DGRAM}
    assert bound == {("127.0.0.1", port)}
    (control,) = folder.glob("bookworks-control-*")
    assert stat.S_IMODE(control.stat().st_mode) == 0o700
    assert control.stat().st_uid == os.getuid()
    assert {path.name for path in control.iterdir()} == {"orders", "events", "in_hand"}


def test_both_workers_see_what_each_has_in_hand(alone):
    *_, folder = alone
    (page,) = folder.glob("bookworks-control-*/in_hand")

    def there():
        counts = np.fromfile(page, dtype=np.int64)
        return counts[counts != -1].tolist()

    assert eventually(lambda: there() == [0, 0]), there()  # the second may still load
    assert sum(str(page) in Path(f"/proc/{one.pid}/maps").read_text() for one in psutil.Process().children(True)) == 2


def test_a_request_that_matters_for_security_leaves_a_line_in_the_output(alone):
    client, _, folder = alone
    answer = client.get("/v1/users/u", headers={"X-API-Key": "wrong", "X-Request-ID": "the-one-to-find"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (401, "the-one-to-find")
    log = folder / "service.log"  # the line is written when the answer is on its way
    (line,) = eventually(lambda: [one for one in log.read_text().splitlines() if "the-one-to-find" in one])
    line = json.loads(line)
    assert (line["outcome"], line["route"]) == ("refused", "/v1/users/{user_id}")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/users/a%0Ab", 422),
        ("GET", "/v1/books/w001?m=5", 422),
        ("GET", "/a%0Ab", 404),
        ("GET", "/nothing", 404),
        ("GET", "/docs/files/nothing", 404),
        ("POST", "/livez", 404),
        ("POST", "/schema.json", 404),
        ("POST", "/healthz", 405),
        ("GET", "/v1/recommend", 405),
        ("PUT", "/", 405),
    ],
)
def test_every_error_is_a_problem(alone, method, path, status):
    answer = alone[0].request(method, path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/openapi.json", 200), ("/v1/users/u", 200)])
def test_what_can_be_got_can_be_asked_about(alone, path, status):
    asked, got = alone[0].head(path), alone[0].get(path)
    assert (asked.status_code, got.status_code, asked.content) == (status, status, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]


def test_no_caller_meets_a_worker_without_its_bundle(tmp_path):
    """The bundle served last is in the cache; each request makes a connection, which any worker may take."""
    bundle = make_tiny_bundle(tmp_path / "bundles", n_works=3000)
    (tmp_path / "bundles" / "champion").write_text(bundle.name)
    with two_workers(tmp_path) as (_, port):
        for _ in range(100):
            assert httpx.get(f"http://127.0.0.1:{port}/v1/books/w001", trust_env=False).status_code == 200
