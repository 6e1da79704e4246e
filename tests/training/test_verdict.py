"""The gate: what it lets through and what it refuses, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from bookworks.models.bundle import Blend, Bundle
from bookworks.models.reader import ReaderState
from tests.support.bundles import COUNTRIES, SUBJECTS, TIERS, make_tiny_bundle
from training.held_out import HeldOut
from training.recommenders.base import Batch
from training.verdict import GateParams, Unreadable, champion_lines, judge

N_WORKS = 60
PARAMS = GateParams(k=10, tolerance=0.1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("good"), N_WORKS, n_readers=80))


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory, good: Bundle) -> Bundle:
    """The same bundle, but its scores are cosines with a random vector for each reader."""
    folder = make_tiny_bundle(
        tmp_path_factory.mktemp("noise"), N_WORKS, n_readers=80, created_at=datetime(2026, 1, 2, tzinfo=UTC)
    )
    bundle = Bundle.load(folder).with_blend(
        Blend({tier: {"vectors": 1.0} for tier in TIERS}, {"warm": 0.0, "session": 0.0})
    )
    bundle.encode_reader = lambda state: np.random.default_rng(int(state.user_id[1:])).normal(size=8).astype(np.float32)
    return bundle


def held_out(n: int = 80) -> HeldOut:
    """Readers who will read works of their own subject next."""
    rng = np.random.default_rng(5)
    states, relevant = [], []
    for reader in range(n):
        own = rng.permutation(np.arange(reader % len(SUBJECTS), N_WORKS, len(SUBJECTS))).tolist()
        states.append(ReaderState(f"r{reader:03d}", own[:4], [1.0] * 4, None, COUNTRIES[reader % 2]))
        relevant.append(own[4:8])
    batch = Batch(np.arange(n), sparse.csr_matrix((n, N_WORKS)), [None] * n, [None] * n)
    return HeldOut(batch, states, relevant, np.full(n, "warm"), N_WORKS)


def failed(verdict) -> list[str]:
    return [line.name for line in verdict.lines if not line.passed]


def test_a_good_bundle_passes_the_floors_at_its_first_deployment(good: Bundle) -> None:
    verdict = judge(good, None, held_out(), PARAMS, 1)
    assert verdict.passed
    assert "no model serves yet" in verdict.text()
    assert verdict.to_json()["passed"] is True


def test_random_scores_are_refused_and_the_failed_line_is_named_with_numbers(noise: Bundle) -> None:
    verdict = judge(noise, None, held_out(), PARAMS, 1)
    assert not verdict.passed
    assert "random" in failed(verdict)
    first = verdict.text().splitlines()[1]
    assert first.startswith("FAILS: NDCG@10 0.")
    assert "its lower bound must be above 0" in verdict.text()


def test_worse_than_the_champion_is_refused(good: Bundle, noise: Bundle) -> None:
    verdict = judge(noise, good, held_out(), PARAMS, 1)
    assert "champion" in failed(verdict)
    assert good.manifest.version in verdict.text()


def test_as_good_as_the_champion_is_passed(good: Bundle) -> None:
    assert judge(good, good, held_out(), PARAMS, 1).passed


def test_a_champion_with_another_catalogue_is_compared_by_work_id(good: Bundle, tmp_path: Path) -> None:
    smaller = Bundle.load(make_tiny_bundle(tmp_path, 30, n_readers=80))
    verdict = judge(good, smaller, held_out(), PARAMS, 1)
    assert verdict.passed
    assert "champion" not in failed(judge(good, smaller, held_out(), replace_params(tolerance=0.0), 1))


def test_popularity_for_everyone_does_not_beat_popularity(good: Bundle) -> None:
    popular = good.with_blend(Blend({tier: {"popularity": 1.0} for tier in TIERS}, good.blend.history_share))
    assert "popularity" in failed(judge(popular, None, held_out(), PARAMS, 1))


def test_too_little_coverage_is_refused(good: Bundle) -> None:
    assert failed(judge(good, None, held_out(), replace_params(min_coverage=1.0, k=1), 1)) == ["coverage"]


def test_no_readers_at_all_is_refused(good: Bundle) -> None:
    nobody = replace(held_out(0), states=[], relevant=[])
    assert "readers" in failed(judge(good, None, nobody, PARAMS, 1))


def replace_params(**changes: object) -> GateParams:
    return PARAMS.model_copy(update=changes)


def champion_failures(difference: float, n: int = 1200, spread: float = 0.05, **changes: object) -> list[str]:
    """Failed lines when the challenger's NDCG differs by `difference` on average, of a champion's 0.1."""
    rng = np.random.default_rng(2)
    serving = np.full(n, 0.1)
    noise = rng.normal(0, spread, n)
    own = serving + difference + noise - noise.mean()
    return [line.name for line in champion_lines(own, serving, "v1", replace_params(**changes)) if not line.passed]


def test_a_loss_that_chance_does_not_explain_is_refused_however_small() -> None:
    assert champion_failures(-0.004, spread=0.05, tolerance=0.05) == ["champion"]


def test_a_loss_within_chance_and_tolerance_is_passed() -> None:
    assert champion_failures(-0.002, spread=0.05, tolerance=0.05) == []
    assert champion_failures(0.0) == []


def test_few_readers_do_not_let_a_large_loss_through() -> None:
    assert champion_failures(-0.02, n=20, spread=0.1, tolerance=0.05) == ["champion_tolerance"]


def test_a_champion_that_cannot_be_read_refuses_in_words(good: Bundle) -> None:
    verdict = judge(good, Unreadable("v7", "hash of works.parquet differs."), held_out(), PARAMS, 1)
    assert failed(verdict) == ["champion"]
    assert verdict.champion == "v7"
    assert "the serving v7 cannot be read" in verdict.text()
    assert "hash of works.parquet differs" in verdict.text()
