"""How good the works just written are, and whether they may go on: `python -m spark_jobs.evaluate_works`.

In: clean/editions, clean/edition_works, clean/works, the scored pairs that `cluster_works` left (state/works), known
works where the setting `works_truth` names them, what persons answered (Postgres). Out: the measures and the verdict
(Postgres, schema identity; ClickHouse `works_measures`), and a random sample of pairs in the review queue.

What is measured, `spark_jobs.works.measures` and `spark_jobs.works.sampling` say.
"""

from __future__ import annotations

from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bookworks.adapters import clickhouse
from bookworks.contracts.clickhouse import create_table
from bookworks.errors import ContractError, SettingError, TerminalError
from bookworks.settings import Settings
from spark_jobs.job import run_job
from spark_jobs.lake import Lake, require_columns
from spark_jobs.works import decisions, measures, sampling, verdicts
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.measures import Limits, Measures
from spark_jobs.works.state import load
from spark_jobs.works.verdicts import Verdict

LARGEST = 10  # works that are named
TABLE, COLUMNS = "works_measures", ("version", "measured_at", "state", "measure", "value", "low", "high")


def measure(lake: Lake, settings: Settings) -> Measures:
    """All that can be measured of the works that hold.

    Raises:
        ContractError: an edition is in no work or in two.
    """
    editions, edition_works = lake.read_clean("editions"), lake.read_clean("edition_works")
    check_whole(measures.faults(editions, edition_works))
    found = measures.sizes(edition_works)
    if settings.works_truth:
        found |= measures.against_truth(edition_works, read_truth(lake, settings.works_truth))
    config = MatchConfig.of(settings)
    state = load(lake.spark, lake.works_state, config)
    if state is not None:
        scored = measures.compared(state.pairs, state.nodes, edition_works).localCheckpoint()
        found |= measures.expected(scored)
        draw_sample(lake, settings, scored, editions)
    return found | sampling.as_asked(settings) | sampling.reviewed(settings) | broken(lake, settings)


def check_whole(faults: dict[str, int]) -> None:
    """Check that every edition is in exactly one work.

    Raises:
        ContractError: one is not; nobody can accept that.
    """
    if any(faults.values()):
        raise ContractError(
            "Editions are not in exactly one work each",
            received=faults, allowed="0 of each", todo="run cluster_works again; if it stays so, report it.",
        )  # fmt: skip


def read_truth(lake: Lake, path: str) -> DataFrame:
    """Known works: `edition_id`, `work_id`.

    Raises:
        SettingError: there is no such file.
        ContractError: a column is missing.
    """
    is_csv = path.removesuffix(".gz").endswith(".csv")
    try:
        frame = lake.spark.read.csv(path, header=True) if is_csv else lake.spark.read.parquet(path)
    except AnalysisException as error:
        raise SettingError(
            "BOOKWORKS_WORKS_TRUTH cannot be read",
            received=f"{path}: {error.getCondition()}",
            allowed="CSV or Parquet with edition_id and work_id",
            todo="correct the path.",
        ) from None
    return require_columns(frame, ("edition_id", "work_id"), path).select("edition_id", "work_id")


def draw_sample(lake: Lake, settings: Settings, scored: DataFrame, editions: DataFrame) -> None:
    """Put a new random sample into the review queue when the last one is done."""
    made_at = lake.written_at("edition_works")
    if settings.works_sample and made_at is not None and sampling.is_due(settings):
        drawn = sampling.draw(scored, editions, settings.works_sample, str(made_at))
        sampling.put(settings, made_at, drawn)


def broken(lake: Lake, settings: Settings) -> Measures:
    """How many decisions the works break that persons took before the catalogue was cleaned for them."""
    began = lake.written_at("editions")
    known = [one for one in decisions.standing(settings) if began is not None and one.at < began]
    asked = decisions.constraints(known)
    named = {edition for group in asked.together for edition in group}
    named |= {edition for sides in asked.apart for side in sides for edition in side}
    wanted = lake.spark.createDataFrame([(edition,) for edition in sorted(named)], "edition_id string")
    rows = lake.read_clean("edition_works").join(F.broadcast(wanted), "edition_id").collect()  # bounded by decisions
    work = {row["edition_id"]: row["work_id"] for row in rows}
    torn = sum(len({work[edition] for edition in group if edition in work}) > 1 for group in asked.together)
    mixed = sum(
        not {work.get(edition) for edition in left}.isdisjoint(work[edition] for edition in right if edition in work)
        for left, right in asked.apart
    )
    return {"decisions_broken": measures.exact(torn + mixed)}


def largest(lake: Lake) -> list[dict[str, object]]:
    """The works with most editions."""
    works = lake.read_clean("works").select("work_id", "title", "author", "editions")
    return [row.asDict() for row in works.orderBy(F.desc("editions"), "work_id").limit(LARGEST).collect()]


def judge(settings: Settings, version: str, found: Measures) -> Verdict:
    """Compare with the last works that passed or were accepted, and keep the verdict."""
    limits = Limits(settings.works_max_drop, settings.works_max_share_change, settings.works_max_growth)
    before = verdicts.baseline(settings, version)
    complaints = measures.complaints(found, before.intervals() if before else {}, limits)
    return verdicts.record(settings, version, found, complaints)


def tell(settings: Settings, verdict: Verdict) -> None:
    """The measures into ClickHouse; the same works again replace their rows."""
    client = clickhouse.connect(settings)
    client.command(create_table(TABLE))
    client.insert(TABLE, [
        [verdict.version, verdict.measured_at, verdict.state, name, one.value, one.low, one.high]
        for name, one in verdict.intervals().items()
    ], column_names=COLUMNS)  # fmt: skip


def run(lake: Lake, settings: Settings) -> dict[str, Any]:
    """Measure, compare, keep; returns the measures and the largest works.

    Raises:
        ContractError: an edition is in no work or in two.
        TerminalError: something fell or jumped too far, and nobody accepted it.
    """
    version = lake.version("edition_works")
    found = measure(lake, settings)
    verdict = judge(settings, str(version), found)
    tell(settings, verdict)
    if verdict.state == "refused":
        raise TerminalError("The works are refused", received="; ".join(verdict.complaints), todo=verdicts.TODO)
    values = {name: round(one.value, 4) for name, one in found.items()}
    return {"version": version, "state": verdict.state, **values, "largest": largest(lake)}


def main() -> None:
    """Entry point of the job."""
    run_job("evaluate_works", run)


if __name__ == "__main__":
    main()
