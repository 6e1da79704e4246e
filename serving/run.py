"""Start the service: `python -m serving.run`. BentoML's server, production mode, on `service_host`:`service_port`."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from bookworks.cli.entry import run
from bookworks.errors import SettingError
from bookworks.settings import Settings, get_settings
from serving import policy
from serving.in_hand import make_page

_SECRET_LENGTH = 16
_CHECK_DELAY_S = 10  # as BentoML: how often circus looks after the workers


def check_address(settings: Settings) -> None:
    """Make sure that we can listen.

    Raises:
        SettingError: the host is no address of this machine, or the port is taken.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(settings.service_host).version == 6 else socket.AF_INET
    except ValueError:
        raise SettingError(
            "The service listens on an IP address", received=settings.service_host, todo="set BOOKWORKS_SERVICE_HOST."
        ) from None
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.service_host, settings.service_port))
        except OSError as error:
            raise SettingError(
                f"The service cannot listen on {settings.service_host}:{settings.service_port}",
                received=error.strerror,
                todo="end what listens there, or set BOOKWORKS_SERVICE_PORT.",
            ) from None


def check_secrets(settings: Settings) -> None:
    """Refuse to serve without secrets of our own.

    Raises:
        SettingError: one is missing or too short.
    """
    for name in ("jwt_secret", "service_api_key"):
        length = len(getattr(settings, name).get_secret_value())
        if length < _SECRET_LENGTH:
            raise SettingError(
                f"The service needs the secret BOOKWORKS_{name.upper()}",
                received=f"{length} characters",
                allowed=f"at least {_SECRET_LENGTH} characters",
                todo="run `bookworks up` once, which makes one, or set it in the environment.",
            )


def make_spool_folder(settings: Settings) -> None:
    """Make the folder for interactions that Kafka does not confirm, where one is set.

    Raises:
        SettingError: it cannot be made or written.
    """
    folder = settings.interactions_spool_dir
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to read and write {folder}")
    except OSError as error:
        raise SettingError(
            "The folder of BOOKWORKS_INTERACTIONS_SPOOL_DIR cannot be used",
            received=error,
            allowed="a folder of the service's user, on a disk that outlives the process",
            todo="set another, or none: without Kafka interactions are then refused.",
        ) from None


def one_thread_each() -> None:
    """Have the workers' libraries compute in the thread that asks: requests side by side keep the cores busy.

    Of more threads each would wait for the others at every product of small matrices.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def keep_control_local(folder: Path) -> None:
    """Have circus, which keeps BentoML's workers, take its orders over sockets in `folder`.

    BentoML puts them on TCP ports of this machine, where any local user could send `add` with a command line and no
    password; a folder with mode 0700 lets in nobody but the owner.
    """
    from bentoml._internal.utils import circus

    def arbiter(watchers: list[Any], *, threaded: bool = False, **options: Any) -> circus.Arbiter:
        kind = circus.ThreadedArbiter if threaded else circus.Arbiter
        return kind(
            watchers,
            endpoint=f"ipc://{folder / 'orders'}",
            pubsub_endpoint=f"ipc://{folder / 'events'}",
            check_delay=options.pop("check_delay", _CHECK_DELAY_S),
            **options,
        )

    circus.create_standalone_arbiter = arbiter


def serve() -> None:
    """Check the settings, then serve until a signal ends it."""
    settings = get_settings()
    check_secrets(settings)
    policy.load(settings.rules_file)  # a worker would fail on them again and again
    check_address(settings)
    make_spool_folder(settings)
    one_thread_each()
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ.setdefault("BENTOML_HOME", str(settings.state_dir / "bentoml"))
    from serving.service import BookworksService

    # Not below `state_dir`: a UNIX socket's path has at most 107 characters. The folder's mode is 0700.
    with tempfile.TemporaryDirectory(prefix="bookworks-control-") as folder:
        keep_control_local(Path(folder))
        make_page(Path(folder) / "in_hand")
        BookworksService.serve_http(host=settings.service_host, port=settings.service_port)


def main() -> None:
    """Entry point."""
    run(serve)


if __name__ == "__main__":
    main()
