"""Estimates from samples: known values, and intervals that hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from bookworks.metrics.sampling import Stratum, hits, wilson


def test_wilson_at_its_known_values() -> None:
    half = wilson(0.5, 10)
    assert (half.low, half.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    sure = wilson(1.0, 10)
    assert (sure.value, sure.low, sure.high) == pytest.approx((1.0, 0.7225, 1.0), abs=1e-4)
    assert (wilson(0.0, 0).low, wilson(0.0, 0).high) == (0.0, 1.0)


def test_one_stratum_of_equal_weights_is_a_plain_share() -> None:
    stratum = Stratum(0.5, [(4.0, n < 8) for n in range(10)])
    plain = wilson(0.8, 10)
    found = hits([stratum])
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.5 * plain.low, 0.5 * plain.high))
    assert hits([]).high == 0


def test_strata_and_members_count_by_their_weight() -> None:
    heavy, light = Stratum(90.0, [(1.0, True)] * 5), Stratum(10.0, [(3.0, True), (1.0, False)] * 5)
    assert hits([heavy, light]).value == pytest.approx(90 + 10 * 0.75)


def test_no_answer_against_it_is_not_yet_a_proof() -> None:
    few, many = hits([Stratum(1.0, [(1.0, True)] * 5)]), hits([Stratum(1.0, [(1.0, True)] * 500)])
    assert few.value == many.value == 1.0
    assert few.low < 0.6 < 0.99 < many.low


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    weight, p = 1 / rng.integers(1, 10, 5_000), rng.beta(0.6, 0.6, 5_000)
    same, band = rng.random(5_000) < p, np.digitize(p, [0.2, 0.5, 0.8])
    truth = float(weight[same].sum())
    estimates, held = [], 0
    for _ in range(300):
        strata = []
        for number in range(4):
            members = np.flatnonzero(band == number)
            size = float(weight[members].sum())
            drawn = members[np.argsort(-np.log(rng.random(members.size)) / weight[members])[:12]]
            chance = np.minimum(1, 12 * weight[drawn] / size)
            strata.append(
                Stratum(size, list(zip((weight[drawn] / chance).tolist(), same[drawn].tolist(), strict=True)))
            )
        found = hits(strata)
        estimates.append(found.value)
        held += found.low <= truth <= found.high
    assert np.mean(estimates) == pytest.approx(truth, rel=0.02)
    assert 0.92 <= held / 300 <= 0.99
