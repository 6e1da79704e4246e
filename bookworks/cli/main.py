"""`bookworks`: one command; each group lives in the step it serves and is loaded only when asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from bookworks.cli.entry import run

# name -> (module, attribute, help). A Typer app or a plain function.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "doctor": ("infra.local.cli", "doctor", "Name each missing prerequisite and how to install it."),
    "install": ("infra.local.cli", "install", "Fetch and build the local servers."),
    "up": ("infra.local.cli", "up", "Start the servers and wait until each answers."),
    "status": ("infra.local.cli", "status", "Say which servers run and answer."),
    "logs": ("infra.local.cli", "logs", "Show a server's log."),
    "down": ("infra.local.cli", "down", "Stop every server; with --wipe remove the data."),
    "demo": ("infra.local.demo", "demo", "Run the whole line and show what came of it."),
    "simulate": ("simulation.cli", "app", "Generate readers and books with known truth; play readers."),
    "ingest": ("ingestion.cli", "app", "Files and streams: load, reconcile, dead letters."),
    "dbt": ("bookworks.cli.dbt", "dbt", "Run dbt on the warehouse with the platform's settings."),
    "works": ("spark_jobs.works.cli", "app", "Which editions are one book: cluster, match, evaluate, decide."),
    "evaluate": ("training.evaluate_cli", "evaluate", "Fit and rank every model on a split, beside the floors."),
    "models": ("training.models_cli", "app", "List, promote and roll back bundles."),
    "keys": ("serving.keys_cli", "app", "Make, list and revoke the API keys of calling services."),
    "bench": ("analytics.bench", "app", "Measure speed on this machine; writes JSON."),
}


class LazyGroup(TyperGroup):
    """Loads a command's module when the command is used, so that `--help` needs no heavy import."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command called `cmd_name`, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, help_text = COMMANDS[cmd_name]
        if "--help" in sys.argv[1:2] or len(sys.argv) == 1:
            return typer.core.TyperCommand(cmd_name, help=help_text)
        target = getattr(importlib.import_module(module), attribute)
        command: Any
        if isinstance(target, typer.Typer):
            command = typer.main.get_group(target)
        else:
            single = typer.Typer(add_completion=False)
            single.command(name=cmd_name)(target)
            command = typer.main.get_command(single)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=LazyGroup, pretty_exceptions_enable=False, add_completion=False, no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def root() -> None:
    """bookworks: from a reader's click to a recommended book."""


def main() -> None:
    """Entry point of the `bookworks` command."""
    run(app)


if __name__ == "__main__":
    main()
