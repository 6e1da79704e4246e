"""Writes docs/benchmarks.md from docs/benchmarks/*.json of `bookworks bench`: `python docs/write_benchmarks.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("benchmarks.md")
RESULTS = Path(__file__).with_name("benchmarks")

HEAD = """# Benchmarks

Every number on this page comes from `bookworks bench serving|failures|stream|works|search|up|demo|make`, which write
JSON with the machine, the medians and the spread of the rounds, and where there is one the ratio to a baseline measured
in the same run. `python docs/write_benchmarks.py` writes the page from these files (`docs/benchmarks/`); a test
compares it with them.

`search-…` is of real catalogues, and of one made by `bookworks simulate catalogue`. Queries are titles drawn by
a seed: as they are, with one slip of the pen, with two, with the words in another order, and behind the author's name.
Figures are shares of queries whose book comes first or among the first ten, and milliseconds a query in the process,
while others worked on the machine; dense lists and HTTP come on top in the service. `memory` is by how much the process
grew; about half of it is free again for what comes next.

`failures` counts calls of all kinds while one part after the other is away: answered, refused as docs/users/service.md
says, made with a named fallback, and all else, `unexplained`. Airflow and a review ran beside it: its milliseconds are
no measure of the service.

`serving-sized…` come from a machine whose speed changes within minutes by half: rounds of one run differ by that, so
compare ratios to the no-op endpoint, and read the 99th percentile with its spread. `serving-book-crossing` is of the
real catalogue, with the rest of the platform beside the service.
"""


def page() -> str:
    """The page: one table a file."""
    return "\n".join([HEAD, *(section(path) for path in sorted(RESULTS.glob("*.json")))])


def section(path: Path) -> str:
    """Heading, machine and table of one benchmark."""
    report = json.loads(path.read_text(encoding="utf-8"))
    machine = report["machine"]
    options = " ".join(f"{name} {value}" for name, value in report["settings"].items())
    lines = [
        f"## {path.stem}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; commit {report['git_commit'][:10]}; "
        f"{report['measured_at'][:10]}.{f' Settings: {options}.' if options else ''}",
        "",
        "| figure | unit | median | least | most | rounds | baseline | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(row(name, figure) for name, figure in report["figures"].items()),
        "",
    ]
    return "\n".join(lines)


def row(name: str, figure: dict[str, Any]) -> str:
    """One figure as a row."""
    values = [number(figure[key]) for key in ("median", "min", "max")]
    compared = [figure[key]["median"] for key in ("baseline", "ratio_to_baseline") if key in figure]
    base = [number(value) for value in compared] or ["", ""]
    cells = [name, figure["unit"], *values, str(len(figure["rounds"])), *base]
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three figures or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
