"""`bookworks works`: cluster any catalogue, compare two, measure, and decide as a person."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

from bookworks.errors import SettingError
from bookworks.settings import get_settings
from spark_jobs.job import translated
from spark_jobs.session import spark_session
from spark_jobs.works import baselines_cli, decisions_cli, matching, measures_cli, repairs_cli
from spark_jobs.works.clustering import cluster
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.delta import Changes, changes
from spark_jobs.works.evaluation import Evaluation, evaluate, read_works
from spark_jobs.works.files import Catalogue, Columns, part_of, read_catalogue, write_csv, write_frame
from spark_jobs.works.kept import KeptFiles
from spark_jobs.works.state import WORTH_SAVING, load, save

app = typer.Typer(no_args_is_help=True, help="Works: which editions are one book.")
app.add_typer(decisions_cli.app)
app.add_typer(measures_cli.app)
app.add_typer(repairs_cli.app)
app.add_typer(baselines_cli.app)
MOST_SHOWN = 5  # blocks over their bound
_COLUMNS = "id=record_id,title=Title,author=Author; also isbn, publisher, year, language, series, format."


_Aliases = Annotated[Path | None, typer.Option(help="CSV of authors' further names: alias, name, kind.")]


@app.command("cluster")
def cluster_command(
    input: Annotated[Path, typer.Option(help="Catalogue: CSV, also gzipped.")],
    columns: Annotated[str, typer.Option(help=f"Which column is what: {_COLUMNS}")],
    output: Annotated[Path, typer.Option(help="CSV to write: record_id, work_id, confidence.")],
    separator: Annotated[str, typer.Option(help="Between fields; \\t is a tab.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of the catalogue.")] = "utf-8",
    threshold: Annotated[
        float, typer.Option(help="Least mean probability of one work.", min=0.05, max=1)
    ] = MatchConfig.threshold,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder for what the run found: a later run with it compares only what has changed since."),
    ] = None,
    aliases: _Aliases = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts and seconds as JSON.")] = False,
) -> None:
    """Find the work of each record of a catalogue; needs no server."""
    console = Console(stderr=True)
    parsed, config = Columns.of_text(columns), MatchConfig.of(get_settings(), aliases, threshold)
    _check_output(output, input)
    _check_output(_report_of(output), input)
    kept = _folder(keep) if keep else None
    if kept:
        KeptFiles.clear(kept)
    with TemporaryDirectory() as folder:
        began = time.monotonic()
        with console.status(f"reading {input.name}"):
            catalogue = read_catalogue(input, parsed, Path(folder), separator, encoding)
        spent = time.monotonic() - began
        done = _again(console, catalogue, kept, output, config)
        if not done:
            spent = time.monotonic() - began
            done = _whole(console, catalogue, kept, output, config)
    seconds = spent + done.seconds
    _report(console, catalogue, output, done.works, seconds)
    if as_json:
        counts = {"records": catalogue.rows, "works": done.works, "rejected": len(catalogue.rejected)}
        typer.echo(json.dumps(counts | {"seconds": round(seconds, 3)}))
    for rule, key, nodes in done.cut[:MOST_SHOWN]:
        told = f"not all compared: {nodes:,} spellings with the {rule} {key!r}"
        console.print(told, style="yellow", markup=False)


class _Done(NamedTuple):
    """What a run found: works, seconds it took, blocks over their bound (rule, key, nodes), the largest first."""

    works: int
    seconds: float
    cut: list[tuple[str, str, int]]


def _again(
    console: Console, catalogue: Catalogue, kept: Path | None, output: Path, config: MatchConfig
) -> _Done | None:
    """Work out what has changed, without Spark; None where everything is to be worked out."""
    began = time.monotonic()
    before = KeptFiles.of(kept, catalogue.file, config) if kept and not catalogue.doubled else None
    if not before:
        return None
    with console.status("looking for what has changed"):
        try:
            changed = changes(before, config, Constraints([], []))
            clusters = before.works(changed) if changed else None
        except (OSError, pa.ArrowException):  # a file of it is damaged
            return None
        if not changed:
            return None
        works = write_works(catalogue, clusters, output)
    done = _Done(works, time.monotonic() - began, before.cut(changed, config))
    if changed.share > WORTH_SAVING:
        with console.status("keeping what was found"):
            _keep(before, changed)
    return done


def _keep(before: KeptFiles, changed: Changes) -> None:
    try:
        before.keep(changed)
    except OSError as error:
        raise SettingError(
            "What was found cannot be kept", received=f"{before.folder.parent}: {error}", allowed="a folder with room",
            todo="make room, or name another --keep; the works are written.",
        ) from None  # fmt: skip


def _whole(console: Console, catalogue: Catalogue, kept: Path | None, output: Path, config: MatchConfig) -> _Done:
    with _spark(console) as spark:
        began = time.monotonic()
        with console.status(f"clustering {catalogue.rows:,} records"):
            before = load(spark, kept.as_uri(), config) if kept and catalogue.doubled else None
            clustered = cluster(once(spark, catalogue), config, before=before)
            works = write(catalogue, clustered.editions, output)
        seconds = time.monotonic() - began
        cut = [(row["rule"], row["key"], row["nodes"])
               for row in clustered.cut.orderBy(F.desc("nodes")).limit(MOST_SHOWN).collect()]  # fmt: skip
        if kept and clustered.changed > WORTH_SAVING:
            with console.status("keeping what was found"):
                save(clustered.state, kept.as_uri(), config)
                KeptFiles.seal(kept)
    return _Done(works, seconds, cut)


def _folder(keep: Path) -> Path:
    """The folder, made if missing.

    Raises:
        SettingError: it cannot be written, or its name cannot be told to Spark.
    """
    allowed, todo = "a folder that can be written, without any of *?[]{} in its path", "name another one."
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            "--keep is no folder", received=f"{keep}: {error.strerror}", allowed=allowed, todo=todo
        ) from None
    if not os.access(keep, os.W_OK) or set("*?[]{}") & set(str(keep.absolute())):
        raise SettingError("--keep cannot be used", received=keep, allowed=allowed, todo=todo)
    return keep.absolute()


def _report_of(output: Path, side: str = "") -> Path:
    """Where the rows go that could not be read."""
    return output.with_suffix(f"{side}.rejected.csv")


def once(spark: SparkSession, catalogue: Catalogue) -> DataFrame:
    """One row for each id; of several the fullest, of these the first in order, wherever they stand in the file."""
    editions = catalogue.frame(spark).drop("row")
    if not catalogue.doubled:
        return editions
    names = [c for c in editions.columns if c != "edition_id"]
    empty = sum((F.when(F.trim(F.coalesce(name, F.lit(""))) == "", 1).otherwise(0) for name in names), F.lit(0))
    first = F.min(F.struct(empty.alias("empty"), *names)).alias("one")
    return editions.groupBy("edition_id").agg(first).select("edition_id", "one.*").drop("empty").localCheckpoint()


def write(catalogue: Catalogue, clusters: DataFrame, output: Path) -> int:
    """Write one line for each row of the file, in its order; returns the number of works."""
    seen = Observation()
    clusters = clusters.observe(seen, F.count_if(F.col("edition_id") == F.col("cluster")).alias("works"))
    work = F.concat(F.lit("w"), F.substring(F.sha2("cluster", 256), 1, 15)).alias("work_id")
    of_edition = clusters.select("edition_id", work, "confidence").localCheckpoint()
    placed = (
        catalogue.frame(clusters.sparkSession)
        .select("row", F.col("edition_id").alias("record_id"))
        .join(of_edition.withColumnRenamed("edition_id", "record_id"), "record_id")
    )
    write_frame(output, placed.orderBy("row").select("record_id", "work_id", "confidence"))
    return int(seen.get["works"])


def write_works(catalogue: Catalogue, clusters: pa.Table, output: Path) -> int:
    """As `write`, of a table."""
    ids = pq.read_table(catalogue.file, columns=["edition_id"])["edition_id"]
    placed = clusters.take(pc.index_in(ids, clusters["edition_id"]))
    names = {one: f"w{sha256(one.encode()).hexdigest()[:15]}" for one in pc.unique(placed["cluster"]).to_pylist()}
    columns = (placed[name].to_pylist() for name in ("edition_id", "cluster", "confidence"))
    rows = ((edition, names[cluster], confidence) for edition, cluster, confidence in zip(*columns, strict=True))
    write_csv(output, ("record_id", "work_id", "confidence"), rows)
    return len(names)


def _report(console: Console, catalogue: Catalogue, output: Path, works: int, seconds: float) -> None:
    rate = catalogue.rows / max(seconds, 0.001)
    console.print(f"{catalogue.rows:,} records, {works:,} works, {seconds:.1f} s ({rate:,.0f} records/s): {output}")
    if catalogue.doubled:
        told = "some ids stand in several rows: the fullest row describes the record, and each is in its work"
        console.print(told, style="yellow")
    _report_rejected(console, catalogue, _report_of(output))


def _report_rejected(console: Console, catalogue: Catalogue, report: Path) -> None:
    """Keep what could not be read, with its line."""
    if not catalogue.rejected:
        report.unlink(missing_ok=True)  # of an earlier run
        return
    write_csv(report, ("line", "reason", "text"), catalogue.rejected)
    console.print(f"{len(catalogue.rejected):,} rows could not be read: {report}", style="yellow")


def _check_output(output: Path, *inputs: Path) -> None:
    """Refuse, before any work, an output that would overwrite an input or cannot be written.

    Raises:
        SettingError: it is one of the inputs, or its folder is not there.
    """
    part = part_of(output)
    if {output.resolve(), part.resolve()} & {path.resolve() for path in inputs}:
        raise SettingError("--output would overwrite a catalogue", received=output, todo="name another file.")
    if (
        not output.parent.is_dir()
        or output.is_dir()
        or not os.access(output if part == output else part.parent, os.W_OK)
    ):
        raise SettingError("--output cannot be written", received=output, allowed="a file in a folder that is there",
                           todo="make the folder, or name another file.")  # fmt: skip


@app.command("match")
def match_command(
    left: Annotated[Path, typer.Option(help="First catalogue: CSV, also gzipped.")],
    right: Annotated[Path, typer.Option(help="Second catalogue.")],
    columns: Annotated[str, typer.Option(help=f"Which column is what, in both: {_COLUMNS}")],
    output: Annotated[Path, typer.Option(help="CSV to write: left_id, right_id, probability.")],
    right_columns: Annotated[str | None, typer.Option(help="Where the second file's columns have other names.")] = None,
    separator: Annotated[str, typer.Option(help="Between fields.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of both catalogues.")] = "utf-8",
    threshold: Annotated[
        float, typer.Option(help="Least mean probability of one work.", min=0.05, max=1)
    ] = MatchConfig.threshold,
    aliases: _Aliases = None,
) -> None:
    """Find the records of two catalogues that are one work; needs no server."""
    console = Console(stderr=True)
    config = MatchConfig.of(get_settings(), aliases, threshold)
    of_left, of_right = Columns.of_text(columns), Columns.of_text(right_columns or columns)
    for written in (output, _report_of(output, ".left"), _report_of(output, ".right")):
        _check_output(written, left, right)
    with TemporaryDirectory() as a, TemporaryDirectory() as b, _spark(console) as spark:
        with console.status("reading"):
            files = ((left, of_left, a), (right, of_right, b))
            sides = [read_catalogue(path, of, Path(to), separator, encoding) for path, of, to in files]
        with console.status("matching"):
            pairs = matching.match(*(once(spark, side) for side in sides), config)
            count = write_frame(
                output, pairs.select("left_id", "right_id", "probability").orderBy("left_id", "right_id")
            )
    console.print(f"{count:,} pairs: {output}")
    for side, name in zip(sides, ("left", "right"), strict=True):
        _report_rejected(console, side, _report_of(output, f".{name}"))


@contextmanager
def _spark(console: Console) -> Iterator[Any]:
    settings = get_settings()
    with console.status("starting Spark"):
        opened = spark_session(settings, "works")
        spark = opened.__enter__()
    try:
        with translated(settings):
            yield spark
    finally:
        opened.__exit__(None, None, None)


@app.command("evaluate")
def evaluate_command(
    clusters: Annotated[Path, typer.Option(help="CSV: record_id, work_id.")],
    truth: Annotated[Path, typer.Option(help="CSV: record_id, work.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare clusters with known works: pairwise and B-cubed, sizes, the worst clusters."""
    if clusters == truth:
        raise SettingError("Clusters and truth are one file", received=clusters, todo="name two files.")
    result = evaluate(read_works(clusters, ("work_id", "work")), read_works(truth, ("work", "work_id")))
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
    else:
        _show(result)


def _show(result: Evaluation) -> None:
    console = Console()
    scores = Table("", "precision", "recall", "F1")
    for kind in ("bcubed", "pairwise"):
        scores.add_row(kind, *(f"{result.scores[f'{kind}_{name}']:.4f}" for name in ("precision", "recall", "f1")))
    console.print(scores)
    console.print(f"{result.records:,} records; {result.missing:,} not clustered; {result.unknown:,} not in the truth")
    sizes = Table("records of a work", "found", "true")
    for name, count in result.sizes["found"].items():
        sizes.add_row(name, f"{count:,}", f"{result.sizes['true'][name]:,}")
    console.print(sizes)
    worst = Table("worst clusters", "records", "works in it", "wrong pairs")
    for one in result.worst:
        worst.add_row(one.work_id, f"{one.records:,}", f"{one.works:,}", f"{one.false_pairs:,}")
    console.print(worst)
