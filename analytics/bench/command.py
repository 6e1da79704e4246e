"""Running `bookworks` commands in processes of their own, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys

from bookworks.errors import TransientError
from bookworks.settings import PROJECT_ROOT, Settings


def bookworks(settings: Settings, *arguments: str) -> str:
    """Run a command on this stack; returns what it printed.

    Raises:
        TransientError: it failed; the message has the end of what it said.
    """
    environment = os.environ | {"BOOKWORKS_STATE_DIR": str(settings.state_dir)}
    line = [sys.executable, "-m", "bookworks.cli.main", *arguments]
    done = subprocess.run(line, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TransientError(f"`bookworks {' '.join(arguments)}` failed", received=done.stderr[-500:])
    return done.stdout
