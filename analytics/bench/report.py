"""The JSON that every benchmark writes: machine, code, settings, rounds, medians with spread, ratio to a baseline."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bookworks.clock import now
from bookworks.settings import PROJECT_ROOT, Settings


@dataclass(frozen=True)
class Figure:
    """One measured figure: a value a round, and the baseline's value in the same round if there is one."""

    name: str
    unit: str
    rounds: list[float]
    baseline: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Median, smallest and largest round; ratio of the medians round by round."""
        result: dict[str, Any] = {"unit": self.unit, **spread(self.rounds), "rounds": self.rounds}
        if self.baseline:
            ratios = [value / base for value, base in zip(self.rounds, self.baseline, strict=True)]
            result["baseline"] = {**spread(self.baseline), "rounds": self.baseline}
            result["ratio_to_baseline"] = spread(ratios)
        return result


def spread(values: list[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system of this machine."""
    cpu = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory[0] / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def write(settings: Settings, name: str, figures: list[Figure], setting: dict[str, Any], out: Path | None) -> Path:
    """Print the figures and keep them as JSON; returns the file."""
    report = {
        "benchmark": name,
        "measured_at": now().isoformat(),
        "machine": machine(),
        "git_commit": _commit(),
        "settings": setting,
        "figures": {figure.name: figure.summary() for figure in figures},
    }
    path = out or settings.state_dir / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    _print(name, figures)
    Console().print(f"written to {path}", highlight=False)
    return path


def _print(name: str, figures: list[Figure]) -> None:
    grid = Table("figure", "unit", "median", "min", "max", "baseline", "ratio", title=f"bench {name}")
    for figure in figures:
        values = spread(figure.rounds)
        base = figure.summary().get("ratio_to_baseline")
        cells = [f"{values[key]:.2f}" for key in ("median", "min", "max")]
        last = [f"{statistics.median(figure.baseline):.2f}", f"{base['median']:.2f}"] if base else ["", ""]
        grid.add_row(figure.name, figure.unit, *cells, *last)
    Console().print(grid)


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def _commit() -> str:
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
