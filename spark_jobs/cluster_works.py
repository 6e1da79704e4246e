"""Clean editions to works: `python -m spark_jobs.cluster_works`.

In: clean/editions, the last clean/edition_works and clean/work_history, what persons decided (Postgres).
Out: clean/edition_works (each edition in exactly one work), clean/works, clean/authors, clean/series,
clean/work_history, the review queue.

What is one work, `spark_jobs.works.clustering` says; which id it keeps, `spark_jobs.works.ids`; what is said of works,
authors and series, `spark_jobs.works.entities`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bookworks.clock import now
from bookworks.errors import ContractError
from bookworks.settings import Settings
from spark_jobs.job import Counter, run_job
from spark_jobs.lake import Lake
from spark_jobs.works import decisions, entities, review
from spark_jobs.works.clustering import Clustered, cluster
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints, Decision
from spark_jobs.works.ids import stable_ids
from spark_jobs.works.state import WORTH_SAVING, load, save


def identity_rows(editions: DataFrame) -> DataFrame:
    """clean/editions as `clustering.cluster` takes them."""
    return editions.withColumn("isbn", F.col("isbn13")).withColumn("year", F.col("year").cast("string"))


def check_lossless(counts: dict[str, int]) -> None:
    """Check that every edition ended in exactly one work.

    Raises:
        ContractError: one was lost or doubled.
    """
    same = {counts["editions_in"], counts["edition_works_out"], counts["editions_of_works"]}
    if len(same) != 1 or counts["editions_distinct"] != counts["editions_in"]:
        raise ContractError(
            "Clustering is not lossless", received=counts, allowed="each edition once", todo="please report it."
        )


def run(lake: Lake, settings: Settings) -> dict[str, int]:
    """Read, transform, write; returns the counts of rows."""
    decided = decisions.constraints(decisions.standing(settings))
    config = MatchConfig.of(settings)
    counts, clustered = rebuild(lake, decided, config, decisions.history(settings))
    editions, read = lake.read_clean("editions"), lake.last_clean("interactions")
    doubtful = review.doubtful(clustered.editions, clustered.pairs, editions, read)
    return counts | {"review_pairs": decisions.replace_queue(settings, doubtful)}


def rebuild(
    lake: Lake, decided: Constraints, config: MatchConfig | None = None, made: Sequence[Decision] = ()
) -> tuple[dict[str, int], Clustered]:
    """Write the works of the lake's editions; returns the counts of rows and what was clustered.

    Args:
        lake: where editions are read and works written.
        decided: what persons decided, to be respected.
        config: bounds and aliases.
        made: all decisions, also those undone; the history names those that were new to this run.

    Raises:
        ContractError: an edition was lost or doubled.
    """
    counter = Counter()
    editions = lake.read_clean("editions")
    config = config or MatchConfig()
    clustered = cluster(identity_rows(editions), config, decided, load(lake.spark, lake.works_state, config))
    assigned, history = _with_ids(lake, clustered, made)
    works, authors, series = entities.describe(editions, assigned, clustered.parsed)
    lake.replace_clean("work_history", counter.watch(history, history_rows=True))
    lake.replace_clean("works", counter.watch(works, works_out=True, with_several=F.col("editions") > 1))
    lake.replace_clean("authors", counter.watch(authors, authors_out=True))
    lake.replace_clean("series", counter.watch(series, series_out=True))
    # Last: until it holds, the history of this run counts for nothing (`_with_ids`).
    lake.replace_clean("edition_works", counter.watch(assigned, edition_works_out=True))
    counts = counter.counts() | _whole(lake, editions)
    check_lossless(counts)
    if clustered.changed > WORTH_SAVING:
        save(clustered.state, lake.works_state, config)
    return counts | clustered.cut_counts(), clustered


def _with_ids(lake: Lake, clustered: Clustered, made: Sequence[Decision]) -> tuple[DataFrame, DataFrame]:
    """`edition_id`, `work_id`, `confidence`; and the whole history of works.

    What a run wrote that died before its works held, is left out of the history.
    """
    before, history = lake.last_clean("edition_works"), lake.last_clean("work_history")
    held_since = lake.written_at("edition_works")
    if history is not None:
        history = history.where(F.lit(False) if held_since is None else F.col("at") <= F.lit(held_since))
    of_cluster = clustered.editions.localCheckpoint()
    ids, changes = stable_ids(
        of_cluster.select("edition_id", "cluster"),
        before,
        history,
        now().replace(microsecond=0),
        _why(made, held_since),
    )
    assigned = of_cluster.join(ids, "edition_id").select("edition_id", "work_id", "confidence")
    sure = assigned.groupBy(F.col("work_id").alias("new_work_id")).agg(F.avg("confidence").alias("sure"))
    scored = changes.join(sure, "new_work_id", "left").withColumn("score", F.col("sure")).select(*changes.columns)
    whole = scored if history is None else history.unionByName(scored)
    return assigned.localCheckpoint(), whole.localCheckpoint()


def _why(made: Sequence[Decision], since: datetime | None) -> Column:
    """Why a row of the history is there: a decision on its works, made or undone after `since`, else clustering."""
    said = {
        work: text
        for decision in made
        for at, text in decision.reasons()
        if since is not None and at > since
        for work in decision.works
    }
    if not said:
        return F.lit("clustering")
    of_work = F.create_map(*(F.lit(text) for pair in said.items() for text in pair))
    return F.coalesce(of_work[F.col("new_work_id")], of_work[F.col("old_work_id")], F.lit("clustering"))


def _whole(lake: Lake, editions: DataFrame) -> dict[str, int]:
    """Counts of what was read and what was written, to compare."""
    stored = lake.read_clean("edition_works").agg(F.count_distinct("edition_id").alias("editions_distinct"))
    return {
        "editions_in": editions.count(),
        "editions_distinct": int(stored.collect()[0][0]),
        "editions_of_works": int(lake.read_clean("works").agg(F.sum("editions")).collect()[0][0] or 0),
    }


def main() -> None:
    """Entry point of the job."""
    run_job("cluster_works", run)


if __name__ == "__main__":
    main()
