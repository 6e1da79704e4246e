"""What the service's problems become in the client."""

from __future__ import annotations

from typing import Any

import httpx

from bookworks.errors import TerminalError, TransientError


class ProblemError(TerminalError):
    """The service refused; the same request fails again.

    Attributes:
        status: of the HTTP answer.
        detail: what was wrong.
        field: of the request, for example `body.n`; empty where no single one is at fault.
        problem: the whole body (RFC 9457).
        retry_after_s: when it may succeed, where the service says so.
    """

    def __init__(self, status: int, problem: dict[str, Any], retry_after_s: float | None = None) -> None:
        self.status, self.problem, self.retry_after_s = status, problem, retry_after_s
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.field: str | None = problem.get("field")
        received = problem.get("received")
        super().__init__(
            f"{self.detail} ({self.field})" if self.field else self.detail,
            received=received,
            allowed=problem.get("allowed"),
            todo=problem.get("todo"),
        )


class ServiceAwayError(TransientError):
    """The service, or a part that the request needs, did not answer, though asked again."""


def problem_of(answer: httpx.Response) -> ProblemError:
    """The error of an answer that is none of ours to read further."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    problem = body if isinstance(body, dict) else {"detail": answer.text[:200] or answer.reason_phrase}
    return ProblemError(answer.status_code, problem, retry_after(answer))


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds of `Retry-After`; None where there is none."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
