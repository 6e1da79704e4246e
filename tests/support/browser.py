"""A headless Chromium, driven over its DevTools protocol: opens a page, presses, types, looks, takes a picture."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S, WAIT_S = 30.0, 30.0
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--remote-debugging-port=0", "--window-size=1100,1000", "about:blank",
)  # fmt: skip


class Page:
    """The one page of a browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command; events in between are passed over."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=WAIT_S))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    def open(self, url: str) -> None:
        """Go there."""
        self.call("Page.navigate", url=url)

    def look(self, expression: str) -> Any:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = WAIT_S) -> Any:
        """The first true value of an expression."""
        deadline = time.monotonic() + seconds
        while not (value := self.look(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}\n{self.look('document.body.innerText')}"
            time.sleep(0.1)
        return value

    def type(self, label: str, text: str) -> None:
        """Type into the field in sight that has this label."""
        self.wait(f"!!{_shown('input', label)}")
        self.look(f"{_shown('input', label)}.focus()")
        self.call("Input.insertText", text=text)

    def press(self, words: str, kind: str = "button:not([role=tab])") -> None:
        """Press the button, or what else the selector `kind` means, that is in sight and says this."""
        found = f"""[...document.querySelectorAll({json.dumps(kind)})]
            .find(b => b.innerText.trim() === {json.dumps(words)} && b.offsetParent)"""
        self.wait(f"!!({found})")
        self.look(f"({found}).click()")

    def picture(self, path: Path) -> None:
        """What is to be seen, as PNG."""
        path.write_bytes(b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def _shown(tag: str, label: str) -> str:
    selector = json.dumps(f"{tag}[aria-label={json.dumps(label)}]")
    return f"[...document.querySelectorAll({selector})].find(i => i.offsetParent)"


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A page of a Chromium of its own; the test is skipped, loudly, where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"SKIPPED FOR WANT OF A BROWSER: none of {', '.join(NAMES)} is on the path; install chromium")
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen([program, f"--user-data-dir={folder / 'profile'}", *FLAGS], stdout=log, stderr=log)
    try:
        with connect(_address(folder / "profile", process), max_size=None) as socket:
            page = Page(socket)
            page.call("Page.enable")
            yield page
    finally:
        process.terminate()
        process.wait(timeout=20)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the page takes its commands."""
    deadline, told = time.monotonic() + START_S, profile / "DevToolsActivePort"
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Chromium ended: {(profile.parent / 'chromium.log').read_text()[-2000:]}"
        if told.exists() and (lines := told.read_text().splitlines()):
            pages = httpx.get(f"http://127.0.0.1:{lines[0]}/json/list", trust_env=False).json()
            if address := next((page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"), None):
                return str(address)
        time.sleep(0.1)
    raise AssertionError("Chromium opened no page")
