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
CLAIM = "bookworks-stack"  # in a state folder that `up` has made: `down --wipe` may remove it
WRITTEN = frozenset({
    CLAIM, "bench", "bentoml", "bundles", "config", "data", "dbt", "demo", "dvc-cache", "dvc-site", "embeddings",
    "logs", "run", "runs", "secrets.env", "stack-id", "vectors",
})  # fmt: skip
# Commands may write before the first `up`, and stacks were begun before there was a claim. Nobody else writes these.
SIGNS = ("secrets.env", "bench/*.json", "bentoml", "dbt/target", "dvc-cache", "runs/*/dvc.yaml")


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
        """Make the folders, readable by their owner alone, and claim them for this stack.

        Raises:
            SettingError: one of them cannot be made, or the state folder holds something else; it is left alone then.
        """
        strange = strangers(self.state)
        if strange:
            raise SettingError(
                "The stack's folder cannot be used: it is not a stack's",
                received=f"{self.state}: {', '.join(strange)}",
                allowed="a new or empty folder, or that of a stack",
                todo="set BOOKWORKS_STATE_DIR to another one.",
            )
        _make_private(self.state)
        if not (self.state / CLAIM).exists():  # before all else, so that an interrupted `up` leaves a folder of ours
            write_private(self.state / CLAIM, "The folder of a bookworks stack; `bookworks down --wipe` removes it.\n")
        for folder in (self.config, self.data, self.logs, self.run, self.supervisor_socket.parent):
            _make_private(folder)


def _make_private(folder: Path) -> None:
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


def strangers(state: Path) -> list[str]:
    """A few names in a state folder that is not a stack's; none when it is one, is empty, or is not there.

    A stack's folder is claimed, is `.bookworks…` in the checkout, or holds nothing but what bookworks writes.
    """
    try:
        names = {path.name for path in state.iterdir()}
        ours = CLAIM in names or (state.parent == PROJECT_ROOT and state.name.startswith(".bookworks"))
        if ours or (names <= WRITTEN and any(any(state.glob(sign)) for sign in SIGNS)):
            return []
    except FileNotFoundError:
        return []
    except OSError as error:
        return [str(error.strerror)]
    return sorted(names - WRITTEN)[:5] or sorted(names)[:5]


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
