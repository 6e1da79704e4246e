"""`bookworks bench serving|stream|works|search|up|demo|make`."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from analytics.bench import demo as demo_bench
from analytics.bench import failures, recall, report, serving, sized, stream
from analytics.bench import make as make_bench
from analytics.bench import search as search_bench
from analytics.bench import works as works_bench
from analytics.bench.command import bookworks
from bookworks.errors import SettingError
from bookworks.settings import get_settings

app = typer.Typer(no_args_is_help=True, help="Measure speed on this machine; writes JSON.")
Out = Annotated[Path | None, typer.Option(help="JSON file; default: bench/<name>.json in the state folder.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds; the median is quoted.")]


@app.command("serving")
def serving_command(
    requests: Annotated[int, typer.Option(min=10, help="Requests a round.")] = 300,
    rounds: Rounds = 5,
    works: Annotated[
        list[int] | None, typer.Option(min=1000, help="Size of a made-up catalogue. Repeatable; else the champion's.")
    ] = None,
    callers: Annotated[
        list[int] | None, typer.Option(min=1, help="Callers at a time, with --works. Repeatable; else 1 and 16.")
    ] = None,
    candidates: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Of the ranker, with --works; 0 leaves it out. Repeatable; else 500 and 0."),
    ] = None,
    out: Out = None,
) -> None:
    """Latency of POST /v1/recommend, beside the server's no-op endpoint."""
    settings = get_settings()
    if works:
        many, ranked = callers or [1, 16], candidates or [500, 0]
        figures = sized.measure(settings, works, many, requests, rounds, ranked)
        setting = {"requests": requests, "works": works, "callers": many, "candidates": ranked}
        setting["workers"] = settings.service_workers
        report.write(settings, "serving-sized", figures, setting, out)
        return
    figures = [recall.of_champion(settings, serving.readers_of(settings, recall.READERS))]
    figures += serving.measure(settings, requests, rounds) + serving.events_shown(settings, requests)
    report.write(settings, "serving", figures, {"requests": requests, "callers": 1}, out)


@app.command("failures")
def failures_command(
    seconds: Annotated[float, typer.Option(min=1, help="That each part is away.")] = 60.0,
    rate: Annotated[float, typer.Option(min=1, help="Calls a second, four of five for books.")] = 50.0,
    out: Out = None,
) -> None:
    """What the service answers under load while one part of this stack after the other is away."""
    settings = get_settings()
    figures = failures.measure(settings, serving.readers_of(settings, 500), seconds, rate)
    report.write(settings, "failures", figures, {"seconds": seconds, "rate": rate}, out)


@app.command("stream")
def stream_command(
    events: Annotated[int, typer.Option(min=1000, help="Events in the file.")] = 100_000,
    rounds: Rounds = 3,
    out: Out = None,
) -> None:
    """File to Kafka to lake, records a second, beside Kafka alone.

    Adds generated events to this stack: give it one of its own (BOOKWORKS_STATE_DIR, BOOKWORKS_PORT_OFFSET).
    """
    settings = get_settings()
    figures = stream.measure(settings, settings.state_dir / "bench" / "stream", events, rounds)
    report.write(settings, "stream", figures, {"events": events}, out)


@app.command("works")
def works_command(
    works: Annotated[int, typer.Option(min=20, help="Works of the generated catalogue.")] = 50_000,
    rounds: Rounds = 3,
    out: Out = None,
) -> None:
    """Clustering of a generated catalogue: records a second, peak memory, and a run after 1 % of it has changed."""
    settings = get_settings()
    figures, records = works_bench.measure(settings, settings.state_dir / "bench" / "works", works, rounds)
    report.write(settings, "works", figures, {"records": records}, out)


@app.command("search")
def search_command(
    catalogue: Annotated[Path | None, typer.Option(help="CSV file, gzipped or not, of real works.")] = None,
    columns: Annotated[str, typer.Option(help="Which column is which.")] = "title=title,author=author",
    separator: Annotated[str, typer.Option(help="Between the columns.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of the file.")] = "utf-8",
    bundle: Annotated[Path | None, typer.Option(help="Folder of a bundle, instead: with its dense lists.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries of each kind.")] = 1000,
    rounds: Rounds = 3,
    seed: Annotated[int, typer.Option(help="Of the first round.")] = 1,
    out: Out = None,
) -> None:
    """How often search finds the book that is meant, typed right or with slips, how soon, and what its index takes."""
    if (catalogue is None) == (bundle is None):
        raise SettingError("Search is measured on one thing", allowed="either --catalogue or --bundle")
    if catalogue is not None:
        works = search_bench.read_catalogue(catalogue, columns, separator, encoding)
        make = search_bench.of_catalogue(works)
    else:
        works, make = search_bench.of_bundle(bundle or Path())
    figures = search_bench.measure(works, make, queries, rounds, seed)
    setting = {"works": works.num_rows, "queries": queries, "seed": seed}
    if catalogue is not None:
        setting |= {"catalogue": catalogue.name, "columns": columns, "separator": separator, "encoding": encoding}
    report.write(get_settings(), "search", figures, setting, out)


@app.command("up")
def up_command(rounds: Rounds = 3, out: Out = None) -> None:
    """Seconds of `bookworks up` with everything installed; stops the servers before each round."""
    settings, seconds = get_settings(), []
    for _ in range(rounds):
        bookworks(settings, "down")
        started = monotonic()
        bookworks(settings, "up")
        seconds.append(monotonic() - started)
    report.write(settings, "up", [report.Figure("up", "s", seconds)], {}, out)


@app.command("demo", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def demo_command(ctx: typer.Context, rounds: Rounds = 1, out: Out = None) -> None:
    """Wall time and peak memory of the whole line; further options go to `bookworks demo`."""
    settings = get_settings()
    figures = demo_bench.measure(settings, ctx.args, rounds)
    report.write(
        settings,
        "demo",
        figures,
        {"arguments": " ".join(Path(word).name if "/" in word else word for word in ctx.args)},
        out,
    )


@app.command("make")
def make_command(
    target: Annotated[str, typer.Argument(help="Of the Makefile, for example test or demo.")],
    cold: Annotated[bool, typer.Option("--cold", help="In a new clone with empty caches, twice.")] = False,
    rounds: Rounds = 1,
    out: Out = None,
) -> None:
    """Wall time of a target of the Makefile: here, or as a newcomer has it, with nothing installed."""
    settings = get_settings()
    if cold:
        figures = make_bench.cold(target, settings.state_dir / "bench" / "make")
    else:
        figures = make_bench.here(target, rounds)
    report.write(settings, f"make-{target}{'-cold' if cold else ''}", figures, {}, out)
