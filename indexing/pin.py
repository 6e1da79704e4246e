"""Says which bundle one run of `publish` handles: `python -m indexing.pin [--version V]`, else the challenger now."""

from __future__ import annotations

import argparse

from bookworks.cli.entry import run
from bookworks.settings import get_settings
from indexing.source import version_to_index


def main() -> None:
    """Print the bundle version, alone on the last line."""
    parser = argparse.ArgumentParser(prog="python -m indexing.pin", description=__doc__)
    parser.add_argument("--version", help="bundle version; left out: the one of MLflow's alias challenger")
    print(version_to_index(get_settings(), parser.parse_args().version))


if __name__ == "__main__":
    run(main)
