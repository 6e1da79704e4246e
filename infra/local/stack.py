"""Bring a stack up, look at it, and take it down."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bookworks.errors import BookworksError, TerminalError, TransientError
from bookworks.settings import Settings
from infra.local import install, processes, supervisor
from infra.local.layout import Layout, strangers, write_private
from infra.local.secrets import ensure_secrets
from infra.local.server import Context, Server, context_of
from infra.local.servers import ALL, pick
from infra.local.servers.postgres import as_root
from infra.local.servers.postgres import strangers as postgres_strangers

POLL_S = 0.25
RESTARTS_ALLOWED = 4  # a program that fell over so often while `up` waited does not come up any more
LOG_LINES = 15


@dataclass
class Progress:
    """How far one server is, for the table of `up`."""

    server: Server
    state: str = "waiting"
    seconds: float = 0.0
    was_running: bool = False
    error: BookworksError | None = None
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Health:
    """One line of `status`."""

    server: str
    state: str
    detail: str
    memory_mb: int
    address: str


def up(settings: Settings, names: list[str], report: Callable[[list[Progress]], None]) -> list[Progress]:
    """Start the servers called `names` (none: all) and those they need; wait until each answers.

    Args:
        settings: the stack; missing secrets are generated first.
        names: servers, see `servers.ALL`.
        report: called again and again with how far each is.

    Raises:
        TerminalError: a part is not installed, a port is taken, or a server does not come up.
    """
    servers = pick(names)
    check_installed(settings, servers)
    context = context_of(settings)
    context.layout.make()
    context = context_of(ensure_secrets(settings))
    _supervise(context, servers)
    runs = [Progress(server, was_running=_running(context, server)) for server in servers]
    _start_all(context, runs, report)
    failed = [run for run in runs if run.error is not None]
    if failed:
        raise failure(context, failed)
    return runs


def check_installed(settings: Settings, servers: list[Server]) -> None:
    """Raise a TerminalError that names the parts that `bookworks install` still has to bring."""
    absent = install.missing(settings, {part for server in servers for part in server.parts})
    if absent:
        names = ", ".join(part.name for part in absent)
        raise TerminalError(
            "Not everything is installed", received=f"missing: {names}", todo="run `bookworks install`."
        )


def check_ports(context: Context, server: Server) -> None:
    """Raise a TerminalError that names port, server and setting when someone else listens on one of its ports."""
    for name in server.ports:
        port = getattr(context.settings, name)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((context.settings.bind_host, port))
            except OSError as error:
                raise TerminalError(
                    f"Port {port}, which {server.name} needs, is taken",
                    received=f"{processes.holder_of(port)} ({error.strerror})",
                    todo=f"end that program, or set BOOKWORKS_{name.upper()} (or BOOKWORKS_PORT_OFFSET for all).",
                ) from None


def _supervise(context: Context, servers: list[Server]) -> None:
    layout = context.layout
    alive = supervisor.runs(layout)
    if not alive:
        processes.end(processes.of_stack(layout))  # its supervisor was killed, they were not
    for server in servers:
        if not _running(context, server):
            check_ports(context, server)
    everything = [program for server in ALL.values() for program in server.programs(context)]
    write_private(context.config("supervisord.conf"), supervisor.configuration(context, everything))
    if alive:
        supervisor.adopt(layout)
    else:
        for old in (*layout.run.glob("*.pid"), *layout.run.glob("*.starts")):
            old.unlink()
        supervisor.start(context)


def _running(context: Context, server: Server) -> bool:
    """Whether any of its programs runs."""
    return any(processes.recorded(context.layout, program.name) for program in server.programs(context))


def _start_all(context: Context, runs: list[Progress], report: Callable[[list[Progress]], None]) -> None:
    by_name = {run.server.name: run for run in runs}
    stop = threading.Event()
    with ThreadPoolExecutor(len(runs)) as pool:
        futures = [pool.submit(_start_one, context, run, by_name, stop) for run in runs]
        try:
            while wait(futures, timeout=POLL_S).not_done:
                report(runs)
        except BaseException:
            stop.set()
            raise
    for future in futures:
        future.result()
    report(runs)


def _start_one(context: Context, run: Progress, runs: dict[str, Progress], stop: threading.Event) -> None:
    begun = time.monotonic()
    try:
        if not run.was_running or _struggles(context, run.server):
            _bring_to_life(context, run, runs, stop)
        run.state = "starting"
        _until_it_answers(context, run, stop)
        run.state = "setting up"
        _again(lambda: run.server.finish(context))
        run.state = "up"
    except BookworksError as error:
        run.state, run.error = "failed", error
    except OSError as error:
        run.state, run.error = "failed", _in_words(error)
    finally:
        run.seconds = time.monotonic() - begun
        run.done.set()


def _in_words(error: OSError) -> TerminalError:
    if isinstance(error, FileNotFoundError) and error.filename:
        return TerminalError(f"{error.filename} is missing", todo="run `bookworks doctor`.")
    return TerminalError("The machine refused", received=error)


def _bring_to_life(context: Context, run: Progress, runs: dict[str, Progress], stop: threading.Event) -> None:
    for need in run.server.after:
        while not runs[need].done.wait(POLL_S):
            _give_up_if(stop)
        if runs[need].error is not None:
            raise TransientError(f"Not started, because {need} did not come up")
    _give_up_if(stop)
    run.state = "preparing"
    for name in _programs(context, run.server):
        supervisor.stop_program(context.layout, name)  # it may be pausing between two vain starts
    context.data(run.server.name).mkdir(exist_ok=True)
    run.server.prepare(context)
    for program in run.server.programs(context):
        (context.layout.run / f"{program.name}.starts").unlink(missing_ok=True)
        supervisor.write_spec(context, program)
        supervisor.start_program(context.layout, program.name)


def _struggles(context: Context, server: Server) -> bool:
    """Whether it has fallen over and does not answer, or lacks one of its programs: it gets a fresh start."""
    names = _programs(context, server)
    if not all(processes.recorded(context.layout, name) for name in names):
        return True
    return max(_starts(context.layout, name) for name in names) > 1 and not _answers(context, server)


def _answers(context: Context, server: Server) -> bool:
    try:
        server.check(context)
    except Exception:
        return False
    return True


def _give_up_if(stop: threading.Event) -> None:
    if stop.is_set():
        raise TransientError("Given up")


def _again(action: Callable[[], None], times: int = 3) -> None:
    for attempt in range(times):
        try:
            action()
        except TransientError:
            if attempt == times - 1:
                raise
            time.sleep(1)
        else:
            return


def _until_it_answers(context: Context, run: Progress, stop: threading.Event) -> None:
    until = time.monotonic() + run.server.timeout_s
    while True:
        try:
            return run.server.check(context)
        except Exception as error:
            last = error
        _give_up_if(stop)
        fallen = [name for name in _programs(context, run.server) if _starts(context.layout, name) > RESTARTS_ALLOWED]
        if fallen:
            raise TerminalError(f"{', '.join(fallen)} falls over again and again", received=last)
        if time.monotonic() > until:
            raise TerminalError(f"{run.server.name} did not answer within {run.server.timeout_s:.0f} s", received=last)
        time.sleep(POLL_S)


def _programs(context: Context, server: Server) -> list[str]:
    return [program.name for program in server.programs(context)]


def _starts(layout: Layout, program: str) -> int:
    with suppress(OSError):
        return (layout.run / f"{program}.starts").read_text().count(",") + 1
    return 0


def failure(context: Context, failed: list[Progress]) -> TerminalError:
    """One error for servers that did not come up, with the last lines of their logs."""
    own = [run for run in failed if not isinstance(run.error, TransientError)] or failed
    parts = []
    for run in own:
        parts.append(f"\n{run.server.name}: {run.error}")
        for name in _programs(context, run.server):
            lines = tail(context.layout.log(name), LOG_LINES)
            if lines:
                parts.append(f"\n--- last lines of {context.layout.log(name)}\n" + "\n".join(lines))
    names = ", ".join(run.server.name for run in own)
    return TerminalError(
        f"Not up: {names}", received="".join(parts), todo="see the log, mend the cause, run `bookworks up`."
    )


def tail(path: Path, n: int) -> list[str]:
    """The last `n` lines of a file; none when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 400 * max(n, 1)))
            return file.read().decode(errors="replace").splitlines()[-n:] if n else []
    except FileNotFoundError:
        return []


def health(settings: Settings, names: list[str]) -> list[Health]:
    """State of each server: up, down (nothing runs), or not answering."""
    context = context_of(settings)
    servers = [ALL[server.name] for server in pick(names) if not names or server.name in names]
    with ThreadPoolExecutor(len(servers)) as pool:
        return list(pool.map(lambda server: _health_of(context, server), servers))


def _health_of(context: Context, server: Server) -> Health:
    known = [processes.recorded(context.layout, name) for name in _programs(context, server)]
    there = [one[0] for one in known if one is not None]
    memory = round(sum(processes.memory_mb(process) for process in there))
    address = server.page(context.settings) if server.page else _address(context.settings, server)
    if not there:
        return Health(server.name, "down", "no process", memory, address)
    try:
        server.check(context)
    except Exception as error:
        return Health(server.name, "not answering", f"{type(error).__name__}: {error}"[:300], memory, address)
    pids = ", ".join(str(process.pid) for process in there)
    return Health(server.name, "up", f"pid {pids}", memory, address)


def _address(settings: Settings, server: Server) -> str:
    return f"{settings.bind_host}:{getattr(settings, server.ports[0])}" if server.ports else ""


def down(settings: Settings, names: list[str] | None = None) -> int:
    """Stop the servers called `names`, or everything; returns how many processes had to be ended apart.

    Raises:
        TerminalError: a process could not be ended.
    """
    context = context_of(settings)
    layout = context.layout
    if names:
        for server in reversed([ALL[server.name] for server in pick(names) if server.name in names]):
            for name in _programs(context, server):
                with suppress(TransientError):
                    supervisor.stop_program(layout, name)
        return 0
    ours = processes.of_stack(layout)
    if supervisor.runs(layout):
        _stop_together(context, [server for server in ALL.values() if server.after])
        _stop_together(context, list(ALL.values()))
        supervisor.shutdown(layout)
        _wait_for_supervisor(layout)
    left = {process.pid: process for process in (*ours, *processes.of_stack(layout)) if processes.alive(process)}
    stubborn = processes.end(left.values())
    if stubborn:
        pids = ", ".join(str(process.pid) for process in stubborn)
        raise TerminalError("Some processes could not be ended", received=f"pid {pids}", todo="end them by hand.")
    for old in layout.run.glob("*.pid") if layout.run.exists() else ():
        old.unlink()
    return len(left)


def _stop_together(context: Context, servers: list[Server]) -> None:
    """Ask all programs of `servers` to end, then wait for them; supervisord makes end who does not."""
    names = [name for server in servers for name in _programs(context, server)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: supervisor.stop_program(context.layout, name), names))


def _wait_for_supervisor(layout: Layout) -> None:
    until = time.monotonic() + supervisor.ITSELF_WAIT_S
    while processes.recorded(layout, supervisor.NAME) and time.monotonic() < until:
        time.sleep(0.1)


def wipe(settings: Settings) -> None:
    """Remove the stopped stack's data, logs and secrets.

    Raises:
        TerminalError: a folder holds something else; nothing is removed.
    """
    for folder in to_wipe(settings):
        shutil.rmtree(folder, ignore_errors=False)


def to_wipe(settings: Settings) -> list[Path]:
    """The folders that `wipe` removes.

    Raises:
        TerminalError: one of them is not a stack's.
    """
    layout = context_of(settings).layout
    found = {layout.state: strangers(layout.state)}
    if not layout.postgres.is_relative_to(layout.state) and (settings.postgres_dir is not None or as_root()):
        found[layout.postgres] = postgres_strangers(settings, layout)
    for folder, strange in found.items():
        if strange:
            raise TerminalError(
                "This folder is not a stack's, so it is not removed",
                received=f"{folder}: {', '.join(strange)}",
                todo="check BOOKWORKS_STATE_DIR and BOOKWORKS_POSTGRES_DIR; remove by hand what is to go.",
            )
    return [folder for folder in found if folder.exists()]
