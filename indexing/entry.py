"""The command line that the indexing steps share: `--version V`, or what the alias `challenger` names."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bookworks.cli.entry import run
from bookworks.settings import Settings, get_settings
from indexing.source import bundle_folder


def main(name: str, description: str | None, step: Callable[[Settings, Path], str]) -> None:
    """Run one step on the bundle asked for and print what it says.

    Args:
        name: the module, for the usage line.
        description: what the step does.
        step: takes settings and the bundle's folder, returns a sentence.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    parser.add_argument("--version", help="bundle version; left out: the one of MLflow's alias challenger")
    arguments = parser.parse_args()

    def work() -> None:
        settings, started = get_settings(), time.monotonic()
        said = step(settings, bundle_folder(settings, arguments.version))
        Console(soft_wrap=True).print(f"{said} in {time.monotonic() - started:.1f} s", highlight=False, markup=False)

    run(work)
