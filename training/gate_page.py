"""The gate's verdict as one page that needs nothing else: lines, intervals as plots, slices, and what was tried."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from bookworks.metrics.bootstrap import Interval
from training.files import BLEND_CHOICES, EVALUATION, TUNED, read_json
from training.verdict import Line, Slice, Verdict

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.holds { color: #1a7f37 } .fails { color: #b42318; font-weight: 600 }
svg { width: 100%; height: auto } svg text { font: 13px system-ui, sans-serif; fill: #222 }
"""
LEFT, WIDTH, RIGHT, ROW = 230, 480, 220, 24  # of a plot, pixels


class Bar(NamedTuple):
    """One row of a plot."""

    label: str
    interval: Interval
    good: bool


def page(verdict: Verdict, tried: dict[str, Any]) -> str:
    """The page as HTML."""
    against = f"Compared with the serving {verdict.champion}." if verdict.champion else "No model serves yet."
    parts = [
        f"<h1 class='{_kind(verdict.passed)}'>{escape(verdict.headline)}</h1><p>{escape(against)}</p>",
        "<h2>Lines</h2>" + _lines_table(verdict.ordered),
        "<h2>Differences of NDCG with 95 % intervals</h2>" + plot(_differences(verdict.lines)),
        "<h2>Slices of the readers</h2>" + _slices(verdict.slices),
        "<h2>What was tried</h2>" + _tried(tried),
    ]
    title = escape(f"Gate: {verdict.challenger}")
    head = f"<meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def read_tried(workspace: Path = Path()) -> dict[str, Any]:
    """What the run tried: its models on the test readers, the blend's choices, the search; absent is left out."""
    places = {"evaluation": EVALUATION, "blend": BLEND_CHOICES, "search": TUNED}
    return {name: read_json(workspace / path) for name, path in places.items() if (workspace / path).is_file()}


def plot(bars: Sequence[Bar]) -> str:
    """Intervals below each other as SVG, with a line at 0; nothing for no bar."""
    if not bars:
        return "<p>None.</p>"
    low = min(0.0, *(bar.interval.low for bar in bars))
    high = max(0.0, *(bar.interval.high for bar in bars))
    scale = WIDTH / (high - low or 1.0)
    zero, height = LEFT - low * scale, ROW * len(bars)
    rows = "".join(_row(bar, i * ROW + ROW / 2, LEFT - low * scale, scale) for i, bar in enumerate(bars))
    axis = f"<line x1='{zero:.1f}' x2='{zero:.1f}' y1='0' y2='{height}' stroke='#999' stroke-dasharray='3 3'/>"
    return f"<svg viewBox='0 0 {LEFT + WIDTH + RIGHT} {height}' role='img'>{axis}{rows}</svg>"


def _row(bar: Bar, y: float, zero: float, scale: float) -> str:
    low, value, high = (zero + x * scale for x in (bar.interval.low, bar.interval.value, bar.interval.high))
    colour = "#1a7f37" if bar.good else "#b42318"
    numbers = f"{bar.interval.value:+.4f} [{bar.interval.low:+.4f}, {bar.interval.high:+.4f}]"
    return (
        f"<text x='{LEFT - 12}' y='{y + 4}' text-anchor='end'>{escape(bar.label)}</text>"
        f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{y}' y2='{y}' stroke='{colour}' stroke-width='2'/>"
        f"<circle cx='{value:.1f}' cy='{y}' r='4' fill='{colour}'/>"
        f"<text x='{LEFT + WIDTH + 12}' y='{y + 4}'>{numbers}</text>"
    )


def _differences(lines: Sequence[Line]) -> list[Bar]:
    return [Bar(f"to {line.name}", line.difference, line.passed) for line in lines if line.difference]


def _lines_table(lines: Sequence[Line]) -> str:
    rows = (
        f"<tr><td class='{_kind(line.passed)}'>{_kind(line.passed)}</td><td>{escape(line.name)}</td>"
        f"<td>{escape(line.text)}</td></tr>"
        for line in lines
    )
    return f"<table>{''.join(rows)}</table>"


def _kind(passed: bool) -> str:
    return "holds" if passed else "fails"


def _slices(slices: Sequence[Slice]) -> str:
    bars = [Bar(f"{part.name} ({part.readers})", part.gain, part.gain.high >= 0) for part in slices if part.gain]
    rows = [
        [
            part.name,
            str(part.readers),
            f"{part.ndcg:.4f}",
            "" if part.champion is None else f"{part.champion:.4f}",
        ]
        for part in slices
    ]
    difference = "<p>Difference to the champion:</p>" + plot(bars) if bars else ""
    return table(["readers", "number", "NDCG", "of the champion"], rows) + difference


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and the others numbers."""
    marks = ["", *["n"] * (len(head) - 1)]
    top = "".join(f"<th class='{mark}'>{escape(name)}</th>" for name, mark in zip(head, marks, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td class='{m}'>{escape(cell)}</td>" for cell, m in zip(row, marks, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _tried(tried: dict[str, Any]) -> str:
    parts = []
    if "evaluation" in tried:
        parts.append("<p>NDCG@10 of each model on all test readers:</p>" + plot(_models(tried["evaluation"])))
    if "blend" in tried:
        rows = [
            [tier, f"{choice['valid_ndcg_at_20']:.4f}", f"{choice['history_share']:g}", _pairs(choice["weights"])]
            for tier, choice in tried["blend"].items()
        ]
        head = ["blend of", "NDCG@20 on validation", "share of the history", "weights"]
        parts.append("<p>Blends that were chosen on validation readers:</p>" + table(head, rows))
    if "search" in tried:
        found = tried["search"]
        parts.append(f"<p>Search for the two-tower model: {escape(_pairs(found))}</p>")
    return "".join(parts) or "<p>The run keeps no record of it.</p>"


def _models(evaluation: dict[str, Any]) -> list[Bar]:
    rows = [r for r in evaluation["rows"] if (r["metric"], r["k"], r["slice"]) == ("ndcg", 10, "all")]
    rows.sort(key=lambda row: -row["value"])
    return [Bar(r["model"], Interval(r["value"], r["low"], r["high"]), True) for r in rows]


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_pairs(value)})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
