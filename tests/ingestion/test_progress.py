"""Waiting for consumers: a group that is none is refused before any server is asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bookworks.errors import TerminalError
from bookworks.settings import Settings
from ingestion import progress


def test_an_unknown_group_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(TerminalError, match=r"Received: nonsense\. Allowed: lake, online, clickhouse\."):
        progress.wait(Settings(), 0.0, ["lake", "nonsense"])


def test_the_command_says_so_in_words_and_exits_1() -> None:
    command = [sys.executable, "-m", "bookworks.cli.main", "ingest", "wait", "--group", "nonsense"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "There is no such consumer group" in done.stderr
    assert "Traceback" not in done.stderr
