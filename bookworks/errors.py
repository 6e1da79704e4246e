"""The errors that leave bookworks: each says what came, what is allowed, what to do.

`TransientError` may succeed when tried again (a server is away); `TerminalError` will not
(the input or a setting is wrong). Retries anywhere in the platform look at nothing else.
"""

from __future__ import annotations


class BookworksError(Exception):
    """Base of all errors shown to a user without a stack trace.

    Args:
        what: what went wrong, in one sentence.
        received: the offending value or state, shortened by the caller where long.
        allowed: what would have been accepted.
        todo: the next step for the reader of the message.
    """

    def __init__(
        self,
        what: str,
        *,
        received: object = None,
        allowed: str | None = None,
        todo: str | None = None,
    ) -> None:
        self.what = what
        self.received = received
        self.allowed = allowed
        self.todo = todo
        super().__init__(str(self))

    def __str__(self) -> str:
        """What, received, allowed, to do, in one line."""
        parts = [self.what.rstrip(".") + "."]
        if self.received is not None:
            parts.append(f"Received: {self.received}.")
        if self.allowed is not None:
            parts.append(f"Allowed: {self.allowed}.")
        if self.todo is not None:
            parts.append(f"To do: {self.todo}")
        return " ".join(parts)


class TransientError(BookworksError):
    """Worth a retry: an outside system did not answer, or not in time."""


class TerminalError(BookworksError):
    """Not worth a retry: the same call with the same input fails again."""


class SettingError(TerminalError):
    """A setting is missing or wrong; the message names it."""


class ContractError(TerminalError):
    """Data broke a contract of `bookworks.contracts`."""


class BundleError(TerminalError):
    """A bundle is incomplete, altered, or made of parts that do not fit together."""
