"""`bookworks evaluate`: every recommender on a split of anybody's, beside the floors, over the whole catalogue.

Configs are chosen on a part of the training file; the test file is looked at once, at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from bookworks.errors import SettingError
from bookworks.metrics.ranking import PAD
from training.dataset import TEST, Dataset
from training.embed_titles import EmbeddingCache, EmbedParams, embed
from training.files import write_json
from training.item_files import read_items, with_catalogue
from training.measuring import K, measures
from training.memory import peak_memory
from training.params import Options
from training.recommenders.all import NAMES, Cost, Fitter, model_class
from training.recommenders.base import Lists
from training.recommenders.blend import asked
from training.search import SPACES, tune
from training.split_files import hold_out, make_split, read_pairs
from training.tiers import Row as Tier
from training.tiers import measure_new_works, measure_tiers

COLLABORATIVE = ("item_filter", "ease", "item_knn", "als", "als_small", "co_occurrence", "reader_knn", "two_hop")
CONTENT = ("content_ease", "same_author", "same_series", "same_publisher", "next_in_series", "title_text")
FLOORS = ("random", "popularity", "item_knn", "item_filter", "ease")  # always there
DEFAULT = (*FLOORS, "als", "blend", "ranker")
ALL = (*DEFAULT[:-2], "gnn", "two_tower", "blend", "ranker")


@dataclass(frozen=True)
class Evaluated:
    """One model's row: what it was, what it cost, what it found; `process_mib` is the most that the process had."""

    name: str
    config: dict[str, Any]
    fit: Cost
    rank_seconds: float
    process_mib: float
    lists: Lists
    found: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The row for programs."""
        return {
            "model": self.name, "config": self.config, "fit_seconds": round(self.fit.seconds, 2),
            "fit_mib": round(self.fit.mib), "rank_seconds": round(self.rank_seconds, 2),
            "process_peak_mib": round(self.process_mib),
        } | self.found  # fmt: skip


def evaluate(
    train: Annotated[Path, typer.Option(help="What the models learn from: KGAT's text format, or Parquet.")],
    test: Annotated[Path, typer.Option(help="What they are asked for; read once, at the end.")],
    items: Annotated[Path | None, typer.Option(help="Numbers of works to ISBNs: `org_id remap_id …`.")] = None,
    catalogue: Annotated[
        list[Path] | None, typer.Option(help="Title, author, house, year by ISBN: a file of any source. Repeatable.")
    ] = None,
    models: Annotated[
        str, typer.Option(help=f"`default`, `all`, or names with commas: {', '.join(NAMES)}.")
    ] = "default",
    tune_trials: Annotated[int, typer.Option("--tune", min=0, help="Configs tried for each model.")] = 0,
    storage: Annotated[
        str | None, typer.Option(help="Where searches are kept: `postgres` or an address of Optuna's; else in memory.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write everything as JSON.")] = None,
    recommendations: Annotated[Path | None, typer.Option(help="Write the first 20 of each reader as Parquet.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="model.name=value of a config. Repeatable.")] = None,
    tiers: Annotated[bool, typer.Option("--tiers", help="Measure cold start, too: new readers and new works.")] = False,
    new_works: Annotated[
        bool, typer.Option("--new-works", help="Measure works that nobody has read, and their cost: a tenth taken out.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 42,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 2,
) -> None:
    """Fit, tune and rank every model on a split, and print the table."""
    console, started = Console(stderr=True), time.monotonic()
    names = chosen(models)
    data = load(train, test, items, catalogue or [], threads)
    fitter = Fitter(Options(seed=seed, threads=threads), configs_of(data, set_ or []))
    console.print(f"{data.n_trained} readers and {data.n_works} works to learn from", highlight=False)
    if tune_trials:
        search(names, data, fitter, tune_trials, address(storage), console)
    rows = {name: evaluated(name, data, fitter, console) for name in in_order_of_memory(names)}
    show([rows[name] for name in names])
    kinds = [measure for measure, wanted in ((measure_tiers, tiers), (measure_new_works, new_works)) if wanted]
    cold = [row for measure in kinds for row in measured_cold(measure, names, data, fitter.options, set_ or [])]
    show_tiers(cold)
    most = max(row.process_mib for row in rows.values())
    console.print(f"all in {time.monotonic() - started:.0f} s, {most:.0f} MiB at most", highlight=False)
    if out:
        write_json(out, {"data": facts(data, [train, test]), "rows": [rows[name].to_json() for name in names],
                         "tiers": [row.to_json() for row in cold]})  # fmt: skip
    if recommendations:
        pq.write_table(pa.concat_tables([listed(rows[name], data) for name in names]), recommendations)


def chosen(text: str) -> list[str]:
    """Names of the models, the floors first.

    Raises:
        SettingError: a name is unknown.
    """
    named = {"default": DEFAULT, "all": ALL}.get(text) or tuple(part.strip() for part in text.split(","))
    for name in named:
        model_class(name)
    return list(dict.fromkeys((*FLOORS, *named)))


def load(train: Path, test: Path, items: Path | None, catalogue: Sequence[Path], threads: int) -> Dataset:
    """The split with all that its works are known by."""
    data = make_split(read_pairs(train), read_pairs(test), read_items(items) if items else ())
    if items is None and not catalogue:
        return data
    return with_titles(with_catalogue(data, items, catalogue), threads)


def with_titles(data: Dataset, threads: int) -> Dataset:
    """The dataset with an embedding of each title; a work without one has zeros."""
    titles: list[str | None] = data.works["title"].to_pylist()
    known = [row for row, title in enumerate(titles) if title]
    if not known:
        return data
    from bookworks.settings import get_settings

    params = EmbedParams()
    cache = EmbeddingCache(get_settings().state_dir / "embeddings", params.max_seq_length)
    found, _ = embed([str(titles[row]) for row in known], cache, params, threads)
    vectors = np.zeros((data.n_works, found.shape[1]), dtype=np.float16)
    vectors[known] = found
    return replace(data, titles=vectors)


def configs_of(data: Dataset, settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Configs that depend on what is known of the works, and those given by hand.

    Raises:
        SettingError: a setting is not `model.name=value`.
    """
    content = tuple(name for name in CONTENT if usable(name, data))
    blend = {"sources": (*COLLABORATIVE, *content)}
    configs: dict[str, dict[str, Any]] = {"blend": blend, "ranker": {"blend": blend}}
    for text in settings:
        place, equals, value = text.partition("=")
        model, dot, name = place.partition(".")
        if not (equals and dot and name):
            raise SettingError(
                "--set cannot be read", received=text, allowed="model.name=value", todo="ease.regularization=300"
            )
        model_class(model)
        configs.setdefault(model, {})[name] = _value(value)
    return configs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def usable(name: str, data: Dataset) -> bool:
    """Whether the catalogue tells what a content model needs."""
    if name == "title_text":
        return data.titles is not None
    field = {"next_in_series": "series_number"}.get(name) or model_class(name).field  # type: ignore[attr-defined]
    return field in data.works.column_names and data.works[field].null_count < data.n_works


def search(
    names: Sequence[str], data: Dataset, fitter: Fitter, trials: int, storage: str | None, console: Console
) -> None:
    """Tune every model that is asked for, itself or as a source; the fitter keeps what was found."""
    inner = hold_out(data, 0.1, fitter.options.seed)
    sources = fitter.config("blend").sources if {"blend", "ranker"} & set(names) else ()
    for name in dict.fromkeys((*names, *sources)):
        if name in SPACES:
            found = tune(name, inner, fitter.configs.get(name, {}), trials, fitter.options, storage)
            fitter.configs[name] = found
            console.print(f"tuned {name}: {found}", highlight=False)


def in_order_of_memory(names: Sequence[str]) -> list[str]:
    """What is made of others first: it fits them to a part of the rows, before they are fitted to all and kept."""
    return sorted(names, key=lambda name: (name != "ranker", name != "blend"))


def address(storage: str | None) -> str | None:
    """Optuna's storage; `postgres` is the platform's."""
    if storage != "postgres":
        return storage
    from bookworks.settings import get_settings

    settings = get_settings()
    return settings.postgres_dsn(settings.optuna_db, "postgresql+psycopg2")


def evaluated(name: str, data: Dataset, fitter: Fitter, console: Console) -> Evaluated:
    """Fit one model, rank the whole catalogue for every reader of the test part, and measure."""
    known = asked(data, TEST)
    with console.status(f"{name} …"), peak_memory() as memory:
        model, cost = fitter.fit(name, data), fitter.cost(name, data)
        fitted = time.monotonic()
        lists = model.recommend(known.batch, K, fitter.options.threads)
        ranked = time.monotonic() - fitted
    report = getattr(model, "report", None)
    if report:  # the ranker's blend is the blend: its mix is not looked for again
        fitter.configs["blend"] = dict(fitter.configs["blend"]) | {
            name: report[name] for name in ("weights", "new_lift")
        }
    found = measures(lists, known, data) | {"report": report}
    if name not in sources_of(fitter):
        fitter.drop(name, data)
    console.print(f"{name}: fitted in {cost.seconds:.0f} s, ranked in {ranked:.0f} s", highlight=False)
    config = fitter.config(name).model_dump(mode="json")
    return Evaluated(name, config, cost, ranked, memory.mib, lists, found)


def sources_of(fitter: Fitter) -> tuple[str, ...]:
    """Models that others are made of."""
    return tuple(fitter.config("blend").sources)


def show(rows: Sequence[Evaluated]) -> None:
    """Print the table: recall and NDCG at 20 with their intervals, what the lists are like, costs; then the slices."""
    table = Table(box=None, pad_edge=False)
    for title in ("model", "recall@20", "ndcg@20", "coverage", "novelty", "gini", "fit s", "fit MiB", "rank s"):
        table.add_column(title, justify="left" if title == "model" else "right", no_wrap=True)
    for row in rows:
        metrics = row.found["metrics"]
        found = [ranged(metrics[name]) for name in ("recall_at_20", "ndcg_at_20")]
        plain = [f"{metrics[name]['value']:.3f}" for name in ("coverage_at_20", "novelty_at_20", "gini_at_20")]
        costs = [f"{row.fit.seconds:.1f}", f"{row.fit.mib:.0f}", f"{row.rank_seconds:.1f}"]
        table.add_row(row.name, *found, *plain, *costs)
    Console(width=140).print(table)
    show_slices(rows)


def show_slices(rows: Sequence[Evaluated]) -> None:
    """Print recall@20 by length of the history and by readers of the wanted work; a line below tells of how many."""
    slices = {name: told["readers"] for row in rows for name, told in row.found["slices"].items()}
    table = Table(box=None, pad_edge=False, title="recall@20 by works in the history, and of works by their readers")
    for title in ("model", *slices):
        table.add_column(title.removeprefix("history "), justify="left" if title == "model" else "right", no_wrap=True)
    for row in rows:
        found = row.found["slices"]
        table.add_row(row.name, *(f"{found[name]['recall_at_20']['value']:.4f}" for name in slices))
    table.add_row("readers", *map(str, slices.values()))
    Console(width=140).print(table)


def ranged(metric: dict[str, float]) -> str:
    """A mean with its interval."""
    return f"{metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"


def measured_cold(
    measure: Callable[[Sequence[str], Dataset, Fitter], Iterator[Tier]],
    names: Sequence[str],
    data: Dataset,
    options: Options,
    settings: Sequence[str],
) -> list[Tier]:
    """Cold start of the models that are no floors; nothing that was found on the whole split is used."""
    asked_for = [name for name in names if name not in FLOORS] or ["popularity"]
    return list(measure(asked_for, data, Fitter(options, configs_of(data, settings))))


def show_tiers(rows: Sequence[Tier]) -> None:
    """Print what each tier of readers and of works gets."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for title in ("model", "tier", "readers", "recall@20", "ndcg@20"):
        table.add_column(title, justify="left" if title in {"model", "tier"} else "right", no_wrap=True)
    for row in rows:
        told = row.to_json()
        found = [ranged(told[name]) for name in ("recall_at_20", "ndcg_at_20")]
        table.add_row(row.model, row.tier, str(row.readers), *found)
    Console(width=140).print(table)


def facts(data: Dataset, files: Sequence[Path]) -> dict[str, Any]:
    """What was evaluated on."""
    counts = {part: data.rows(part).num_rows for part in ("train", "test")}
    known = {name: data.n_works - data.works[name].null_count for name in data.works.column_names if name != "work_id"}
    return {
        "files": [path.name for path in files],
        "readers": data.n_readers,
        "works": data.n_works,
        "known": known,
    } | counts


def listed(row: Evaluated, data: Dataset) -> pa.Table:
    """The lists with the files' own ids: model, reader, item, rank from 1, score."""
    known = asked(data, TEST)
    readers, works = np.array(data.labels("user_id")), np.array(data.works["work_id"].to_pylist())
    place, rank = np.nonzero(row.lists.works != PAD)
    return pa.table(
        {
            "model": pa.array([row.name] * place.size),
            "reader": pa.array(readers[known.readers[place]].tolist()),
            "item": pa.array(works[row.lists.works[place, rank]].tolist()),
            "rank": pa.array(rank + 1),
            "score": pa.array(row.lists.scores[place, rank]),
        }
    )
