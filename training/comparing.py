"""What changes for whom when one bundle takes the place of another: both ranked for the same test readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from bookworks.metrics.bootstrap import Interval, mean_interval
from bookworks.metrics.ranking import Ranked, Values
from bookworks.models.bundle import Bundle
from training.dataset import TEST, TRAIN, VALID, load_dataset
from training.files import PARAMS, SPLIT
from training.held_out import HeldOut, make_held_out, rank_with_bundle
from training.judge import known_to, ndcg_of, translated
from training.params import load_params
from training.reader_groups import groups_of
from training.split import SplitParams
from training.verdict import GateParams, shown

MOST = 10  # works that are named
ORIGIN = ("git_commit", "data_version", "snapshot_id")


@dataclass(frozen=True)
class Side:
    """One of two bundles, with its lists for the test readers as work ids."""

    bundle: Bundle
    ndcg: Values
    lists: list[list[str]]


def readers_of(workspace: Path) -> tuple[HeldOut, int]:
    """The test readers of a run as its gate takes them, and how long its lists are."""
    weight = load_params("split", SplitParams, workspace / PARAMS).relevant_weight
    params = load_params("gate", GateParams, workspace / PARAMS)
    data = load_dataset(workspace / SPLIT)
    return make_held_out(data, (TRAIN, VALID), TEST, weight, params.max_readers), params.k


def compare(first: Bundle, second: Bundle, owner: Bundle, tests: HeldOut, k: int) -> dict[str, Any]:
    """Second less first, for readers whose works are numbered as in `owner`, which is one of the two."""
    one, two = (side_of(bundle, owner, tests, k) for bundle in (first, second))
    gain = two.ndcg - one.ndcg
    slices = {"all": np.arange(len(tests))} | groups_of(tests)
    return {
        "k": k,
        "readers": len(tests),
        "slices": [
            {"slice": name, "readers": int(rows.size), "first": _mean(one.ndcg[rows]), "second": _mean(two.ndcg[rows])}
            | {"difference": _interval(mean_interval(gain[rows]))}
            for name, rows in slices.items()
        ],
        "better": int((gain > 0).sum()),
        "worse": int((gain < 0).sum()),
        "same": int((gain == 0).sum()),
        "overlap": _mean(np.array([len(set(a) & set(b)) / k for a, b in zip(one.lists, two.lists, strict=True)])),
        "exposure": exposure(one, two),
    }


def side_of(bundle: Bundle, owner: Bundle, tests: HeldOut, k: int) -> Side:
    """A bundle's lists and NDCG for readers whose works are numbered as in `owner`."""
    ranked: Ranked = rank_with_bundle(bundle, known_to(bundle, owner, tests.states), k)
    relevant = [translated(works, owner, bundle) for works in tests.relevant]
    lists = [[bundle.work_ids[i] for i in row if i >= 0] for row in ranked.tolist()]
    return Side(bundle, ndcg_of(ranked, relevant, tests, len(bundle), k), lists)


def exposure(one: Side, two: Side) -> dict[str, list[dict[str, Any]]]:
    """Works that are in more lists than before, and in fewer, the most changed first."""
    titles = _titles(one.bundle) | _titles(two.bundle)
    before, after = (Counter(work for row in side.lists for work in row) for side in (one, two))
    changed = sorted(((after[work] - before[work], work) for work in before | after), key=lambda c: (-abs(c[0]), c[1]))

    def told(rows: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
        return [
            {"work_id": work, "title": titles.get(work), "first": before[work], "second": after[work]}
            for _, work in rows
        ]

    gained = [row for row in changed if row[0] > 0][:MOST]
    lost = [row for row in changed if row[0] < 0][:MOST]
    return {"gained": told(gained), "lost": told(lost)}


def _titles(bundle: Bundle) -> dict[str, str]:
    return dict(zip(bundle.work_ids, bundle.works["title"].to_pylist(), strict=True))


def origins(first: Bundle, second: Bundle) -> dict[str, list[str]]:
    """Commit, data and snapshot where they differ: name -> both values."""
    pairs = {name: [str(getattr(b.manifest, name)) for b in (first, second)] for name in ORIGIN}
    return {name: values for name, values in pairs.items() if values[0] != values[1]}


def changed_params(first: Path, second: Path) -> dict[str, list[Any]]:
    """Parameters that differ between two workspaces: `section.name` -> both values; the instant of the snapshot too."""
    one, two = (_flat(yaml.safe_load((folder / PARAMS).read_text(encoding="utf-8"))) for folder in (first, second))
    return {name: [one.get(name), two.get(name)] for name in sorted(one | two) if one.get(name) != two.get(name)}


def _flat(params: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    return {f"{section}.{name}": value for section, values in params.items() for name, value in (values or {}).items()}


def _interval(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _mean(values: Values) -> float:
    return float(values.mean()) if values.size else 0.0


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print what changed."""
    for name, (before, after) in {**found["origins"], **found["params"]}.items():
        console.print(f"{name}: {before} -> {after}", highlight=False, markup=False)
    if not found["origins"] and not found["params"]:
        console.print("Commit, data and the parameters that are known are the same.")
    if found["readers_compared"] is None:
        console.print(found["why_not"], highlight=False, markup=False)
        return
    readers = found["readers_compared"]
    console.print(_slices(readers))
    console.print(
        f"NDCG@{readers['k']} better for {readers['better']} readers, worse for {readers['worse']}, the same for "
        f"{readers['same']}; {readers['overlap']:.0%} of each list is in both.",
        highlight=False,
    )
    for kind, words in (("gained", "In more lists"), ("lost", "In fewer lists")):
        works = [f"{w['title']} ({w['first']} -> {w['second']})" for w in readers["exposure"][kind]]
        console.print(f"{words}: {'; '.join(works) or 'none'}.", highlight=False, markup=False)


def _slices(readers: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("readers", "number", "first", "second", f"difference of NDCG@{readers['k']}"):
        table.add_column(title, justify="left" if title == "readers" else "right")
    for row in readers["slices"]:
        numbers = [f"{row['first']:.4f}", f"{row['second']:.4f}", shown(Interval(**row["difference"]))]
        table.add_row(row["slice"], str(row["readers"]), *numbers)
    return table
