"""The vectorised metrics against plain loops written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bookworks.metrics.bootstrap import coverage_interval, mean_interval
from bookworks.metrics.ranking import coverage, distinct, find_hits, gini, ndcg_at, novelty, pad, recall_at

N_WORKS = 30


def random_case(seed: int) -> tuple[list[list[int]], list[list[int]]]:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(N_WORKS)[: rng.integers(0, 13)].tolist() for _ in range(8)]
    relevant = [rng.permutation(N_WORKS)[: rng.integers(1, 15)].tolist() for _ in range(8)]
    return lists, relevant


def plain_recall(ranked: list[int], relevant: list[int], k: int) -> float:
    return len(set(ranked[:k]) & set(relevant)) / len(relevant)


def plain_ndcg(ranked: list[int], relevant: list[int], k: int) -> float:
    gained = sum(1 / math.log2(place + 2) for place, work in enumerate(ranked[:k]) if work in relevant)
    return gained / sum(1 / math.log2(place + 2) for place in range(min(len(relevant), k)))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("k", [1, 5, 10, 12])
def test_recall_and_ndcg_are_those_of_the_definition(seed: int, k: int) -> None:
    lists, relevant = random_case(seed)
    hits = find_hits(pad(lists, 12), relevant, N_WORKS)
    n_relevant = np.array([len(works) for works in relevant])
    pairs = list(zip(lists, relevant, strict=True))
    np.testing.assert_allclose(recall_at(hits, n_relevant, k), [plain_recall(a, b, k) for a, b in pairs])
    np.testing.assert_allclose(ndcg_at(hits, n_relevant, k), [plain_ndcg(a, b, k) for a, b in pairs])


def test_a_perfect_short_list_has_ndcg_one() -> None:
    hits = find_hits(pad([[3, 4]], 10), [[4, 3]], N_WORKS)
    assert ndcg_at(hits, np.array([2]), 10)[0] == pytest.approx(1.0)


def test_a_reader_without_relevant_works_gets_zero() -> None:
    hits = find_hits(pad([[1]], 5), [[]], N_WORKS)
    assert ndcg_at(hits, np.array([0]), 5)[0] == 0
    assert recall_at(hits, np.array([0]), 5)[0] == 0


@pytest.mark.parametrize("seed", range(5))
def test_coverage_and_novelty_are_those_of_the_definition(seed: int) -> None:
    lists, _ = random_case(seed)
    counts = np.random.default_rng(seed).integers(0, 9, N_WORKS)
    ranked = pad(lists, 12)
    assert coverage(ranked, N_WORKS) == len({work for works in lists for work in works}) / N_WORKS
    expected = [sum(-math.log2((counts[w] + 1) / 11) for w in works) / len(works) if works else 0.0 for works in lists]
    np.testing.assert_allclose(novelty(ranked, counts, 10), expected)


def test_the_interval_of_a_mean_is_about_two_standard_errors() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, size=400)
    interval = mean_interval(values)
    error = values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(interval.value - 1.96 * error, abs=0.3 * error)
    assert interval.high == pytest.approx(interval.value + 1.96 * error, abs=0.3 * error)


def test_intervals_repeat_and_bear_no_readers() -> None:
    values = np.arange(20.0)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(np.array([])).high == 0.0
    assert coverage_interval(pad([], 5), 10).value == 0.0
    assert coverage_interval(pad([[0, 1], [1, 2]], 2), 6).value == pytest.approx(0.5)


def test_coverage_lies_within_its_interval() -> None:
    lists = np.arange(400).reshape(40, 10)  # no work twice: a plain percentile interval lies far below the value
    covered = coverage_interval(lists, 500)
    assert covered.low < covered.value < covered.high
    assert covered.value == pytest.approx(0.8)


@pytest.mark.parametrize("seed", range(5))
def test_gini_and_distinct_are_those_of_the_definition(seed: int) -> None:
    lists, _ = random_case(seed)
    group = np.random.default_rng(seed).integers(0, 4, N_WORKS)
    ranked = pad(lists, 12)
    shown = [sum(work in works for works in lists) for work in range(N_WORKS)]
    apart = sum(abs(a - b) for a in shown for b in shown)
    assert gini(ranked, N_WORKS) == pytest.approx(apart / (2 * N_WORKS * sum(shown)))
    assert distinct(ranked, group).tolist() == [len({group[work] for work in works}) for works in lists]


def test_lists_that_show_every_work_equally_have_gini_zero() -> None:
    assert gini(pad([[0, 1], [2, 3]], 2), 4) == 0
    assert gini(pad([[], []], 2), 4) == 0
