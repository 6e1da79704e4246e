"""The tests' own stack of real servers: started on demand, ended with the session, apart from the developer's.

A test asks for the fixture `stack` and says what it needs: `settings = stack.need("kafka", "minio")`.
Its folder is `.bookworks-test-<offset>`; BOOKWORKS_TEST_PORT_OFFSET (default 1000) moves its ports, so that several
sessions may run side by side; BOOKWORKS_TEST_KEEP=1 leaves servers and data for the next session.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bookworks.settings import PROJECT_ROOT, Settings, get_settings
from infra.local.servers.ours import ONE_THREAD

OFFSET = int(os.environ.get("BOOKWORKS_TEST_PORT_OFFSET", "1000"))
STATE_DIR = PROJECT_ROOT / f".bookworks-test-{OFFSET}"
KEEP = os.environ.get("BOOKWORKS_TEST_KEEP") == "1"
DATA = Path(os.environ.get("BOOKWORKS_TEST_DATA", str(PROJECT_ROOT.parent / "shared" / "data")))


def pytest_configure() -> None:
    """Turn the whole session, and every process it starts, away from the developer's stack."""
    os.environ["BOOKWORKS_STATE_DIR"] = str(STATE_DIR)
    os.environ["BOOKWORKS_PORT_OFFSET"] = str(OFFSET)
    os.environ["BOOKWORKS_RECOMMEND_BUDGET_MS"] = "0"  # a machine under load changes no answer
    # Servers and executors of Java live for minutes here: compiling for long runs costs more than it gains.
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
    # Two sessions share the cores: threads that wait for one another at every step would mostly wait for a core.
    for name, threads in ONE_THREAD.items():
        os.environ.setdefault(name, threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    get_settings.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts everything and kills some of it comes last, so that it stands in no other test's way."""
    items.sort(key=lambda item: item.path.name == "test_servers.py")


class Stack:
    """Real servers, started when a test first needs them."""

    @property
    def settings(self) -> Settings:
        """Settings of the stack."""
        get_settings.cache_clear()
        return get_settings()

    def need(self, *names: str) -> Settings:
        """Have the servers called `names` (and those they wait for) up and answering; returns the settings."""
        from infra.local import stack

        stack.up(self.settings, sorted(names), lambda _: None)
        return self.settings


@contextmanager
def _alone() -> Iterator[None]:
    lock = STATE_DIR.with_name(f"{STATE_DIR.name}.lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit(f"another test session uses {STATE_DIR}; set BOOKWORKS_TEST_PORT_OFFSET", returncode=1)
        yield


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The tests' stack; nothing runs in it until a test calls `need`."""
    from infra.local import stack as servers

    with _alone():
        settings = get_settings()
        if not KEEP:
            servers.down(settings)
            servers.wipe(settings)
        try:
            yield Stack()
        finally:
            if not KEEP:
                servers.down(settings)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real source files; tests that need it are skipped, loudly, where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"SKIPPED FOR WANT OF DATA: {DATA} is not there; set BOOKWORKS_TEST_DATA")
    return DATA
