"""Population stability index."""

from __future__ import annotations

import pytest

from analytics.drift import psi


def test_equal_shares_have_no_drift() -> None:
    assert psi([100, 300], [200, 600]) == pytest.approx(0, abs=1e-4)


def test_psi_is_the_formula_on_large_counts() -> None:
    # shares .5/.5 and .8/.2: .3 ln 1.6 - .3 ln .4
    assert psi([500_000, 500_000], [800_000, 200_000]) == pytest.approx(0.4159, abs=1e-3)


def test_a_value_seen_in_one_window_only_stays_finite() -> None:
    assert 0 < psi([10, 0], [0, 10]) < 20
