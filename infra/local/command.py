"""Run a `bookworks` command in a process of its own: how one step uses another without importing it."""

from __future__ import annotations

import subprocess
import sys

from bookworks.errors import TransientError
from bookworks.settings import PROJECT_ROOT


def run_command(*arguments: str) -> None:
    """Run a `bookworks` command in a process of its own; its output is shown."""
    command = [sys.executable, "-m", "bookworks.cli.main", *arguments]
    code = subprocess.run(command, cwd=PROJECT_ROOT, check=False).returncode
    if code:
        raise TransientError(f"`bookworks {' '.join(arguments)}` ended with exit code {code}", todo="see above.")
