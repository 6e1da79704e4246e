"""The readers' page in a real browser: a new reader gets books, says what it thinks of them, and takes an author back.

Nothing of a catalogue runs.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bookworks.settings import PROJECT_ROOT
from serving.app import make_app
from tests.dashboard.test_readers import ATTACK, PAGE, PASSWORD, with_odd_titles
from tests.serving.fakes import FakePlatform, served
from tests.serving.process import listening
from tests.support.browser import Page, browser
from tests.support.bundles import make_tiny_bundle

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> FakePlatform:
    folder = tmp_path_factory.mktemp("bundle")
    return FakePlatform(served(make_tiny_bundle(folder, n_works=60, ranker=True, change=with_odd_titles)))


@pytest.fixture(scope="module")
def service(platform: FakePlatform) -> Iterator[int]:
    """The app behind a real socket; its port."""
    with listening(make_app(platform)) as port:
        yield port


@pytest.fixture(scope="module")
def address(service: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Streamlit with the readers' page."""
    port, log = free_port(), tmp_path_factory.mktemp("streamlit") / "log"
    command = [sys.executable, "-m", "streamlit", "run", PAGE, f"--server.port={port}", "--server.headless=true"]
    command += ["--server.address=127.0.0.1", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    told = {"BOOKWORKS_SERVICE_HOST": "127.0.0.1", "BOOKWORKS_SERVICE_PORT": str(service), "BOOKWORKS_PORT_OFFSET": "0"}
    environment = os.environ | told | {"PYTHONPATH": str(PROJECT_ROOT)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def page(address: str, tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path) as opened:
        opened.open(address)
        yield opened


TITLES = "[...document.querySelectorAll('article.book h3')].filter(h => h.offsetParent).map(h => h.innerText)"
RUNS = "document.querySelectorAll('article.book script, article.book [onerror], article.book a').length"
UNNAMED = (
    "[...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.ariaLabel && !i.labels.length).length"
)
NO_ALT = "[...document.querySelectorAll('img')].filter(i => !i.hasAttribute('alt')).length"
WIDER = "[...document.querySelectorAll('article.book')].filter(b => b.scrollWidth > b.clientWidth + 1).length"
FOURTH_STAR = (
    "document.querySelectorAll('[data-testid=stFeedback]')[0]?.querySelectorAll('[role=radio],[type=radio]')[3]"
)
TAB = "[role=tab]"
SHOWN = "document.body.innerText"
LABEL = "button p"  # beside its icon
AUTHORS = (
    "[...document.querySelectorAll('article.book p:not(.why)')].filter(p => p.offsetParent)"
    ".map(p => p.innerText.replace(/, [0-9]+$/, ''))"
)
LAST_AUTHOR = "[...document.querySelectorAll('button')].filter(b => b.innerText.trim() === 'Not this author').at(-1)"


def test_a_new_reader_gets_books_rates_one_and_searches(page: Page, platform: FakePlatform, tmp_path: Path) -> None:
    page.press("Sign up", TAB)
    page.type("Name", "ada")
    page.type("Password", PASSWORD)
    page.press("Sign up")
    page.wait(f"{TITLES}.length === 12")
    page.wait(f"!!({FOURTH_STAR})")
    titles = page.look(TITLES)
    assert ATTACK in titles
    page.picture(tmp_path / "books.png")
    assert page.look("typeof window.taken") == "undefined"
    counts = {what: page.look(what) for what in (RUNS, UNNAMED, NO_ALT, WIDER)}
    assert set(counts.values()) == {0}, counts

    page.look(f"{FOURTH_STAR}.click()")
    page.wait(f"{SHOWN}.includes('4 of 5 for')")
    page.wait(f"JSON.stringify({TITLES}) === {json.dumps(_as_javascript(titles[1:]))}")
    assert [(event.kind, event.value) for event in platform.stream.events] == [("rating", 8.0)]

    page.press("Search", TAB)
    page.type("Title, author or ISBN", "titel 26")
    page.press("Search")
    page.wait(f"{TITLES}[0] === 'Title 26'")
    page.picture(tmp_path / "search.png")


def test_a_reader_who_loves_a_book_sees_why_and_takes_an_author_back(
    page: Page, platform: FakePlatform, tmp_path: Path
) -> None:
    come_with_a_loved_book(page, tmp_path)
    page.wait(f"{TITLES}.length === 12")
    reader = platform.accounts.by_name("grace").user_id
    said = [(event.kind, event.work_id) for event in platform.stream.events if event.user_id == reader]
    assert said == [("shelve", "w026")]
    explained(page, tmp_path)
    an_author_goes_and_comes_back(page, platform, reader, tmp_path)


def come_with_a_loved_book(page: Page, folder: Path) -> None:
    """What is typed into the form stays while a loved book is sought and picked."""
    page.press("Sign up", TAB)
    page.type("Name", "grace")
    page.type("Three books that you love", "titel 26")
    page.press("Find")
    page.press("Title 26, Author 11", LABEL)
    page.wait(f"{SHOWN}.includes('You love these')")
    page.picture(folder / "door.png")
    page.type("Password", PASSWORD)
    page.press("Sign up")


def explained(page: Page, folder: Path) -> None:
    """`Why this book?` opens, and says it in words."""
    assert "of what speaks for it" not in page.look(SHOWN)
    page.press("Why this book?", "summary p")
    page.wait(f"{SHOWN}.includes('of what speaks for it')")
    page.wait(f"{SHOWN}.includes('Of 100 readers like you')")
    page.picture(folder / "why.png")


def an_author_goes_and_comes_back(page: Page, platform: FakePlatform, reader: str, folder: Path) -> None:
    """All books of one author leave the slate at once, and are there again when the shelf takes the author back."""
    before = page.look(TITLES)
    author = page.look(AUTHORS)[-1]
    page.look(f"{LAST_AUTHOR}.click()")
    page.wait(f"{SHOWN}.includes('will come again')")
    page.wait(f"{TITLES}.length > 0 && !{AUTHORS}.includes({json.dumps(author)})")
    assert platform.dismissed_authors.of(reader) == [author]

    page.press("My shelf", TAB)
    page.wait(f"{SHOWN}.includes('Authors who were sent away')")
    page.picture(folder / "shelf.png")
    page.press("Take back")
    page.wait(f"{SHOWN}.includes('may come again')")
    page.press("For you", TAB)
    page.wait(f"JSON.stringify({TITLES}) === {json.dumps(_as_javascript(before))}")
    assert platform.dismissed_authors.of(reader) == []


def _as_javascript(value: Any) -> str:
    """As `JSON.stringify` writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
