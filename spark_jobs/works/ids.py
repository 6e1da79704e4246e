"""Clusters of editions to works whose ids last: what each work was called before, and where its id went.

In: the clusters of this run, the works of the run before, the history so far. Out: the work of each
edition, and the new rows of the history (`WORK_HISTORY`).

The rule:

1. At the first run a work is named after its smallest edition_id.
2. A cluster whose editions are exactly those that a retired id had when it was retired gets it back; of
   several such ids the one that was retired last.
3. Else each id goes to the cluster, of those that are left, that holds most of its own editions. An edition that
   came by a merge is not the own one of the work it came to, but of the work it came from; so if a merge is
   undone, each half finds its id, even if both have grown meanwhile or several merges are undone at once.
   Ties: more editions of any kind, then the cluster with the smallest edition_id.
4. A retired id goes nowhere by itself while most of its own editions are where the id is that it was merged into.
   If they part from it, it comes back to a cluster to which no living id goes.
5. A cluster to which several ids go keeps the one that most of its editions have or had before they
   were split off or restored from it; so parts that come together again get the id of the whole.
   Ties: more editions split off, then the smallest id. The others are retired: a merge. (A row of a merge for an
   id that is retired already says that it leads elsewhere now.)
6. A cluster without an id gets a new one: a split if its editions had ids before, else a new work.

What follows: merges and splits that are undone, the last one first, give the ids that were; merges alone or
splits alone do so in any order and several in one run. Clusters whose editions all had one id that no other
cluster has keep it, without a look at the history: so a repeated run changes nothing. An edition that
moves between two works that both live on leaves no row.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Observation, Window
from pyspark.sql import functions as F

from bookworks.contracts.lake import CLEAN_SCHEMAS
from bookworks.errors import TerminalError
from spark_jobs.lake import conform, require_columns, spark_schema

MAX_ROUNDS = 40

# One row for each change of an id. `editions`, sorted: of a merge those of the retired old work, of a
# split and of a restored id those of the new work.
WORK_HISTORY = CLEAN_SCHEMAS["work_history"]
WORKS_BEFORE = pa.schema([pa.field("edition_id", pa.string()), pa.field("work_id", pa.string())])


def stable_ids(
    clusters: DataFrame,
    before: DataFrame | None,
    history: DataFrame | None,
    at: datetime,
    why: Column | str = "clustering",
) -> tuple[DataFrame, DataFrame]:
    """Give each cluster the id of the work that it was, or a new one; see the rule above.

    Args:
        clusters: `edition_id` (each once), `cluster` (the smallest edition_id in it).
        before: `edition_id` (each once), `work_id` of the run before; None at the first run. It may
            hold editions that have left the catalogue: they find their work when they come back.
        history: rows of `WORK_HISTORY` of all earlier runs that finished; None if there are none. (Both
            as read from the lake, not as returned by the last call: Spark would multiply its estimates of sizes.)
        at: time of this run, with a zone; later than all of the history.
        why: reason for the history: a text, or a column over the new rows.

    Returns:
        `edition_id`, `work_id` for each edition of the clusters; the new rows of the history.

    Raises:
        ContractError: a column is missing.
        TerminalError: the history leads round in a circle.
    """
    require_columns(clusters, ("edition_id", "cluster"), "the clusters")
    if before is None and history is None:
        first = clusters.select("edition_id", _new_id(F.lit(0)).alias("work_id"))
        return first, _empty(clusters, WORK_HISTORY)
    before = _empty(clusters, WORKS_BEFORE) if before is None else before
    history = _empty(clusters, WORK_HISTORY) if history is None else history
    retired = _retired(history).localCheckpoint()
    was = _now_called(require_columns(before, WORKS_BEFORE.names, "the works before"), retired)
    known = clusters.select("edition_id", "cluster").join(was, "edition_id", "left").localCheckpoint()
    quiet = _quiet(known).localCheckpoint()
    loud = known.join(quiet, "cluster", "left_anti").localCheckpoint()
    if loud.isEmpty():
        return known.join(quiet, "cluster").select("edition_id", "work_id"), _empty(clusters, WORK_HISTORY)
    exact = _exact(loud, retired, history).localCheckpoint()
    choices = _choices(_votes(loud, retired, history), exact).localCheckpoint()
    claims = _ranked(_free(choices, retired)).localCheckpoint()
    kept = claims.where("place = 1").select("cluster", "work_id", F.when(F.col("living"), "kept").otherwise("restored"))
    used = before.select("work_id").union(history.select("old_work_id")).union(history.select("new_work_id"))
    new = _new_ids(loud.select("cluster").distinct().join(kept, "cluster", "left_anti"), used)
    named = kept.union(new).toDF("cluster", "work_id", "kind").localCheckpoint()
    rows = _merges(claims, named, was, retired).union(_arrivals(named, loud, retired))
    rows = rows.withColumn("at", F.lit(at)).withColumn("score", F.lit(None))
    rows = rows.withColumn("why", F.lit(why) if isinstance(why, str) else why)
    works = known.join(quiet.union(named.select("cluster", "work_id")), "cluster").select("edition_id", "work_id")
    return works, conform(rows, WORK_HISTORY)


def current_ids(history: DataFrame) -> DataFrame:
    """Where each id that was ever retired leads now; one that was restored leads to itself.

    Args:
        history: rows of `WORK_HISTORY`.

    Returns:
        `old_work_id`, `work_id`: each old id once.

    Raises:
        ContractError: a column is missing.
        TerminalError: the history leads round in a circle.
    """
    require_columns(history, WORK_HISTORY.names, "the history of works")
    leads = _retired(history).select(F.col("work_id").alias("old_work_id"), F.col("root").alias("work_id"))
    ever = history.where("kind = 'merge'").select("old_work_id").distinct()
    return ever.join(leads, "old_work_id", "left").select(
        "old_work_id", F.coalesce("work_id", "old_work_id").alias("work_id")
    )


def _retired(history: DataFrame) -> DataFrame:
    """`work_id`, `parent` (what it was last merged into), `root` (what that leads to), `editions`, `since`."""
    merge = F.col("kind") == "merge"
    rows = history.where("kind <> 'split'").select(
        F.when(merge, F.col("old_work_id")).otherwise(F.col("new_work_id")).alias("work_id"),
        F.col("new_work_id").alias("parent"), "kind", "at", "editions",
    )  # fmt: skip
    restored = F.max(F.when(~merge, F.col("at"))).over(Window.partitionBy("work_id"))
    stands = merge & (F.col("restored").isNull() | (F.col("at") > F.col("restored")))
    retired = rows.withColumn("restored", restored).where(stands).groupBy("work_id").agg(
        F.max_by("parent", "at").alias("parent"), F.max_by("editions", "at").alias("editions"),
        F.min("at").alias("since"),
    )  # fmt: skip
    roots = _follow(retired.select("work_id", F.col("parent").alias("root")))
    return retired.join(roots, "work_id")


def _follow(links: DataFrame) -> DataFrame:
    """`work_id`, `root`: each chain of links to its end, in rounds that double what they have walked."""
    # No join: Spark's estimate of a join's size is a product, and would square with each round.
    answer = F.max("answer").over(Window.partitionBy("root"))
    for _ in range(MAX_ROUNDS):
        seen = Observation()
        answers = links.select(
            F.lit(None).alias("work_id"), F.col("work_id").alias("root"), F.col("root").alias("answer")
        )
        both = links.withColumn("answer", F.lit(None)).union(answers).withColumn("further", answer)
        walked = both.where("work_id IS NOT NULL").observe(seen, F.count("further").alias("moved"))
        links = walked.select("work_id", F.coalesce("further", "root").alias("root")).localCheckpoint()
        if not seen.get["moved"]:
            return links
    raise TerminalError(
        "The history of works leads round in a circle",
        received=f"a chain of merges of more than 2^{MAX_ROUNDS}",
        todo="find two works in it that were merged into each other, and remove one of the rows.",
    )


def _now_called(before: DataFrame, retired: DataFrame) -> DataFrame:
    """`edition_id`, `was`: the work before; of an edition that was away, what this work is called now."""
    roots = retired.select("work_id", "root")
    return before.join(roots, "work_id", "left").select("edition_id", F.coalesce("root", "work_id").alias("was"))


def _quiet(known: DataFrame) -> DataFrame:
    """`cluster`, `work_id` of the clusters that hold one id, all of it and no other."""
    pairs = known.where("was IS NOT NULL").select("cluster", "was").distinct()
    ids = F.count("*").over(Window.partitionBy("cluster"))
    places = F.count("*").over(Window.partitionBy("was"))
    alone = pairs.withColumn("ids", ids).withColumn("places", places).where("ids = 1 AND places = 1")
    return alone.select("cluster", F.col("was").alias("work_id"))


def _exact(loud: DataFrame, retired: DataFrame, history: DataFrame) -> DataFrame:
    """`cluster`, `work_id` of the clusters that hold exactly what a retired id once had: each of both at most once."""
    merges = history.where("kind = 'merge'").select(F.col("old_work_id").alias("work_id"), "at", "editions")
    found = _editions(loud).join(merges.join(retired.select("work_id", "since"), "work_id"), "editions")
    of_work = found.groupBy("work_id", "since").agg(F.min_by("cluster", F.struct("at", "cluster")).alias("cluster"))
    return of_work.groupBy("cluster").agg(F.max_by("work_id", F.struct("since", "work_id")).alias("work_id"))


def _editions(loud: DataFrame) -> DataFrame:
    """`cluster`, `editions` (sorted)."""
    return loud.groupBy("cluster").agg(F.sort_array(F.collect_list("edition_id")).alias("editions"))


def _votes(loud: DataFrame, retired: DataFrame, history: DataFrame) -> DataFrame:
    """Who each edition speaks for: `edition_id`, `cluster`, `work_id`, `kind`, `counts`, `own`.

    `kind` is living (the id it has), retired (an id it had), split or restored (the id that its own was
    split off or restored from). A retired id's vote `counts` while it leads to the work that the edition has;
    the id that was retired first of these, else the living one, has the edition as its `own`.
    """
    living = loud.where("was IS NOT NULL").select("*", F.col("was").alias("work_id"), F.lit("living").alias("kind"))
    held = retired.select("work_id", "root", "since", F.explode("editions").alias("edition_id"))
    parts = history.where("kind <> 'merge'").select(
        F.col("old_work_id").alias("work_id"), "kind", F.explode("editions").alias("edition_id")
    )
    votes = (
        living.withColumn("root", F.col("was")).withColumn("since", F.lit(None).cast("timestamp"))
        .unionByName(loud.join(held, "edition_id").withColumn("kind", F.lit("retired")))
        .unionByName(loud.join(parts, "edition_id"), allowMissingColumns=True)
    )  # fmt: skip
    votes = votes.withColumn("counts", F.coalesce(F.col("root") == F.col("was"), F.lit(False)))
    order = Window.partitionBy("edition_id").orderBy(F.desc("counts"), F.asc_nulls_last("since"), "work_id")
    return votes.withColumn("own", F.col("counts") & (F.row_number().over(order) == 1))


def _choices(votes: DataFrame, exact: DataFrame) -> DataFrame:
    """The cluster that each id goes to, with its votes there.

    Returns:
        `work_id`, `cluster`, `exact` (it is what the id had), `living`, `votes` (editions that have or had
        the id), `split_votes` (those of them that were split off from it).
    """
    tallies = votes.groupBy("work_id", "cluster").agg(
        F.count_if("own").alias("own"),
        F.count_if("counts").alias("counted"),
        F.max(F.col("kind") == "living").alias("living"),
        F.count_distinct("edition_id").alias("votes"),
        F.count_distinct(F.when(F.col("kind") == "split", F.col("edition_id"))).alias("split_votes"),
    )
    taken = exact.select("cluster", F.lit(True).alias("taken"))
    best = Window.partitionBy("work_id").orderBy(F.asc("taken"), F.desc("own"), F.desc("counted"), "cluster")
    rest = tallies.where("counted > 0").join(exact, "work_id", "left_anti").join(taken, "cluster", "left")
    rest = rest.withColumn("n", F.row_number().over(best)).where("n = 1").withColumn("exact", F.lit(False))
    found = exact.withColumn("exact", F.lit(True)).withColumn("living", F.lit(False))
    names = ("work_id", "cluster", "exact", "living", "votes", "split_votes")
    return rest.select(*names).unionByName(found, allowMissingColumns=True)


def _free(choices: DataFrame, retired: DataFrame) -> DataFrame:
    """The choices without those of retired ids that stay with what they were merged into; with `since`."""
    past = retired.select("work_id", "parent", "since")
    places = choices.select(F.col("work_id").alias("parent"), F.col("cluster").alias("cluster_of_parent"))
    beside = choices.join(past, "work_id", "left").join(places, "parent", "left")
    return beside.where("living OR exact OR cluster <> cluster_of_parent")


def _ranked(claims: DataFrame) -> DataFrame:
    """`work_id`, `cluster`, `living`, `place`: who is first (1) names the cluster."""
    order = [F.desc(name) for name in ("exact", "living", "votes", "since", "split_votes")]
    place = F.row_number().over(Window.partitionBy("cluster").orderBy(*order, "work_id"))
    return claims.select("work_id", "cluster", "living", place.alias("place"))


def _new_id(attempt: Column) -> Column:
    """An id made from the column `cluster`; of a later attempt with a suffix that no edition_id can have."""
    suffix = F.when(attempt == 0, "").otherwise(F.concat(F.lit("\0#"), attempt))
    return F.concat(F.lit("w"), F.substring(F.sha2(F.concat("cluster", suffix), 256), 1, 15))


def _new_ids(nameless: DataFrame, used: DataFrame) -> DataFrame:
    """`cluster`, `work_id`, `kind` (new): for each cluster the first id of its row that was never used."""
    waiting, used = nameless.localCheckpoint(), used.distinct()
    done, first, n = None, 0, 1
    while done is None or not waiting.isEmpty():
        attempts = waiting.select("cluster", F.explode(F.sequence(F.lit(first), F.lit(first + n - 1))).alias("attempt"))
        free = attempts.select("cluster", "attempt", _new_id(F.col("attempt")).alias("work_id")).join(
            used, "work_id", "left_anti"
        )
        found = free.groupBy("cluster").agg(F.min_by("work_id", "attempt").alias("work_id"), F.lit("new").alias("kind"))
        found = found.localCheckpoint()
        done = found if done is None else done.union(found)
        waiting = waiting.join(found, "cluster", "left_anti").localCheckpoint()
        first, n = first + n, 4 * n
    return done


def _merges(claims: DataFrame, named: DataFrame, was: DataFrame, retired: DataFrame) -> DataFrame:
    """`old_work_id`, `new_work_id`, `kind`, `editions` for each id that did not get the cluster it went to."""
    lost = claims.where("place > 1").select("cluster", "work_id")
    living = was.select("edition_id", F.col("was").alias("work_id")).join(lost, "work_id")
    editions = living.groupBy("work_id").agg(F.sort_array(F.collect_list("edition_id")).alias("editions"))
    editions = editions.union(retired.select("work_id", "editions"))
    into = named.select("cluster", F.col("work_id").alias("new_work_id"))
    merged = lost.join(into, "cluster").join(editions, "work_id")
    return merged.select(F.col("work_id").alias("old_work_id"), "new_work_id", F.lit("merge").alias("kind"), "editions")


def _arrivals(named: DataFrame, loud: DataFrame, retired: DataFrame) -> DataFrame:
    """`old_work_id`, `new_work_id`, `kind`, `editions` for each id that is back, or new by a split."""
    counts = loud.where("was IS NOT NULL").groupBy("cluster", "was").count()
    origin = counts.groupBy("cluster").agg(F.min_by("was", F.struct(-F.col("count"), "was")).alias("origin"))
    came = named.where("kind <> 'kept'").join(origin, "cluster", "left").join(_editions(loud), "cluster")
    came = came.join(retired.select("work_id", "root"), "work_id", "left")
    rows = came.select(
        F.coalesce("origin", "root").alias("old_work_id"), F.col("work_id").alias("new_work_id"),
        F.when(F.col("kind") == "new", "split").otherwise(F.col("kind")).alias("kind"), "editions",
    )  # fmt: skip
    return rows.where("old_work_id IS NOT NULL")


def _empty(like: DataFrame, schema: pa.Schema) -> DataFrame:
    """No rows of this schema."""
    return like.sparkSession.createDataFrame([], spark_schema(schema))
