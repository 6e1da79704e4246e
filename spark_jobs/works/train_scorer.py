"""Train the pair scorer: `python -m spark_jobs.works.train_scorer --records R.csv --truth T.csv --columns id=…`.

In: a catalogue whose works are known; what persons answered in the review, with the catalogue that they were asked
about (`--labels L.csv --label-records E.csv`, both from `bookworks works labels`). Out: `scorer/model.txt`,
`rarity.npy`, `letters.npy`, `report.json` beside this file.

One catalogue teaches its own habits only (many editions a work, a language column, whole names). So the scorer learns
from several worlds made of it: as it is; with one or two editions a work, as most catalogues have; without the columns
that many lack; with initials for given names; with authors missing; with each work in one language. Every world weighs
the same. Folds are made by author, so that all editions of a work, and all works that could be taken for it, are in one
fold.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import typer
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from bookworks.cli.entry import run
from bookworks.errors import ContractError, SettingError
from bookworks.metrics.clustering import agreement
from bookworks.settings import get_settings
from spark_jobs.lake import spark_schema
from spark_jobs.session import spark_session
from spark_jobs.works import scorer
from spark_jobs.works.clustering import assign
from spark_jobs.works.comparing import block_rows, in_portions, standing
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.files import Columns, read_catalogue
from spark_jobs.works.labels import Label, read_labels
from spark_jobs.works.languages import language_shares, language_table
from spark_jobs.works.linking import link
from spark_jobs.works.nodes import members_of, nodes_of, parse, spelled
from spark_jobs.works.pairs import Floats, Nodes, features, language_features, rarity_table
from spark_jobs.works.records import FIELDS, PARSED

FOLDS = 3
PARAMS = {
    "objective": "binary", "num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 40, "feature_fraction": 0.7,
    "bagging_fraction": 0.8, "bagging_freq": 1, "num_threads": 2, "deterministic": True, "seed": 1, "verbose": -1,
}  # fmt: skip
TREES = 150
# More of these never makes one work less likely, whatever noise the labels hold.
RISING = (
    "main_equal", "main_jaro_winkler", "main_ratio", "full_ratio", "full_sorted", "shared_of_longer", "numbers",
    "volume", "kind", "given", "subtitle_ratio", "main_shared_of_longer",
)  # fmt: skip
MOST_WEIGHT = 20.0  # of a pair of nodes with many records
PORTION = 200_000  # pairs looked at at once
ANSWER = 20.0  # pairs of the catalogue that one answer is worth; all answers together at most one world
LABEL_COLUMNS = "id=edition_id," + ",".join(f"{name}={name}" for name in FIELDS if name != "edition_id")
_CONTEXT = ("language", "format_", "series", "publisher", "year")

Ints = npt.NDArray[np.int64]
Tables = tuple[Floats, Floats]  # `pairs.rarity_table`, `languages.language_table`

PAIRS = pa.schema([("a", pa.string()), ("b", pa.string()), ("p", pa.float64())])


@dataclass(frozen=True)
class World:
    """One way in which a catalogue may be less than the labelled one.

    Attributes:
        sparse: few editions a work.
        one_language: no translations; each work is in the language of most of its editions.
        bare: nothing but title and author.
        initials: share of records with initials for given names, most of them without further persons.
        nameless: share of records without an author.
    """

    name: str
    sparse: bool = False
    one_language: bool = False
    bare: bool = False
    initials: float = 0.0
    nameless: float = 0.0


WORLDS = (
    World("full"), World("full, bare", bare=True), World("sparse", sparse=True),
    World("sparse, bare", sparse=True, bare=True), World("sparse, initials", sparse=True, bare=True, initials=0.5),
    World("sparse, nameless", sparse=True, nameless=0.4), World("full, nameless", nameless=0.4),
    World("sparse, one language", sparse=True, one_language=True, bare=True),
)  # fmt: skip


def draw(name: str) -> Any:
    """A number from 0 to 1 that depends on the record and `name` alone."""
    return F.pmod(F.xxhash64(F.lit(name), "edition_id"), F.lit(10_000)) / 10_000


def changed(parsed: DataFrame, truth: DataFrame, world: World) -> DataFrame:
    """The parsed records as they would be in another world."""
    if world.one_language:
        parsed = _in_one_language(parsed.join(truth, "edition_id")).select(*PARSED.names)
    if world.sparse:
        labelled = parsed.join(truth, "edition_id")
        kept = F.row_number().over(_shuffled(world.name)) <= _editions_of(world.name)
        parsed = labelled.withColumn("_kept", kept).where("_kept").select(*PARSED.names)
    if world.bare:
        parsed = parsed.withColumns({name: F.lit("") for name in ("language", "series", "publisher", "year")})
    if world.initials:
        short = F.regexp_replace("given", r"(\w)\w*", "$1")
        parsed = parsed.withColumn("given", F.when(draw("given") < world.initials, short).otherwise(F.col("given")))
        parsed = parsed.withColumn("others", F.when(draw("others") < 0.6, "").otherwise(F.col("others")))
    if world.nameless:
        lost = draw("author") < world.nameless
        parsed = parsed.withColumns({c: F.when(lost, "").otherwise(F.col(c)) for c in ("surname", "given", "others")})
    return spelled(parsed)


def _in_one_language(labelled: DataFrame) -> DataFrame:
    from pyspark.sql import Window

    known = F.when(F.col("language") != "", F.col("language"))
    most = F.mode(known, True).over(Window.partitionBy("work"))
    return labelled.withColumn("_most", most).where("language = '' OR language = _most")


def _shuffled(name: str) -> Any:
    from pyspark.sql import Window

    return Window.partitionBy("work").orderBy(F.xxhash64(F.lit(name), "edition_id"), "edition_id")


def _editions_of(name: str) -> Any:
    share = F.pmod(F.xxhash64(F.lit(name), "work"), F.lit(100))
    return F.when(share < 75, 1).when(share < 95, 2).otherwise(3)


@dataclass(frozen=True)
class Examples:
    """Compared pairs of one world.

    Attributes:
        a, b: node ids, shape (n,). values: features, shape (n, f). same: whether they are one work, shape (n,).
        weight: how much each counts, sums to 1. fold: of each side, shape (2, n).
        members, nodes: from `spark_jobs.works.nodes`.
    """

    names: list[str]
    a: npt.NDArray[np.object_]
    b: npt.NDArray[np.object_]
    values: Floats
    same: npt.NDArray[np.bool_]
    weight: Floats
    fold: npt.NDArray[np.int64]
    members: DataFrame
    nodes: DataFrame


def examples(parsed: DataFrame, truth: DataFrame, config: MatchConfig, tables: Tables) -> Examples:
    """Features and labels of all pairs that would be compared."""
    nodes = nodes_of(parsed, config).localCheckpoint()
    members = members_of(parsed, nodes).localCheckpoint()
    rows = block_rows(nodes, standing(nodes), config)
    names: list[str] = features(Nodes(_no_rows(), *tables), np.empty(0, np.int64), np.empty(0, np.int64))[0]
    schema = pa.schema([("a", pa.string()), ("b", pa.string()), *((name, pa.float32()) for name in names)])

    def run_bucket(bucket: pa.Table) -> pa.Table:
        bucket = bucket.sort_by([("rule", "ascending"), ("key", "ascending"), ("node", "ascending")])
        columns = {name: bucket[name].to_pylist() for name in bucket.column_names}
        ids, prepared, parts = np.array(columns["node"], object), Nodes(columns, *tables), []
        for a, b in in_portions(columns, config):
            values = features(prepared, a, b)[1]
            arrays = [pa.array(ids[a].tolist(), pa.string()), pa.array(ids[b].tolist(), pa.string())]
            parts.append(pa.table([*arrays, *(pa.array(values[:, k]) for k in range(len(names)))], schema=schema))
        return pa.concat_tables(parts) if parts else schema.empty_table()

    bucketed = rows.withColumn("bucket", F.pmod(F.xxhash64("rule", "key"), F.lit(16))).groupBy("bucket")
    found = bucketed.applyInArrow(run_bucket, spark_schema(schema)).dropDuplicates(["a", "b"]).toArrow()
    labelled = members.join(truth, "edition_id")
    about = labelled.groupBy("node").agg(
        F.mode("work", True).alias("work"), F.mode("fold", True).alias("fold"), F.count("*").alias("n")
    )
    known = {row["node"]: (row["work"], row["fold"], row["n"]) for row in about.toLocalIterator()}
    a, b = (np.array(found[side].to_pylist(), object) for side in ("a", "b"))
    work, fold, count = ([np.array([known[node][k] for node in side]) for side in (a, b)] for k in range(3))
    weight = np.minimum(np.sqrt(count[0] * count[1]), MOST_WEIGHT)
    values = np.column_stack([found[name].to_numpy() for name in names])
    return Examples(names, a, b, values, work[0] == work[1], (weight / weight.sum()).astype(np.float32),
                    np.stack(fold), members, nodes)  # fmt: skip


def answers(
    parsed: DataFrame, labels: list[Label], config: MatchConfig, tables: Tables, worlds: list[Examples]
) -> Examples:
    """Features of the pairs that persons answered, in the catalogue that they were asked about.

    Editions that are not in it, and pairs of one spelling (which are one without a scorer), are left out; of several
    answers to one pair of spellings the last holds.

    Raises:
        ContractError: no answer is left.
    """
    spark = parsed.sparkSession
    nodes = nodes_of(parsed, config).localCheckpoint()
    asked = spark.createDataFrame([(edition,) for edition in sorted({e for one in labels for e in one[:2]})],
                                  "edition_id string")  # fmt: skip
    members = members_of(parsed, nodes).join(F.broadcast(asked), "edition_id")
    node_of = {row["edition_id"]: row["node"] for row in members.select("edition_id", "node").collect()}  # asked about
    said = {tuple(sorted((node_of[left], node_of[right]))): same for left, right, same in labels
            if left in node_of and right in node_of and node_of[left] != node_of[right]}  # fmt: skip
    if not said:
        raise ContractError("No label is of use", received=f"{len(labels)} labels, {len(node_of)} of their records",
                            allowed="records of both sides, of different spelling",
                            todo="check --label-records and --label-columns.")  # fmt: skip
    known = spark.createDataFrame([(node,) for node in sorted({n for pair in said for n in pair})], "node string")
    columns = nodes.join(F.broadcast(known), "node").toArrow().to_pydict()
    at = {node: k for k, node in enumerate(columns["node"])}
    a, b = (np.array([at[pair[side]] for pair in said]) for side in (0, 1))
    names, values = features(Nodes(columns, *tables), a, b)
    fold = np.array([_fold(surname) for surname in columns["surname"]])
    typical = float(np.mean([1 / len(one.same) for one in worlds]))
    weight = np.full(len(said), min(ANSWER * typical, 1 / len(said)), np.float32)
    ids, same = np.array(columns["node"], object), np.array(list(said.values()), bool)
    return Examples(names, ids[a], ids[b], values, same, weight, np.stack([fold[a], fold[b]]), members, nodes)


def _no_rows() -> dict[str, list[Any]]:
    from spark_jobs.works.pairs import NODE_NUMBERS, NODE_TEXTS

    return {name: [] for name in (*NODE_TEXTS, *NODE_NUMBERS)}


def fit(worlds: list[Examples], left_out: int | None) -> lightgbm.Booster:
    """A model of all pairs with no side in the fold left out."""
    kept = [(one.fold != left_out).all(axis=0) for one in worlds]
    values = np.concatenate([one.values[mask] for one, mask in zip(worlds, kept, strict=True)])
    same = np.concatenate([one.same[mask] for one, mask in zip(worlds, kept, strict=True)])
    weight = np.concatenate([one.weight[mask] * 1e5 for one, mask in zip(worlds, kept, strict=True)])
    data = lightgbm.Dataset(values, same, weight=weight, feature_name=worlds[0].names)
    rising = [int(name in RISING) for name in worlds[0].names]
    return lightgbm.train(PARAMS | {"monotone_constraints": rising}, data, TREES)


def measured(one: Examples, p: Floats, truth: DataFrame, config: MatchConfig) -> dict[str, float]:
    """Agreement with the truth of the clusters that follow from probabilities that no pair's own fold has seen."""
    spark = truth.sparkSession
    kept = p >= config.floor
    least, most = np.minimum(one.a, one.b)[kept], np.maximum(one.a, one.b)[kept]
    columns = [pa.array(least.tolist()), pa.array(most.tolist()), pa.array(p[kept].astype(float))]
    pairs = spark.createDataFrame(pa.table(columns, schema=PAIRS))
    found = assign(one.members, link(one.nodes, pairs, config))
    placed = found.join(truth, "edition_id").select("cluster", "work").toArrow()
    return agreement(placed["cluster"].to_pylist(), placed["work"].to_pylist())


def calibration(same: npt.NDArray[np.bool_], p: Floats) -> dict[str, Any]:
    """How probabilities agree with the labels, pair by pair.

    Args:
        same: whether the pairs are one work, shape (n,).
        p: how likely a model found that, shape (n,).

    Returns:
        `tenths`: of the pairs with a probability of 0 to 0.1, and so on: how many, their mean probability, the share
        that is one work. `error`: the mean distance of both, weighted by pairs (expected calibration error: Naeini,
        Cooper and Hauskrecht, AAAI 2015).
    """
    tenth = np.minimum((p * 10).astype(np.int64), 9)
    pairs = np.bincount(tenth, minlength=10)
    predicted, seen = (np.bincount(tenth, values, minlength=10) / np.maximum(pairs, 1) for values in (p, same))
    error = float((np.abs(predicted - seen) * pairs).sum() / max(len(p), 1))
    tenths = [{"pairs": int(n), "predicted": round(float(mean), 4), "same": round(float(share), 4)}
              for n, mean, share in zip(pairs, predicted, seen, strict=True)]  # fmt: skip
    return {"error": error, "tenths": tenths}


def train(
    spark: SparkSession,
    records: DataFrame,
    truth: DataFrame,
    config: MatchConfig,
    labels: tuple[DataFrame, list[Label]] | None = None,
) -> dict[str, Any]:
    """Train, measure by cross-validation, keep the model; returns the report.

    Args:
        spark: session.
        records: the labelled catalogue.
        truth: `edition_id`, `work`.
        config: bounds.
        labels: another catalogue, and answers about it.
    """
    parsed = parse(records, config).localCheckpoint()
    titles = parsed.select(_title().alias("title"), "surname").distinct().toArrow()["title"].to_pylist()
    written = parsed.select(F.trim(_title()).alias("title"), "language", "surname").distinct().toArrow()
    tables = rarity_table(titles), _letters(written, None)
    first = parsed.join(truth, "edition_id").groupBy("work").agg(F.min("surname").alias("surname"))
    folded = spark.createDataFrame(
        [(row["work"], _fold(row["surname"])) for row in first.toLocalIterator()],
        "work string, fold long",
    )
    truth = truth.join(folded, "work").localCheckpoint()
    worlds = [examples(changed(parsed, truth, world), truth, config, tables) for world in WORLDS]
    answered = [answers(parse(labels[0], config), labels[1], config, tables, worlds)] if labels else []
    predicted = [np.zeros(len(one.same), np.float32) for one in worlds + answered]
    for fold in range(FOLDS):
        _say_again(worlds + answered, _letters(written, fold))
        model = fit(worlds + answered, fold)
        for one, p in zip(worlds + answered, predicted, strict=True):
            mine = one.fold[0] == fold
            p[mine] = model.predict(one.values[mine])
    report = {w.name: measured(one, p, truth, config) for w, one, p in zip(WORLDS, worlds, predicted, strict=False)}
    scorer.FOLDER.mkdir(exist_ok=True)
    for path, table in zip((scorer.RARITY, scorer.LETTERS), tables, strict=True):
        np.save(path, table.astype(np.float16))
    _say_again(worlds + answered, tables[1])
    fit(worlds + answered, None).save_model(str(scorer.MODEL))
    told = {"folds": FOLDS, "split": "by author of the work", "threshold": config.threshold, "worlds": report}
    told["calibration"] = {
        w.name: calibration(one.same, p) for w, one, p in zip(WORLDS, worlds, predicted, strict=False)
    }
    if answered:
        told["labels"] = agreed(answered[0], predicted[-1], config)
    return told


def _letters(written: pa.Table, left_out: int | None) -> Floats:
    """What letters tell of languages, from the titles of all folds but one."""
    columns = (written[name].to_pylist() for name in ("title", "language", "surname"))
    kept = sorted({row[:2] for row in zip(*columns, strict=True) if _fold(row[2]) != left_out})
    return language_table([title for title, _ in kept], [language for _, language in kept])


def _say_again(worlds: list[Examples], letters: Floats) -> None:
    """Put into the features what another table of letters says."""
    for one in worlds:
        told = one.nodes.select("node", F.trim(_title()).alias("title")).toArrow()
        shares = language_shares(told["title"].to_pylist(), letters)
        at = [pc.index_in(pa.array(side, pa.string()), told["node"]).to_numpy() for side in (one.a, one.b)]
        for portion in np.array_split(np.arange(len(one.same)), max(1, len(one.same) // PORTION)):
            for name, values in language_features(shares, *(side[portion] for side in at)).items():
                one.values[portion, one.names.index(name)] = values


def _title() -> Column:
    return F.concat_ws(" ", "main", "subtitle")


def _fold(surname: str) -> int:
    return zlib.crc32(surname.encode()) % FOLDS


def agreed(one: Examples, p: Floats, config: MatchConfig) -> dict[str, float]:
    """How many answers were learned from, and the share of them that the model says too which has not seen them."""
    return {"answers": len(one.same), "agreed": float(np.mean((p >= config.threshold) == one.same))}


def main(
    records: Annotated[Path, typer.Option(help="CSV of editions.")],
    truth: Annotated[Path, typer.Option(help="CSV with the columns record_id, work.")],
    columns: Annotated[str, typer.Option(help="id=…,title=…,author=…,…")],
    labels: Annotated[Path | None, typer.Option(help="CSV of answers, from `bookworks works labels`.")] = None,
    label_records: Annotated[Path | None, typer.Option(help="CSV of the editions that they are of.")] = None,
    label_columns: Annotated[str, typer.Option(help="As --columns, of --label-records.")] = LABEL_COLUMNS,
) -> None:
    """Train the scorer and print its report."""
    if (labels is None) != (label_records is None):
        raise SettingError("--labels needs --label-records", todo="write both by `bookworks works labels`.")
    said, config = read_labels(labels) if labels else [], MatchConfig()
    session = spark_session(get_settings(), "train_scorer")
    with TemporaryDirectory() as folder, TemporaryDirectory() as other_folder, session as spark:
        catalogue = read_catalogue(records, Columns.of_text(columns), Path(folder))
        known = spark.read.csv(str(truth), header=True).toDF("edition_id", "work")
        asked = None
        if label_records:
            beside = read_catalogue(label_records, Columns.of_text(label_columns), Path(other_folder))
            asked = beside.frame(spark), said
        report = train(spark, catalogue.frame(spark), known, config, asked)
    (scorer.FOLDER / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    typer.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(main)
    run(app)
