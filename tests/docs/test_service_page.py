"""Every curl command of the page for calling services is sent to the app, and gets what it asks for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from bookworks.models.bundle_files import BundleContent
from bookworks.settings import PROJECT_ROOT
from serving.app import make_app
from tests.serving.fakes import KEY, FakePlatform, served
from tests.support.bundles import make_tiny_bundle

PAGE = (PROJECT_ROOT / "docs" / "users" / "service.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
READER = re.compile(r"u-[0-9a-f]{8}-[0-9a-f-]{27}")  # of the example: whoever signed up stands in its place
DECISION = re.compile(r"(?<=/v1/decisions/)[0-9a-f-]{36}")  # and in that of this the latest one
TAKES_A_VALUE = {"-H", "-d", "-X"}


def commands(page: str) -> Iterator[list[str]]:
    """Each curl command of the page as words, without `curl`."""
    for block in BLOCK.findall(page):
        words = shlex.split(block.replace("\\\n", " "), comments=True)
        starts = [i for i, word in enumerate(words) if word == "curl"]
        for start, end in zip(starts, [*starts[1:], len(words)], strict=False):
            yield words[start + 1 : end]


class Shell:
    """Sends what curl would; keeps the token, the reader and the decision that it was given."""

    def __init__(self, client: TestClient) -> None:
        self.client, self.variables, self.reader = client, {"KEY": KEY, "URL": ""}, ""
        self.decision = ""

    def curl(self, words: list[str]) -> httpx2.Response:
        options: dict[str, list[str]] = {}
        plain, rest = [], iter(words)
        for word in rest:
            if word in TAKES_A_VALUE:
                options.setdefault(word, []).append(next(rest))
            else:
                plain.append(self._filled(word))
        assert plain[0] == "-s", f"{plain[0]}: say here what curl does with it"
        (url,) = plain[1:]
        headers = dict(self._filled(header).split(": ", 1) for header in options.get("-H", []))
        (body,) = (word and self._filled(word) for word in options.get("-d", [""]))
        method = options.get("-X", ["POST" if body else "GET"])[0]
        answer = self.client.request(method, url, headers=headers, content=body or None)
        self._keep(answer)
        return answer

    def _filled(self, word: str) -> str:
        for name, value in self.variables.items():
            word = word.replace(f"${name}", value)
        assert "$" not in word, f"{word}: nobody has said what this is"
        word = DECISION.sub(self.decision, word) if self.decision else word
        return READER.sub(self.reader, word) if self.reader else word

    def _keep(self, answer: httpx2.Response) -> None:
        body = answer.json() if answer.headers.get("content-type") == "application/json" else {}
        if isinstance(body, dict) and "access_token" in body:
            self.variables["TOKEN"], self.reader = body["access_token"], body["user_id"]
            self.variables["REFRESH"] = body["refresh_token"]
        if isinstance(body, dict) and "decision_id" in body:
            self.decision = body["decision_id"]


def with_a_famous_book(content: BundleContent) -> BundleContent:
    titles = ["The Lord of the Rings", *content.works["title"].to_pylist()[1:]]
    place = content.works.column_names.index("title")
    return replace(content, works=content.works.set_column(place, "title", pa.array(titles)))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    parent: Path = tmp_path_factory.mktemp("page")
    folder = make_tiny_bundle(parent, n_works=120, ranker=True, change=with_a_famous_book)
    return Shell(TestClient(make_app(FakePlatform(served(folder)))))


def test_every_command_of_the_page_is_answered_as_it_should_be(shell: Shell) -> None:
    sent = list(commands(PAGE))
    assert len(sent) == PAGE.count("curl -s ") >= 10
    for words in sent:
        answer = shell.curl(words)
        assert answer.is_success, f"curl {shlex.join(words)}: {answer.status_code} {answer.text}"
        body = answer.json() if answer.content else None
        assert body is None or body.get("items", [None]), f"curl {shlex.join(words)} finds nothing"


def test_a_command_that_is_refused_or_not_understood_is_noticed(shell: Shell) -> None:
    wrong = "curl -s $URL/v1/recommend -H 'X-API-Key: x' \\\n  -d '{\"n\": 1}'  # wrong"
    page = f"```bash\n{wrong}\ncurl -s $URL/nothing\n```\n"
    first, second = commands(page)
    assert first == ["-s", "$URL/v1/recommend", "-H", "X-API-Key: x", "-d", '{"n": 1}']
    assert shell.curl(first).status_code == 401
    assert shell.curl(second).status_code == 404
    with pytest.raises(AssertionError, match="nobody has said"):
        shell.curl(["-s", "$NOTHING"])
