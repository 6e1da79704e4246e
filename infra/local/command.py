"""Run a `bookworks` command in a process of its own: how one step uses another without importing it."""

from __future__ import annotations

import subprocess
import sys

from bookworks.cli.entry import EXIT_TRANSIENT
from bookworks.errors import TerminalError, TransientError
from bookworks.settings import PROJECT_ROOT


def run_command(*arguments: str) -> None:
    """Run a `bookworks` command in a process of its own; its output is shown.

    Raises:
        TransientError: it failed in a way that may pass, or a signal ended it.
        TerminalError: it failed, and would fail again.
    """
    command = [sys.executable, "-m", "bookworks.cli.main", *arguments]
    code = subprocess.run(command, cwd=PROJECT_ROOT, check=False).returncode
    if code:
        kind = TransientError if code == EXIT_TRANSIENT or code < 0 else TerminalError
        raise kind(f"`bookworks {' '.join(arguments)}` ended with exit code {code}", todo="see above.")
