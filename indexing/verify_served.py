"""Waits until the service answers with the champion's bundle: `python -m indexing.verify_served [--timeout S]`."""

from __future__ import annotations

import argparse
import time

import httpx
from rich.console import Console

from bookworks.adapters import registry
from bookworks.cli.entry import run
from bookworks.contracts.bundle import CHAMPION
from bookworks.errors import TerminalError
from bookworks.settings import Settings, get_settings

PAUSE_S = 0.5
IN_A_ROW = 3  # several workers load one after the other


def served_version(settings: Settings) -> str:
    """Version that the service answers with; or what it says instead."""
    try:
        answer = httpx.get(f"{settings.service_url}/readyz", timeout=5)
    except httpx.TransportError as error:
        return f"no answer at {settings.service_url}: {error}"
    if not answer.is_success:
        return f"{answer.status_code} {answer.text[:200]}"
    return str(answer.json()["bundle_version"])


def verify(settings: Settings, timeout_s: float) -> str:
    """The champion's version, once the service serves it.

    Raises:
        TerminalError: there is no champion, or the service does not serve it in time.
    """
    with registry.connect(settings) as client:
        champion = registry.version_of_alias(client, settings, CHAMPION)
    if champion is None:
        raise TerminalError("There is no champion", todo="promote one: `bookworks models promote`.")
    deadline, hits, seen = time.monotonic() + timeout_s, 0, ""
    while hits < IN_A_ROW:
        seen = served_version(settings)
        hits = hits + 1 if seen == champion else 0
        if time.monotonic() > deadline:
            raise TerminalError(
                f"The service does not serve the champion after {timeout_s:.0f} s",
                received=seen,
                allowed=champion,
                todo="look at `bookworks logs service`; go back with `bookworks models rollback`.",
            )
        time.sleep(PAUSE_S)
    return champion


def main() -> None:
    """Verify, and say which bundle is served."""
    parser = argparse.ArgumentParser(prog="python -m indexing.verify_served", description=__doc__)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds to wait (default %(default)s)")
    arguments = parser.parse_args()
    version = verify(get_settings(), arguments.timeout)
    Console().print(f"the service answers with {version}", highlight=False)


if __name__ == "__main__":
    run(main)
