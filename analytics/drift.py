"""Drift of the event stream into ClickHouse `drift`: population stability index, new window against the one before.

Run: `python -m analytics.drift [--days 7]`. The windows end at the newest event, not at the wall clock.
PSI = sum((p - q) ln(p / q)); below 0.1 is usually read as stable, above 0.25 as a shift.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console

from bookworks.adapters import clickhouse
from bookworks.cli.entry import run
from bookworks.clock import now
from bookworks.settings import get_settings

FEATURES = ("kind", "surface", "source")
SMOOTHING = 0.5  # added to each count, so that a value seen in one window only stays finite
COLUMNS = ["feature", "statistic", "value", "baseline", "current", "measured_at"]
COUNTS = """
    SELECT toString(ifNull({feature:Identifier}, '')) AS name,
           countIf(occurred_at <= {middle:DateTime64(3, 'UTC')}) AS before,
           countIf(occurred_at > {middle:DateTime64(3, 'UTC')}) AS after
    FROM events FINAL
    WHERE occurred_at > {start:DateTime64(3, 'UTC')} AND occurred_at <= {end:DateTime64(3, 'UTC')}
    GROUP BY name
"""


def psi(before: list[int], after: list[int]) -> float:
    """Population stability index of two histograms over the same values (counts, smoothed)."""
    p = [count + SMOOTHING for count in after]
    q = [count + SMOOTHING for count in before]
    pairs = zip((x / sum(p) for x in p), (y / sum(q) for y in q), strict=True)
    return sum((x - y) * math.log(x / y) for x, y in pairs)


def measure(client: Any, end: datetime, days: int) -> list[list[Any]]:
    """One row a feature, in the order of `COLUMNS`; none where a window is empty."""
    middle, start = end - timedelta(days=days), end - timedelta(days=2 * days)
    rows = []
    for feature in FEATURES:
        query = {"feature": feature, "start": start, "middle": middle, "end": end}
        counts = client.query(COUNTS, parameters=query).result_rows
        before, after = [row[1] for row in counts], [row[2] for row in counts]
        if sum(before) and sum(after):
            windows = [f"{start:%Y-%m-%d}..{middle:%Y-%m-%d}", f"{middle:%Y-%m-%d}..{end:%Y-%m-%d}"]
            rows.append([feature, "psi", psi(before, after), *windows, now()])
    return rows


def main(days: Annotated[int, typer.Option(min=1, help="Length of each window.")] = 7) -> None:
    """Measure drift and print it."""
    client = clickhouse.connect(get_settings())
    [[newest]] = client.query("SELECT max(occurred_at) FROM events").result_rows
    rows = measure(client, newest.replace(tzinfo=UTC), days) if newest else []
    if rows:
        client.insert("drift", rows, column_names=COLUMNS)
    for row in rows:
        Console().print(f"{row[0]}: PSI {row[2]:.3f} ({row[3]} to {row[4]})", highlight=False)
    if not rows:
        Console().print("no two windows with timed events yet: nothing to compare")


if __name__ == "__main__":
    run(lambda: typer.run(main))
