"""What is measured of works, and what makes them stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession

from bookworks.metrics.bootstrap import Interval
from bookworks.metrics.clustering import agreement
from spark_jobs.works import measures, sampling
from spark_jobs.works.measures import Limits, exact

Make = Callable[..., DataFrame]
LIMITS = Limits(drop=0.02, share=0.1, growth=2.0)
WORKS = {"a": "w1", "b": "w1", "c": "w1", "d": "w2", "e": "w2", "f": "w3"}


def values(found: measures.Measures) -> dict[str, float]:
    return {name: one.value for name, one in found.items()}


@pytest.fixture
def works(clean: Make) -> DataFrame:
    return clean("edition_works", *({"edition_id": e, "work_id": w, "confidence": 1.0} for e, w in WORKS.items()))


def test_sizes_and_what_is_lost_or_doubled(clean: Make, works: DataFrame) -> None:
    found = values(measures.sizes(works))
    assert (found["editions"], found["works"], found["largest_work"]) == (6, 3, 3)
    assert (found["works_of_1"], found["works_of_2"], found["works_of_3-5"], found["works_of_101+"]) == (1, 1, 1, 0)
    assert found["share_not_alone"] == pytest.approx(5 / 6)
    editions = clean("editions", *({"edition_id": e, "source": "s", "title": "t"} for e in "abcdex"))
    doubled = works.unionByName(works.where("edition_id = 'a'"))
    assert measures.faults(editions, doubled) == {"lost": 1, "doubled": 1, "unknown": 1}


def test_agreement_with_the_truth_is_that_of_the_plain_formula(spark: SparkSession, works: DataFrame) -> None:
    true = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z", "stranger": "x"}
    truth = spark.createDataFrame(list(true.items()), "edition_id string, work_id string")
    found = values(measures.against_truth(works, truth))
    plain = agreement([WORKS[e] for e in "abcde"], [true[e] for e in "abcde"])
    assert found.pop("truth_editions") == 5
    assert found == pytest.approx({f"truth_{name}": value for name, value in plain.items()})
    assert measures.against_truth(works, truth.where("edition_id = 'stranger'")) == {}


@pytest.fixture
def scored(spark: SparkSession, works: DataFrame) -> DataFrame:
    # d and e are of one spelling.
    pairs = [("a", "b", 0.9), ("a", "b", 0.7), ("a", "c", 0.5), ("c", "d", 0.3), ("d", "f", 0.1),
             ("b", "c", 0.9), ("b", "c", 2.0), ("a", "d", 0.4), ("a", "d", -1.0)]  # fmt: skip
    nodes = spark.createDataFrame([("a", 1), ("b", 1), ("c", 1), ("d", 2), ("f", 1)], "node string, records long")
    return measures.compared(spark.createDataFrame(pairs, "a string, b string, p double"), nodes, works)


def test_what_the_probabilities_promise(scored: DataFrame) -> None:
    rows = {(row.a, row.b): (row.joined, row.p, row.weight) for row in scored.collect()}
    assert set(rows) == {("a", "b"), ("a", "c"), ("c", "d"), ("d", "f")}  # without what persons decided
    assert rows["a", "b"] == (True, 0.9, pytest.approx(2 / 3 / 6))
    assert rows["c", "d"] == (False, 0.3, pytest.approx(2 * 2 / 5 / 6))
    found = measures.expected(scored)
    assert found["expected_precision"].value == pytest.approx(1 - 2 / 3 / 6 * (0.1 + 0.5))
    assert found["expected_recall"].value == pytest.approx(1 - (4 / 5 * 0.3 + 4 / 3 * 0.1) / 6)
    assert found["expected_precision"].low < found["expected_precision"].value < found["expected_precision"].high
    assert values(measures.expected(scored.where("false"))) == {"expected_precision": 1, "expected_recall": 1}


def test_a_review_of_all_pairs_is_b_cubed_itself(scored: DataFrame) -> None:
    """Of two works that are joined or apart, what is estimated is what the plain formula says."""
    strata: dict[str, list[tuple[float, float, bool | None]]] = {}
    for joined, of_pair in ((True, ("a", "b")), (False, ("d", "f"))):
        weight = next(row.weight for row in scored.collect() if (row.a, row.b) == of_pair)
        strata["joined 3" if joined else "apart 0"] = [(weight, weight, not joined)]
    found = sampling.estimate(strata)
    plain = agreement(["w1", "w1", "w1", "w2", "w2", "w3"], ["x", "y", "x", "z", "z", "z"])
    assert found["reviewed_recall"].value == pytest.approx(plain["bcubed_recall"])
    # a is not b: one of the three pairs of w1 is wrong.
    assert found["reviewed_precision"].value == pytest.approx(1 - 2 / 3 / 6)


def test_a_sample_stands_for_all_and_depends_on_its_seed(spark: SparkSession, clean: Make) -> None:
    count = 400
    ids = [f"e{n:03}" for n in range(2 * count)]
    editions = clean("editions", *({"edition_id": e, "source": "s", "title": f"T{e}"} for e in ids))
    rows = [(ids[2 * n], ids[2 * n + 1], 0.95 if n % 2 else 0.1, bool(n % 2), 1.0 if n % 4 < 2 else 0.5)
            for n in range(count)]  # fmt: skip
    scored = spark.createDataFrame(rows, "a string, b string, p double, joined boolean, weight double")
    drawn = list(sampling.draw(scored, editions, 60, "one"))
    strata = {one.stratum for one in drawn}
    assert strata == {"joined 3", "apart 0"}
    for stratum in strata:
        mine = [one for one in drawn if one.stratum == stratum]
        assert len(mine) > 20
        assert {one.stratum_weight for one in mine} == {150.0}
        assert sum(one.weight for one in mine) == pytest.approx(150, rel=0.2)
        assert {one.pair.joined for one in mine} == {stratum == "joined 3"}
    assert drawn[0].pair.left["title"] == f"T{drawn[0].pair.left_edition}"
    assert {one.stratum for one in drawn[:4]} == strata  # each beginning is a sample
    again, other = (list(sampling.draw(scored, editions, 60, seed)) for seed in ("one", "two"))
    assert again == drawn
    assert {one.pair.left_edition for one in other} != {one.pair.left_edition for one in drawn}


def test_a_sample_tells_nothing_before_each_stratum_has_answers() -> None:
    answers: list[bool | None] = [True, True, True, False, True, None]
    joined, apart = ([(0.2, 1.0, one) for one in answers], [(0.5, 1.0, one) for one in (False, None)])
    assert sampling.estimate({"joined 3": joined, "apart 0": apart}) == {}
    found = sampling.estimate({"joined 3": joined, "apart 0": [(0.5, 1.0, False)] * 2})
    assert found["reviewed_precision"].value == pytest.approx(1 - 0.2 * 0.2)
    assert found["reviewed_recall"].value == 1.0
    assert 0.8 <= found["reviewed_precision"].low < found["reviewed_precision"].value
    assert found["reviewed_pairs"].value == 7


def test_what_falls_or_jumps_too_far_is_named_with_what_is_allowed() -> None:
    same = {"editions": exact(1000)}
    before = same | {"truth_bcubed_f1": exact(0.95), "largest_work": exact(60), "share_not_alone": exact(0.5)}
    assert measures.complaints(before, before, LIMITS) == []
    assert measures.complaints(before, {}, LIMITS) == []
    slight = same | {"truth_bcubed_f1": exact(0.931), "largest_work": exact(120), "share_not_alone": exact(0.59)}
    assert measures.complaints(slight, before, LIMITS) == []
    worse = same | {"truth_bcubed_f1": exact(0.9), "largest_work": exact(121), "share_not_alone": exact(0.3)}
    assert measures.complaints(worse, before, LIMITS) == [
        "truth_bcubed_f1 went from 0.950 to 0.900 (allowed: down to 0.930)",
        "share_not_alone went from 0.500 to 0.300 (allowed: 0.400 to 0.600)",
        "largest_work went from 60 to 121 (allowed: up to 120 editions)",
    ]
    grown = before | {"editions": exact(1250), "share_not_alone": exact(0.3)}  # a fifth is new, and may be alone
    assert measures.complaints(grown, before, LIMITS) == []


def test_what_chance_may_explain_stops_nothing() -> None:
    before = {"reviewed_precision": exact(0.95)}
    assert measures.complaints({"reviewed_precision": Interval(0.85, 0.7, 0.94)}, before, LIMITS) == []
    assert measures.complaints({"reviewed_precision": Interval(0.85, 0.8, 0.9)}, before, LIMITS) != []


def test_a_decision_that_is_broken_stops_the_first_run_too() -> None:
    assert measures.complaints({"decisions_broken": exact(2)}, {}, LIMITS) == ["decisions_broken is 2 (allowed: 0)"]
