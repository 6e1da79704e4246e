"""The sampled review: random pairs that a person judges, so that the works are measured without any label.

A sample is drawn once from the works of one run and stays in the review queue until it is answered; what is estimated
is how good those works were before the answers mended them. Strata: joined or kept apart, by probability.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from bookworks.clock import now
from bookworks.metrics.bootstrap import Interval
from bookworks.metrics.sampling import Stratum, hits, wilson
from bookworks.settings import Settings
from spark_jobs.works import review
from spark_jobs.works.decisions import PAIR, Groups, ReviewPair, constraints, pair_row, read, transaction

BANDS = (0.2, 0.5, 0.8)  # probabilities between strata
LEAST = 5  # pairs of a stratum, and answers to it before anything is estimated
DAYS = 30  # after these an unfinished sample gives way to one of the present works


@dataclass(frozen=True)
class Drawn:
    """One pair of a sample.

    Attributes:
        pair: the pair; `joined` says on which side it was.
        stratum: `joined` or `apart`, and the band of its probability.
        weight: the weight (`measures.compared`) of the pairs that it stands for.
        stratum_weight: that of the whole stratum.
    """

    pair: ReviewPair
    stratum: str
    weight: float
    stratum_weight: float


def draw(scored: DataFrame, editions: DataFrame, n: int, seed: str) -> Iterator[Drawn]:
    """About `n` random pairs, in an order in which each beginning is a sample too.

    Most are drawn where most is unknown: by weight and deviation of the stratum (Neyman 1934). Within one a pair's
    chance is in proportion to its weight (Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006).

    Args:
        scored: from `measures.compared`.
        editions: columns of clean/editions.
        n: how many; a stratum gets `LEAST` all the same.
        seed: another one, another sample.
    """
    band = sum((F.when(F.col("p") >= bound, 1).otherwise(0) for bound in BANDS), F.lit(0))
    side = F.when(F.col("joined"), "joined").otherwise("apart")
    rows = scored.withColumn("stratum", F.concat_ws(" ", side, band.cast("string"))).localCheckpoint()
    strata = rows.groupBy("stratum").agg(
        F.sum("weight").alias("size"), F.count("*").alias("pairs"),
        F.sum(F.col("weight") * F.sqrt(F.col("p") * (1 - F.col("p")))).alias("doubt"),
    ).collect()  # fmt: skip
    doubt = sum(row["doubt"] for row in strata) or 1.0
    shares = [(row["stratum"], row["size"], max(LEAST, round(n * row["doubt"] / doubt)), row["pairs"])
              for row in strata]  # fmt: skip
    wanted = rows.sparkSession.createDataFrame(shares, "stratum string, size double, wanted int, pairs long")
    # A number from 0 to 1 that depends on seed and pair alone.
    chance = (F.pmod(F.xxhash64(F.lit(seed), "a", "b"), F.lit(2**53)) + 0.5) / 2**53
    keyed = rows.join(F.broadcast(wanted), "stratum").withColumn("key", -F.log(chance) / F.col("weight"))
    nth = F.row_number().over(Window.partitionBy("stratum").orderBy("key", "a", "b"))
    taken = keyed.withColumn("nth", nth).where("nth <= wanted")
    drawn = F.least(F.lit(1.0), F.col("wanted") * F.col("weight") / F.col("size"))
    stands_for = F.when(F.col("pairs") <= F.col("wanted"), F.col("weight")).otherwise(F.col("weight") / drawn)
    shown = review.with_texts(taken.withColumn("stands_for", stands_for), editions)
    for row in shown.orderBy(F.col("nth") / F.col("wanted"), "stratum").collect():  # bounded by n and the strata
        pair = ReviewPair(row["a"], row["b"], row["p"], 0, *review.texts(row), row["joined"])
        yield Drawn(pair, row["stratum"], row["stands_for"], row["size"])


def is_due(settings: Settings) -> bool:
    """Whether a new sample is to be drawn: there is none, or it is answered, or too old."""
    with transaction(settings) as db:
        latest = db.execute("select max(sample) from identity.review_pairs").fetchone()
        sample: datetime | None = latest[0] if latest else None
        if sample is None or sample < now() - timedelta(days=DAYS):
            return True
        pairs = db.execute("select left_edition, right_edition from identity.review_pairs where sample = %s", (sample,))
        groups = Groups.of(constraints(read(db)))
        return all(groups.same(*pair) is not None for pair in pairs)


_PUT = sql.SQL(
    "insert into identity.review_pairs ({}, sample, stratum, weight, stratum_weight, place)"
    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    " on conflict (left_edition, right_edition) do update set probability = excluded.probability,"
    ' readers = excluded.readers, "left" = excluded."left", "right" = excluded."right",'
    " joined = excluded.joined, sample = excluded.sample, stratum = excluded.stratum, weight = excluded.weight,"
    " stratum_weight = excluded.stratum_weight, place = excluded.place, answered = false"
).format(PAIR)


def put(settings: Settings, sample: datetime, rows: Iterable[Drawn]) -> int:
    """Put a sample into the queue, in place of the last one; returns how many pairs it has.

    Args:
        settings: where Postgres is.
        sample: when the works were made of which it is drawn; its name.
        rows: from `draw`; a pair that standing decisions answer is left out.
    """
    with transaction(settings) as db:
        groups = Groups.of(constraints(read(db)))
        open_rows = [one for one in rows if groups.same(one.pair.left_edition, one.pair.right_edition) is None]
        rows_of = [
            (*pair_row(one.pair), sample, one.stratum, one.weight, one.stratum_weight, place)
            for place, one in enumerate(open_rows)
        ]
        with db.cursor() as cursor:
            cursor.executemany(_PUT, rows_of)
    return len(open_rows)


def reviewed(settings: Settings) -> dict[str, Interval]:
    """B-cubed precision and recall by the newest sample with enough answers; nothing where none has."""
    with transaction(settings) as db:
        groups = Groups.of(constraints(read(db)))
        rows = db.execute(
            "select sample, stratum, stratum_weight, weight, left_edition, right_edition from identity.review_pairs"
            " where sample is not null"
        ).fetchall()
    samples: dict[datetime, dict[str, list[tuple[float, float, bool | None]]]] = defaultdict(lambda: defaultdict(list))
    for sample, stratum, size, weight, left, right in rows:
        samples[sample][stratum].append((size, weight, groups.same(left, right)))
    for sample in sorted(samples, reverse=True):
        if found := estimate(samples[sample]):
            return found
    return {}


def estimate(strata: dict[str, list[tuple[float, float, bool | None]]]) -> dict[str, Interval]:
    """B-cubed precision and recall and the number of answers of one sample; nothing while a stratum has too few.

    Args:
        strata: for each stratum its pairs: weight of the stratum, weight of the pair, the answer (None without one).
    """
    joined, apart, answers = [], [], 0
    for name, pairs in strata.items():
        seen = [(weight, same) for _, weight, same in pairs if same is not None]
        if len(seen) < min(LEAST, len(pairs)):
            return {}
        answers += len(seen)
        if name.startswith("joined"):
            joined.append(Stratum(pairs[0][0], [(weight, not same) for weight, same in seen]))
        else:
            apart.append(Stratum(pairs[0][0], seen))
    losses = {"reviewed_precision": hits(joined), "reviewed_recall": hits(apart)}
    found = {name: Interval(*(max(0.0, 1 - part) for part in (loss.value, loss.high, loss.low)))
             for name, loss in losses.items()}  # fmt: skip
    return found | {"reviewed_pairs": Interval(answers, answers, answers)}


def as_asked(settings: Settings) -> dict[str, Interval]:
    """Precision and recall among all pairs that persons answered, by what the works said before; each an interval.

    Persons are asked where the scorer is in doubt: this says how it does there, not how it does on the whole.
    """
    with transaction(settings) as db:
        groups = Groups.of(constraints(read(db)))
        rows = db.execute(
            "select joined, left_edition, right_edition from identity.review_pairs where joined is not null"
        ).fetchall()
    counts: dict[tuple[bool, bool], int] = defaultdict(int)
    for joined, left, right in rows:
        same = groups.same(left, right)
        if same is not None:
            counts[joined, same] += 1
    found = counts[True, True]
    wholes = {"precision": found + counts[True, False], "recall": found + counts[False, True]}
    return {f"answered_{name}": wilson(found / whole, whole) for name, whole in wholes.items() if whole}
