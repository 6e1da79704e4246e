"""The OpenAPI page is true: schemathesis makes requests from it, and all its checks hold for the answers."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator

from serving.app import make_app
from serving.middleware import entrance
from serving.problems import MEDIA_TYPE
from tests.serving.fakes import KEY, FakePlatform, served
from tests.serving.process import listening
from tests.serving.test_api import objects_in


@pytest.fixture
def address(tiny_bundle, tmp_path, monkeypatch) -> Iterator[str]:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with listening(entrance(make_app(FakePlatform(served(tiny_bundle))), 20)) as port:
        yield f"http://127.0.0.1:{port}"


def test_answers_are_what_the_page_says(address, tmp_path):
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--checks", "all"]
    command += ["--max-examples", "8", "--seed", "7", "-H", f"X-API-Key: {KEY}", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    made = re.search(r"(\d+) generated", done.stdout)
    assert made is not None
    assert int(made[1]) > 500, done.stdout[-2000:]


def with_examples(page):
    """Each schema or content of a page that has examples, with these."""
    for one in objects_in(page):
        if isinstance(one.get("examples"), list):
            yield one, one["examples"]
        if "example" in one and "schema" in one:
            yield one["schema"], [one["example"]]


def test_every_example_is_valid(client):
    page = client.get("/openapi.json").json()
    found = list(with_examples(page))
    assert len(found) > 80
    for schema, examples in found:
        whole = {**schema, "components": page["components"]}  # where references lead
        valid = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
        for example in examples:
            assert [error.message for error in valid.iter_errors(example)] == [], example


def _answers(page):
    for path, methods in page["paths"].items():
        for method, route in methods.items():
            for status, answer in route["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    yield f"{method} {path} {status}", int(status), kind, content


def test_every_answer_has_an_example_with_all_its_fields(client):
    page = client.get("/openapi.json").json()
    schemas, refused = page["components"]["schemas"], 0
    for name, status, kind, content in _answers(page):
        if status >= 400:
            assert (kind, content["example"]["status"]) == (MEDIA_TYPE, status), name
            refused += 1
        elif kind == "application/json":
            schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
            (example,) = schema["examples"]
            assert set(schema["properties"]) - set(example) <= {"position"}, "of a book that is not shown"
            assert set(example) <= set(schema["properties"]), name
    assert refused > 50
