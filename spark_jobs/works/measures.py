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


def compared(pairs: DataFrame, edition_works: DataFrame) -> DataFrame:
    """The scored pairs about which nobody has decided: `a`, `b`, `p`, whether they are `joined`, and their `weight`.

    A pair weighs 1/m + 1/n, of works of m and n editions: so a work weighs about as much as it has editions, not as it
    has pairs, and one work of thousands does not drown all others.

    Args:
        pairs: `a`, `b` (editions) and `p`; what persons decided is outside 0 to 1.
        edition_works: columns of clean/edition_works.
    """
    scored = pairs.groupBy("a", "b").agg(F.max("p").alias("p"), F.min("p").alias("least"))
    scored = scored.where((F.col("p") <= 1) & (F.col("least") >= 0)).drop("least")
    size = edition_works.groupBy("work_id").agg(F.count("*").alias("n"))
    of = edition_works.select("edition_id", "work_id").join(size, "work_id")
    for side in ("a", "b"):
        scored = scored.join(of.select(*(F.col(c).alias(f"{side}_{c}") for c in ("edition_id", "work_id", "n"))),
                             F.col(side) == F.col(f"{side}_edition_id"))  # fmt: skip
    joined = F.col("a_work_id") == F.col("b_work_id")
    return scored.select("a", "b", "p", joined.alias("joined"), (1 / F.col("a_n") + 1 / F.col("b_n")).alias("weight"))


def expected(scored: DataFrame) -> Measures:
    """Precision and recall that the probabilities promise, over the pairs of `compared`; nothing where none is joined.

    The interval is that of sums of independent draws with these probabilities; what the scorer itself is wrong about,
    only a review can tell.
    """
    weight, p = F.col("weight"), F.col("p")
    sums = {"size": weight, "hits": weight * p, "variance": weight**2 * p * (1 - p)}
    sides = {"joined": F.col("joined"), "apart": ~F.col("joined")}
    row = scored.agg(*(F.sum(F.when(is_side, value)).alias(f"{side}_{name}")
                       for side, is_side in sides.items() for name, value in sums.items())).collect()[0]  # fmt: skip
    if not row["joined_size"]:
        return {}
    size, hits, variance = (row[f"joined_{name}"] for name in sums)
    lost, lost_variance = row["apart_hits"] or 0.0, row["apart_variance"] or 0.0
    whole = hits + lost
    return {
        "expected_precision": _normal(hits / size, variance / size**2),
        "expected_recall": _normal(hits / whole, (lost**2 * variance + hits**2 * lost_variance) / whole**4),
    }


def _normal(value: float, variance: float) -> Interval:
    half = Z * variance**0.5
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


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
        low, high = (before["share_not_alone"].value + sign * limits.share for sign in (-1, 1))
        if now["share_not_alone"].high < low or now["share_not_alone"].low > high:
            found.append(
                f"{_change('share_not_alone', now, before)} (allowed: {max(low, 0):.3f} to {min(high, 1):.3f})"
            )
    if "largest_work" in now and "largest_work" in before:
        most = limits.growth * max(before["largest_work"].value, LARGE)
        if now["largest_work"].value > most:
            found.append(f"{_change('largest_work', now, before, '.0f')} (allowed: up to {most:.0f} editions)")
    return found


def _change(name: str, now: Mapping[str, Interval], before: Mapping[str, Interval], form: str = ".3f") -> str:
    return f"{name} went from {before[name].value:{form}} to {now[name].value:{form}}"
