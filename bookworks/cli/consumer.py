"""The command line that all consumers share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

import typer

from bookworks.cli.entry import run as ended_in_words
from bookworks.settings import Settings, get_settings
from bookworks.streaming import FLUSH_ROWS, FLUSH_SECONDS, Stop, patiently

Consume = Callable[..., int]


def main(consume: Consume, purpose: str, flush_rows: int = FLUSH_ROWS, flush_seconds: float = FLUSH_SECONDS) -> None:
    """Run one consumer from the command line.

    Args:
        consume: called with settings, until_end, flush_rows and flush_seconds; returns the records consumed.
        purpose: one sentence for --help.
        flush_rows, flush_seconds: the defaults of this consumer.
    """

    def command(
        until_end: Annotated[
            bool, typer.Option("--until-end", help="Stop when the group has committed the end offsets of now.")
        ] = False,
        rows: Annotated[int, typer.Option("--flush-rows", min=1, help="Write when so many records wait.")] = flush_rows,
        seconds: Annotated[
            float, typer.Option("--flush-seconds", min=0, help="Or when the first waited so long.")
        ] = flush_seconds,
    ) -> None:
        settings = get_settings()
        set_up_logs(settings)
        options = {"until_end": until_end, "flush_rows": rows, "flush_seconds": seconds}
        consumed = _started(lambda: consume(settings, **options), wait=not until_end)
        logging.getLogger("bookworks").info("consumed %d records", consumed)

    command.__doc__ = purpose
    app = typer.Typer(add_completion=False)
    app.command()(command)
    ended_in_words(app)


def _started(consume: Callable[[], int], wait: bool) -> int:
    """A consumer that runs for ever waits for its servers; one that runs to the end reports them missing."""
    if not wait:
        return consume()
    result: int = patiently(consume, Stop(), "starting")
    return result


def set_up_logs(settings: Settings) -> None:
    """Our logs on stderr at the level of the settings; the client library's only its errors.

    It warns at each connection that SASL PLAIN without TLS is in the clear, which the settings say already.
    """
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(logging.ERROR)
