"""The OpenAPI page is true: schemathesis makes requests from it, and all its checks hold for the answers."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from serving.app import make_app
from tests.serving.fakes import KEY, FakePlatform, served
from tests.serving.process import eventually
from tests.serving.test_process import free_port


@pytest.fixture
def address(tiny_bundle, tmp_path, monkeypatch) -> Iterator[str]:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    port = free_port()
    app = make_app(FakePlatform(served(tiny_bundle)))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_answers_are_what_the_page_says(address, tmp_path):
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--checks", "all"]
    command += ["--max-examples", "8", "--seed", "7", "-H", f"X-API-Key: {KEY}", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    made = re.search(r"(\d+) generated", done.stdout)
    assert made is not None
    assert int(made[1]) > 500, done.stdout[-2000:]
