"""How a command ends: exit codes, and errors in words instead of a stack trace."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console

from bookworks.errors import BookworksError, TransientError

EXIT_TERMINAL = 1  # the same call fails again
EXIT_TRANSIENT = 75  # EX_TEMPFAIL of sysexits.h: worth a retry
EXIT_INTERRUPTED = 130


def run(main: Callable[[], object]) -> None:
    """Call `main`; a bookworks error is printed and becomes the exit code that tells a DAG whether to retry."""
    try:
        main()
    except BookworksError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(EXIT_TRANSIENT if isinstance(error, TransientError) else EXIT_TERMINAL)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
