"""Makes databases, buckets, topics and tables where they are missing; may be repeated.

Run: `python -m infra.compose.setup`.
"""

from __future__ import annotations

from bookworks.adapters import clickhouse, kafka, postgres, s3
from bookworks.cli.entry import run
from bookworks.settings import get_settings


def main() -> None:
    """Prepare every store for the settings of this process."""
    settings = get_settings()
    postgres.ensure_databases(settings)
    s3.ensure_buckets(settings)
    kafka.ensure_topics(settings)
    clickhouse.ensure_tables(settings)


if __name__ == "__main__":
    run(main)
