"""What the supervisor needs to know of a server: its programs, its ports, what it waits for, how to see it answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bookworks.settings import PROJECT_ROOT, SUPERVISED, Settings
from infra.local.layout import Layout, layout_of

VENV_BIN = Path(sys.prefix) / "bin"
MARKER = SUPERVISED  # in the environment of each process of a stack: the stack's state folder
PASSED_ON = ("HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME", "BOOKWORKS_")


@dataclass(frozen=True)
class Context:
    """One stack: its settings and its folders."""

    settings: Settings
    layout: Layout

    @property
    def tools(self) -> Path:
        """Folder of the downloaded servers."""
        return self.settings.tools_dir

    def config(self, name: str) -> Path:
        """Path of one configuration file."""
        return self.layout.config / name

    def data(self, name: str) -> Path:
        """Data folder of one server; made by `up`, so that looking at a stack leaves no trace."""
        return self.layout.data / name

    def environment(self) -> dict[str, str]:
        """Environment of every program: this stack's settings, the virtual environment first on the path."""
        kept = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
        return kept | {
            "PATH": f"{VENV_BIN}:{os.environ.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": sys.prefix,
            "PYTHONUNBUFFERED": "1",
            "BOOKWORKS_STATE_DIR": str(self.layout.state),
            "BOOKWORKS_PORT_OFFSET": str(self.settings.port_offset),
            "BOOKWORKS_TOOLS_DIR": str(self.settings.tools_dir),
            MARKER: str(self.layout.state),
        }


def context_of(settings: Settings) -> Context:
    """The stack that `settings` describes."""
    return Context(settings, layout_of(settings))


@dataclass(frozen=True)
class Program:
    """One supervised process.

    Attributes:
        argv: the command; passwords never travel here, `ps` shows it to everyone.
        env: added to the stack's environment.
        user: as root, the user who runs it; None means ourselves.
        stop_signal: what asks it to end.
        stop_group: whether its children are asked as well.
        stop_wait_s: after so long it is made to end.
    """

    name: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = PROJECT_ROOT
    user: str | None = None
    stop_signal: str = "TERM"
    stop_group: bool = False
    stop_wait_s: int = 25


def _nothing(_: Context) -> None:
    return None


@dataclass(frozen=True)
class Server:
    """One server of the stack, made of one or more programs.

    Attributes:
        ports: names of the settings that hold its ports.
        after: servers that must answer before it starts.
        parts: parts of `bookworks install` it is made of.
        prepare: writes its configuration and whatever must be there before the first start.
        check: raises as long as it does not answer to the right password.
        finish: makes what the platform keeps in it, once it answers.
        timeout_s: how long `up` waits for it.
    """

    name: str
    programs: Callable[[Context], list[Program]]
    check: Callable[[Context], None]
    ports: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    prepare: Callable[[Context], None] = _nothing
    finish: Callable[[Context], None] = _nothing
    page: Callable[[Settings], str] | None = None
    timeout_s: float = 600.0
