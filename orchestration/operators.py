"""The operator of every task: run one command of a step in a process of its own, and read its exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from bookworks.cli.entry import EXIT_TRANSIENT
from bookworks.settings import PROJECT_ROOT


class CommandOperator(BaseOperator):
    """Run `python -m <arguments>` without a shell.

    A transient failure (exit code 75, or ended by a signal) is retried as the task's `retries` allow;
    any other failure ends the task at once.

    Args:
        arguments: module and its arguments; each is a Jinja template, and empty ones are left out.
        skip_unless: a template; when it renders empty the task is skipped.
    """

    template_fields: Sequence[str] = ("arguments", "skip_unless")

    def __init__(self, *, arguments: Sequence[str], skip_unless: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = list(arguments)
        self.skip_unless = skip_unless
        self._hook = SubprocessHook()

    def execute(self, context: Context) -> str:
        """The last line that the command printed."""
        if self.skip_unless is not None and self.skip_unless.strip() in ("", "None"):
            raise AirflowSkipException("Nothing to do for this run.")
        command = [sys.executable, "-m", *(argument for argument in self.arguments if argument)]
        result = self._hook.run_command(command, cwd=str(PROJECT_ROOT))
        if result.exit_code == 0:
            return str(result.output)
        message = f"{' '.join(command[1:])} ended with exit code {result.exit_code}: {result.output}"
        if result.exit_code == EXIT_TRANSIENT or result.exit_code < 0:
            raise AirflowException(message)
        raise AirflowFailException(message)

    def on_kill(self) -> None:
        """Stop the command together with the task."""
        self._hook.send_sigterm()
