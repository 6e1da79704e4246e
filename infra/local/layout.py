"""Where the local stack keeps what, below `state_dir`: one folder per kind, all of them for their owner alone."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bookworks.errors import SettingError
from bookworks.settings import PROJECT_ROOT, Settings

SYSTEM_DIR = Path("/var/lib/bookworks")
SOCKET_PATH_MAX = 100  # bytes; Linux allows 108 with the terminating zero


@dataclass(frozen=True)
class Layout:
    """The folders of one stack.

    Attributes:
        state: the stack's folder; its absolute path is also the stack's identity.
    """

    state: Path
    postgres: Path

    @property
    def config(self) -> Path:
        """Configuration written by `up`; some of it holds passwords."""
        return self.state / "config"

    @property
    def data(self) -> Path:
        """Data of the servers, one folder each."""
        return self.state / "data"

    @property
    def logs(self) -> Path:
        """One log file per program."""
        return self.state / "logs"

    @property
    def run(self) -> Path:
        """Process files: one specification and one pid file per program."""
        return self.state / "run"

    @property
    def supervisor_socket(self) -> Path:
        """Unix socket of supervisord; in the temporary folder where the state folder's path is too long for one."""
        socket = self.run / "supervisor.sock"
        if len(os.fsencode(socket)) <= SOCKET_PATH_MAX:
            return socket
        return Path(tempfile.gettempdir()) / f"bookworks-{os.getuid()}-{_digest(self.state)}" / "supervisor.sock"

    def log(self, program: str) -> Path:
        """Log file of one program."""
        return self.logs / f"{program}.log"

    def make(self) -> None:
        """Make the folders, readable by their owner alone.

        Raises:
            SettingError: one of them cannot be made.
        """
        folders = (self.state, self.config, self.data, self.logs, self.run, self.supervisor_socket.parent)
        for folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o700)
            except OSError as error:
                raise SettingError(
                    "The stack's folder cannot be used",
                    received=f"{folder}: {error.strerror}",
                    allowed="a folder that is ours",
                    todo="set BOOKWORKS_STATE_DIR to another one.",
                ) from None


def layout_of(settings: Settings) -> Layout:
    """The layout of the stack that `settings` describes."""
    state = settings.state_dir if settings.state_dir.is_absolute() else PROJECT_ROOT / settings.state_dir
    state = Path(os.path.normpath(state))
    return Layout(state=state, postgres=settings.postgres_dir or _postgres_dir(state))


def _postgres_dir(state: Path) -> Path:
    return SYSTEM_DIR / f"postgres-{_digest(state)}" if os.geteuid() == 0 else state / "data" / "postgres"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def write_private(path: Path, text: str) -> None:
    """Write `text` so that it is at no moment readable by anyone but its owner, and never half there."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    part.chmod(0o600)
    part.replace(path)
