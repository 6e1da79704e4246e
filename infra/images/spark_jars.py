"""Fetches the jars that Spark needs for S3 and Postgres: `python -m infra.images.spark_jars FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from bookworks.cli.entry import run
from bookworks.errors import TerminalError
from infra.local.install import parts

PART = "spark-jars"


def main() -> None:
    """Fill the folder with the jars that a local stack uses, at the same versions."""
    if len(sys.argv) != 2:
        raise TerminalError("One folder is needed", received=sys.argv[1:], todo="name the folder to fill.")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    next(part for part in parts() if part.name == PART).make(folder)


if __name__ == "__main__":
    run(main)
