"""Raw interactions to clean ones, each event once, with its work: `python -m spark_jobs.dedupe_interactions`.

In: raw/interactions, clean/edition_works, clean/works, clean/work_history. Out: clean/interactions.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from bookworks.contracts.lake import CLEAN_SCHEMAS, RAW_SCHEMAS
from bookworks.settings import Settings
from spark_jobs.job import Counter, check_sum, run_job
from spark_jobs.lake import Lake, require_columns
from spark_jobs.works.ids import current_ids


def dedupe(raw: DataFrame) -> DataFrame:
    """Each event, known by reader and id together, once: its first record in Kafka.

    The id is the caller's choice: another reader's event of the same id is another event. A redelivery leaves
    overlapping files in the lake, a repeated import the same event at a later offset: both collapse here.

    Raises:
        ContractError: a column is missing.
    """
    require_columns(raw, RAW_SCHEMAS["interactions"].names, "raw/interactions")
    order = Window.partitionBy("user_id", "event_id").orderBy("kafka_at", "kafka_partition", "kafka_offset")
    return raw.withColumn("_nth", F.row_number().over(order)).where("_nth = 1").drop("_nth")


def with_works(events: DataFrame, edition_works: DataFrame, works: DataFrame) -> DataFrame:
    """Events with the work of their edition; else with the work they name, if there is one.

    An event whose book is in no catalogue keeps its row, with `work_id` null.

    Raises:
        ContractError: a column is missing.
    """
    require_columns(edition_works, ("edition_id", "work_id"), "clean/edition_works")
    require_columns(works, ("work_id",), "clean/works")
    of_edition = edition_works.select("edition_id", F.col("work_id").alias("edition_work"))
    known = works.select(F.col("work_id"), F.lit(True).alias("is_known"))
    joined = events.join(of_edition, "edition_id", "left").join(known, "work_id", "left")
    named = F.when(F.col("is_known"), F.col("work_id"))
    return joined.withColumn("work_id", F.coalesce("edition_work", named)).select(*CLEAN_SCHEMAS["interactions"].names)


def with_current_works(events: DataFrame, history: DataFrame | None) -> DataFrame:
    """Events that name a work which was merged since, with the work that it is now."""
    if history is None:
        return events
    now = current_ids(history).select(F.col("old_work_id").alias("work_id"), F.col("work_id").alias("current"))
    return events.join(now, "work_id", "left").withColumn("work_id", F.coalesce("current", "work_id")).drop("current")


def run(lake: Lake, _settings: Settings) -> dict[str, int]:
    """Read, transform, write; returns the counts of rows: in = out + duplicates; out = with a work + orphans."""
    counter = Counter()
    raw = counter.watch(lake.read_raw("interactions"), interactions_in=True)
    works = lake.read_clean("works")
    events = with_current_works(dedupe(raw), lake.last_clean("work_history"))
    clean = with_works(events, lake.read_clean("edition_works"), works)
    orphan = F.col("work_id").isNull()
    watched = counter.watch(clean, interactions_out=True, with_work=~orphan, orphans=orphan)
    lake.replace_clean("interactions", watched)
    counts = counter.counts()
    check_sum(counts, "interactions_out", "with_work", "orphans")
    counts["duplicates"] = counts["interactions_in"] - counts["interactions_out"]
    return counts


def main() -> None:
    """Entry point of the job."""
    run_job("dedupe_interactions", run)


if __name__ == "__main__":
    main()
