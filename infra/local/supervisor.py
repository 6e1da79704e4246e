"""supervisord of one stack: its configuration, its start, and what we ask of it over its Unix socket."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from http.client import HTTPException
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from bookworks.errors import TransientError
from bookworks.settings import PROJECT_ROOT
from infra.local import processes
from infra.local.layout import Layout, write_private
from infra.local.server import Context, Program

NAME = "supervisord"
LAUNCH = PROJECT_ROOT / "infra" / "local" / "launch.py"
ITSELF_WAIT_S = 35  # supervisord, with whatever it still has to stop
ALREADY_STARTED, NOT_RUNNING, BAD_NAME = 60, 70, 10  # fault codes of supervisor.xmlrpc.Faults


def configuration(context: Context, programs: Iterable[Program]) -> str:
    """supervisord's configuration: no network port, no secret."""
    layout = context.layout
    sections = [
        "[unix_http_server]", f"file={_escape(layout.supervisor_socket)}", "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisord]", f"logfile={_escape(layout.log(NAME))}", "logfile_maxbytes=5MB", "logfile_backups=1",
        f"pidfile={_escape(layout.run / 'supervisord.number')}", f"childlogdir={_escape(layout.logs)}",
        "nodaemon=true", "silent=true", "umask=077", "minfds=4096",
        *(["user=root"] if os.geteuid() == 0 else []),
    ]  # fmt: skip
    for program in programs:
        command = shlex.join([sys.executable, "-I", str(LAUNCH), str(_spec_file(layout, program.name))])
        sections += [
            f"[program:{program.name}]", f"command={_escape(command)}",
            "autostart=false", "autorestart=true", "startsecs=1", "startretries=1000",
            f"stopsignal={program.stop_signal}", f"stopwaitsecs={program.stop_wait_s}",
            f"stopasgroup={str(program.stop_group).lower()}", "killasgroup=true",
            f"stdout_logfile={_escape(layout.log(program.name))}", "redirect_stderr=true",
            "stdout_logfile_maxbytes=20MB", "stdout_logfile_backups=1",
        ]  # fmt: skip
    return "\n".join([*sections, ""])


def _escape(value: object) -> str:
    return str(value).replace("%", "%%")


def _spec_file(layout: Layout, name: str) -> Any:
    return layout.run / f"{name}.json"


def write_spec(context: Context, program: Program, daemon: bool = False) -> None:
    """Write down how `launch` starts a program."""
    spec = {
        "name": program.name,
        "argv": program.argv,
        "env": context.environment() | dict(program.env),
        "cwd": str(program.cwd),
        "user": program.user,
        "daemon": daemon,
    }
    write_private(_spec_file(context.layout, program.name), json.dumps(spec, indent=1, sort_keys=True))


def call(layout: Layout, method: str, *arguments: Any) -> Any:
    """One call of supervisord's XML-RPC interface.

    Raises:
        TransientError: supervisord is not there.
        Fault: it refused.
    """
    transport = SupervisorTransport(None, None, serverurl=f"unix://{layout.supervisor_socket}")
    try:
        return getattr(ServerProxy("http://127.0.0.1", transport=transport), method)(*arguments)
    except (OSError, HTTPException) as error:
        raise TransientError("The supervisor does not answer", received=error, todo="run `bookworks up`.") from error
    finally:
        transport.close()


def runs(layout: Layout) -> bool:
    """Whether this stack's supervisord answers."""
    try:
        call(layout, "supervisor.getState")
    except TransientError:
        return False
    return True


def start(context: Context) -> None:
    """Start supervisord apart from this process and wait until it answers.

    Raises:
        TransientError: it did not within ten seconds.
    """
    layout = context.layout
    config = context.config("supervisord.conf")
    argv = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    write_spec(context, Program(NAME, argv), daemon=True)
    with (layout.logs / "supervisord.out").open("ab") as output:
        subprocess.run(
            [sys.executable, "-I", str(LAUNCH), str(_spec_file(layout, NAME))],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True,
        )  # fmt: skip
    until = time.monotonic() + 10
    while not runs(layout):
        if time.monotonic() > until:
            raise TransientError("The supervisor did not start", todo=f"see {layout.log(NAME)}.")
        time.sleep(0.05)


def adopt(layout: Layout) -> None:
    """Let a running supervisord take up programs that its configuration has now and had not before."""
    added, _, _ = call(layout, "supervisor.reloadConfig")[0]
    for name in added:
        call(layout, "supervisor.addProcessGroup", name)


def start_program(layout: Layout, name: str) -> None:
    """Start a program, without waiting for it; one that already runs is left alone."""
    _unless((ALREADY_STARTED,), lambda: call(layout, "supervisor.startProcess", name, False))


def stop_program(layout: Layout, name: str) -> None:
    """Stop a program and wait until it has ended; one that does not run, or came with newer code, is left alone."""
    _unless((NOT_RUNNING, BAD_NAME), lambda: call(layout, "supervisor.stopProcess", name, True))


def _unless(codes: tuple[int, ...], action: Callable[[], Any]) -> None:
    try:
        action()
    except Fault as fault:
        if fault.faultCode not in codes:
            raise


def shutdown(layout: Layout) -> None:
    """Ask supervisord to stop every program and then itself; returns at once."""
    call(layout, "supervisor.shutdown")


def states(layout: Layout) -> dict[str, str]:
    """State of each program that supervisord knows: RUNNING, STOPPED, BACKOFF …; empty when it is not there."""
    try:
        return {info["name"]: info["statename"] for info in call(layout, "supervisor.getAllProcessInfo")}
    except TransientError:
        return {}


def running_for(layout: Layout, program: str) -> float | None:
    """Seconds since a program started, None when it does not run."""
    known = processes.recorded(layout, program)
    return None if known is None else time.time() - known[1]
