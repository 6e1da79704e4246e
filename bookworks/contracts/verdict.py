"""The gate's verdict in words: written into its task's log by `training.verdict`, read there by the demo."""

from __future__ import annotations

from collections.abc import Iterable

PASSED, REFUSED = "passed", "refused"
HOLDS, FAILS = "holds: ", "FAILS: "


def headline(challenger: str, outcome: str, readers: int) -> str:
    """The first line of a verdict."""
    return f"Bundle {challenger} is {outcome}, measured on {readers} test readers."


def refusal(log: Iterable[str]) -> list[str]:
    """Lines of the verdict in a task's log, if it refuses; none if it does not, or if there is no verdict."""
    lines = [line.strip() for line in log]
    heads = [line for line in lines if line.startswith("Bundle ") and f" is {REFUSED}, measured on " in line]
    return heads[-1:] + [line for line in lines if line.startswith((FAILS, HOLDS))] if heads else []
