"""How good the works of a lake are, and whether they may go on: measures, and the comparison with those before.

Measures are `Interval`s by name. Counts and what is compared with known works have no width. Pure: frames in, numbers
out; only sums are collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bookworks.metrics.bootstrap import Interval
from bookworks.metrics.clustering import scores
from bookworks.metrics.sampling import Z, wilson
from spark_jobs.works.evaluation import SIZES, size_name

Measures = dict[str, Interval]

LARGE = 50  # editions; below it a work may grow as it likes
_HIGHER_IS_BETTER = (
    "truth_bcubed_f1", "truth_pairwise_f1", "expected_precision", "expected_recall", "reviewed_precision",
    "reviewed_recall",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What may change from one run to the next.

    Attributes:
        drop: of a measure of quality, as a difference.
        share: of editions that are in a work with others, up or down, as a difference.
        growth: of the largest work, as a factor.
    """

    drop: float
    share: float
    growth: float


def exact(value: float) -> Interval:
    """A value without an interval."""
    return Interval(float(value), float(value), float(value))


def faults(editions: DataFrame, edition_works: DataFrame) -> dict[str, int]:
    """Editions in no work (`lost`), in more than one row (`doubled`), and rows of no edition (`unknown`)."""
    rows = edition_works.groupBy("edition_id").agg(F.count("*").alias("rows"))
    both = editions.select("edition_id", F.lit(True).alias("is_known")).join(rows, "edition_id", "full")
    lost, doubled, unknown = F.col("rows").isNull(), F.col("rows") > 1, F.col("is_known").isNull()
    conditions = {"lost": lost, "doubled": doubled, "unknown": unknown}
    row = both.agg(*(F.count_if(condition).alias(name) for name, condition in conditions.items())).collect()[0]
    return {name: int(row[name]) for name in conditions}


def sizes(edition_works: DataFrame) -> Measures:
    """Editions, works, works of each size, the largest work, and the share of editions that are not alone."""
    works = edition_works.groupBy("work_id").agg(F.count("*").alias("n"))
    classes = {f"works_of_{size_name(low, high)}": _between(low, high) for low, high in SIZES}
    row = works.agg(
        F.sum("n").alias("editions"), F.count("*").alias("works"), F.max("n").alias("largest_work"),
        F.sum(F.when(F.col("n") > 1, F.col("n")).otherwise(0)).alias("not_alone"),
        *(F.count_if(condition).alias(name) for name, condition in classes.items()),
    ).collect()[0]  # fmt: skip
    found = {name: exact(row[name] or 0) for name in ("editions", "works", "largest_work", *classes)}
    editions = found["editions"].value
    return found | {"share_not_alone": wilson((row["not_alone"] or 0) / max(editions, 1), editions)}


def _between(low: int, high: int | None) -> Column:
    return F.col("n").between(low, high) if high else F.col("n") >= low


def against_truth(edition_works: DataFrame, truth: DataFrame) -> Measures:
    """Agreement with the known works of the editions that are in both; nothing where none is.

    Args:
        edition_works: columns of clean/edition_works.
        truth: `edition_id` and its `work_id`.
    """
    known = edition_works.select("edition_id", F.col("work_id").alias("found")).join(
        truth.select("edition_id", F.col("work_id").alias("true")).dropDuplicates(["edition_id"]), "edition_id"
    )
    both = known.groupBy("found", "true").agg(F.count("*").alias("n")).localCheckpoint()
    total = both.agg(F.sum("n")).collect()[0][0]
    if not total:
        return {}
    hits, claimed, true = (_pairs(both.groupBy(*of).agg(F.sum("n").alias("n")))
                           for of in (("found", "true"), ("found",), ("true",)))  # fmt: skip
    pairwise = scores(hits / claimed if claimed else 1.0, hits / true if true else 1.0)
    bcubed = scores(*(_bcubed(both, side) / total for side in ("found", "true")))
    named = {f"truth_{kind}_{name}": value for kind, of in (("pairwise", pairwise), ("bcubed", bcubed))
             for name, value in of.items()}  # fmt: skip
    return {name: exact(value) for name, value in named.items()} | {"truth_editions": exact(total)}


def _pairs(counted: DataFrame) -> float:
    return float(counted.agg(F.sum(F.col("n") * (F.col("n") - 1) / 2)).collect()[0][0])


def _bcubed(both: DataFrame, side: str) -> float:
    """Over all editions, the sum of the share of their group on one side that is with them on the other too."""
    whole = both.groupBy(side).agg(F.sum("n").alias("whole"))
    return float(both.join(whole, side).agg(F.sum(F.col("n") * F.col("n") / F.col("whole"))).collect()[0][0])


def compared(pairs: DataFrame, nodes: DataFrame, edition_works: DataFrame) -> DataFrame:
    """The scored pairs about which nobody has decided: `a`, `b`, `p`, whether they are `joined`, and their `weight`.

    The weight is what B-cubed precision loses if a joined pair is wrong, and what B-cubed recall loses if one kept
    apart is one work: of r and s editions, in works that are n editions together, 2rs / n, as a share of all editions.

    Args:
        pairs: `a`, `b` (nodes) and `p`, once or more; what persons decided is outside 0 to 1.
        nodes: `node` (its smallest edition) and its `records`.
        edition_works: columns of clean/edition_works.
    """
    scored = pairs.groupBy("a", "b").agg(F.max("p").alias("p"), F.min("p").alias("least"))
    scored = scored.where((F.col("p") <= 1) & (F.col("least") >= 0)).drop("least")
    size = edition_works.groupBy("work_id").agg(F.count("*").alias("n"))
    of = edition_works.select(F.col("edition_id").alias("node"), "work_id").join(size, "work_id")
    known = nodes.select("node", "records").join(of, "node")
    for side in ("a", "b"):
        renamed = known.select(*(F.col(name).alias(f"{side}_{name}") for name in known.columns))
        scored = scored.join(renamed, F.col(side) == F.col(f"{side}_node"))
    joined = F.col("a_work_id") == F.col("b_work_id")
    together = F.when(joined, F.col("a_n")).otherwise(F.col("a_n") + F.col("b_n"))
    weight = 2 * F.col("a_records") * F.col("b_records") / together / edition_works.count()
    return scored.select("a", "b", "p", joined.alias("joined"), weight.alias("weight"))


def expected(scored: DataFrame) -> Measures:
    """B-cubed precision and recall that the probabilities promise, over the pairs of `compared`.

    Editions of one spelling count as one work, pairs that were not compared as two. The interval is that of sums of
    independent draws with these probabilities; what the scorer itself is wrong about, only a review can tell.
    """
    weight, p, joined = F.col("weight"), F.col("p"), F.col("joined")
    losses = {"precision": F.when(joined, weight * (1 - p)), "recall": F.when(~joined, weight * p)}
    spread = weight**2 * p * (1 - p)
    spreads = {"precision": F.when(joined, spread), "recall": F.when(~joined, spread)}
    row = scored.agg(*(F.sum(losses[name]).alias(name) for name in losses),
                     *(F.sum(spreads[name]).alias(f"{name}_variance") for name in losses)).collect()[0]  # fmt: skip
    return {f"expected_{name}": _normal(1 - (row[name] or 0), row[f"{name}_variance"] or 0) for name in losses}


def _normal(value: float, variance: float) -> Interval:
    half = Z * variance**0.5
    return Interval(*(min(max(bound, 0.0), 1.0) for bound in (value, value - half, value + half)))


def complaints(now: Mapping[str, Interval], before: Mapping[str, Interval], limits: Limits) -> list[str]:
    """What got worse, or jumped, by more than is allowed, in words; what only one of both has is not compared.

    A difference that the present interval could explain is none.
    """
    found = []
    if "decisions_broken" in now and now["decisions_broken"].value:
        found.append(f"decisions_broken is {now['decisions_broken'].value:.0f} (allowed: 0)")
    for name in _HIGHER_IS_BETTER:
        if name in now and name in before:
            least = before[name].value - limits.drop
            if now[name].high < least:
                found.append(f"{_change(name, now, before)} (allowed: down to {least:.3f})")
    if "share_not_alone" in now and "share_not_alone" in before:
        may = limits.share + _turnover(now, before)
        low, high = (before["share_not_alone"].value + sign * may for sign in (-1, 1))
        if now["share_not_alone"].high < low or now["share_not_alone"].low > high:
            found.append(
                f"{_change('share_not_alone', now, before)} (allowed: {max(low, 0):.3f} to {min(high, 1):.3f})"
            )
    if "largest_work" in now and "largest_work" in before:
        most = limits.growth * max(before["largest_work"].value, LARGE)
        if now["largest_work"].value > most:
            found.append(f"{_change('largest_work', now, before, '.0f')} (allowed: up to {most:.0f} editions)")
    return found


def _turnover(now: Mapping[str, Interval], before: Mapping[str, Interval]) -> float:
    """By how much the catalogue itself changed, as a share: editions that came in may all be alone, or none."""
    counts = sorted(one["editions"].value for one in (now, before))
    return 1 - counts[0] / max(counts[1], 1)


def _change(name: str, now: Mapping[str, Interval], before: Mapping[str, Interval], form: str = ".3f") -> str:
    return f"{name} went from {before[name].value:{form}} to {now[name].value:{form}}"
