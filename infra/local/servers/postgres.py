"""Postgres 16 with pgvector, from the binaries inside the pgserver wheel; passwords by SCRAM, TCP on loopback only.

Postgres refuses root. As root it runs as `postgres_os_user`, with its data and a copy of its binaries under
/var/lib/bookworks, because the checkout may lie where that user cannot look (/root).
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from bookworks.adapters import postgres
from bookworks.errors import SettingError, TerminalError
from bookworks.settings import Settings
from infra.local.layout import SYSTEM_DIR, Layout, write_private
from infra.local.server import Context, Program, Server

IDENTITY = (
    "stack-id"  # in the state folder and beside the data: data whose state folder was removed by hand is not ours
)
SETTINGS = """unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 120
max_wal_size = '1GB'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
"""
HBA = """# Only over loopback TCP, only with the password.
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""


def as_root() -> bool:
    """Whether we are root, so that Postgres must be someone else."""
    return os.geteuid() == 0


def wheel_dir() -> Path:
    """Folder that holds the wheel's `pgserver` and `pgserver.libs`.

    Raises:
        TerminalError: the wheel is not installed.
    """
    spec = find_spec("pgserver")
    if spec is None or spec.origin is None:
        raise TerminalError("The Postgres server is missing", todo="run `uv sync` (the package pgserver brings it).")
    return Path(spec.origin).parent.parent


def binaries() -> Path:
    """Folder of `initdb` and `postgres` that the server's user can reach."""
    home = SYSTEM_DIR / f"pgserver-{version('pgserver')}" if as_root() else wheel_dir()
    return home / "pgserver" / "pginstall" / "bin"


def copy_binaries() -> None:
    """As root: copy the wheel's binaries to where another user can run them."""
    if not as_root() or (binaries() / "postgres").exists():
        return
    target = binaries().parents[2]
    part = target.with_name(f".{target.name}.{os.getpid()}")
    for name in ("pgserver", "pgserver.libs"):
        shutil.copytree(wheel_dir() / name, part / name, ignore=shutil.ignore_patterns("include", "*.py", "*.pyc"))
    for path in (part.parent, part, *part.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    part.replace(target)


def _user(context: Context) -> pwd.struct_passwd:
    if not as_root():
        return pwd.getpwuid(os.geteuid())
    name = context.settings.postgres_os_user
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        user = None
    if user is None or user.pw_uid == 0:
        raise SettingError(
            "Postgres cannot run as this user of the machine", received=name, allowed="an existing user, not root",
            todo="set BOOKWORKS_POSTGRES_OS_USER.",
        )  # fmt: skip
    return user


def _run(context: Context, *argv: str) -> None:
    user = _user(context)
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if as_root() else {}
    done = subprocess.run(
        argv, cwd="/", env={"PATH": os.defpath, "LANG": "C.UTF-8"}, capture_output=True, text=True, check=False,
        **identity,  # type: ignore[call-overload]
    )  # fmt: skip
    if done.returncode:
        raise TerminalError(f"{Path(argv[0]).name} failed", received=(done.stdout + done.stderr).strip()[-800:])


def prepare(context: Context) -> None:
    """Make the data folder the first time; write the configuration."""
    copy_binaries()
    home, data = context.layout.postgres, context.layout.postgres / "data"
    _forget_strangers(context)
    home.mkdir(parents=True, exist_ok=True)
    _own(context, home)
    if not (data / "PG_VERSION").exists():
        _initialise(context, data)
    for name, text in (("bookworks.conf", configuration(context)), ("pg_hba.conf", HBA)):
        write_private(data / name, text)
        _own(context, data / name, 0o600)


def configuration(context: Context) -> str:
    """The server's own settings."""
    settings = context.settings
    own = {
        "listen_addresses": settings.bind_host,
        "port": settings.postgres_port,
        "shared_buffers": f"{settings.postgres_memory_mb}MB",
    }
    return SETTINGS + "".join(f"{name} = '{value}'\n" for name, value in own.items())


def _own(context: Context, path: Path, mode: int = 0o700) -> None:
    user = _user(context)
    if as_root():
        os.chown(path, user.pw_uid, user.pw_gid)
    path.chmod(mode)


def strangers(settings: Settings, layout: Layout) -> list[str]:
    """A few names in `postgres_dir`, when it is set and is not the folder of a local Postgres of ours."""
    home = layout.postgres
    if settings.postgres_dir is None or home.is_relative_to(layout.state):
        return []
    try:
        names = {path.name for path in home.iterdir()}
    except FileNotFoundError:
        return []
    except OSError as error:
        return [str(error.strerror)]
    return [] if IDENTITY in names else sorted(names)[:5]


def _forget_strangers(context: Context) -> None:
    """Remove data that lies outside of the state folder and belonged to a state folder that is no more.

    Raises:
        SettingError: `postgres_dir` holds something else.
    """
    home, mine = context.layout.postgres, context.layout.state / IDENTITY
    if home.is_relative_to(context.layout.state):
        return
    strange = strangers(context.settings, context.layout)
    if strange:
        raise SettingError(
            "The folder of Postgres cannot be used: it is not one of ours",
            received=f"{home}: {', '.join(strange)}",
            allowed="a new or empty folder, or that of a local Postgres of ours",
            todo="set BOOKWORKS_POSTGRES_DIR to another one.",
        )
    if not mine.exists():
        write_private(mine, os.urandom(16).hex())
    theirs = home / IDENTITY
    if home.exists() and context.settings.postgres_dir is None:
        same = theirs.exists() and theirs.read_text() == mine.read_text()
        if not same:
            shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    write_private(theirs, mine.read_text())


def _initialise(context: Context, data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)  # a half-made folder of an interrupted first start
    password = data.parent / "password"
    write_private(password, context.settings.postgres_password.get_secret_value() + "\n")
    _own(context, password, 0o600)
    try:
        _run(
            context, str(binaries() / "initdb"), "-D", str(data), "-U", context.settings.postgres_user,
            "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password}",
            "--data-checksums",
        )  # fmt: skip
    finally:
        password.unlink()
    with (data / "postgresql.conf").open("a") as file:
        file.write("include 'bookworks.conf'\n")


def programs(context: Context) -> list[Program]:
    """The server; SIGINT is its fast shutdown."""
    argv = [str(binaries() / "postgres"), "-D", str(context.layout.postgres / "data")]
    user = context.settings.postgres_os_user if as_root() else None
    return [Program("postgres", argv, {"LANG": "C.UTF-8"}, cwd=Path("/"), user=user, stop_signal="INT")]


def check(context: Context) -> None:
    """Ask for 1 with the password."""
    with postgres.connect(context.settings, "postgres") as connection:
        connection.execute("select 1")


def finish(context: Context) -> None:
    """Make the platform's databases."""
    postgres.ensure_databases(context.settings)


SERVER = Server(
    name="postgres",
    programs=programs,
    check=check,
    ports=("postgres_port",),
    parts=("postgres",),
    prepare=prepare,
    finish=finish,
)
