"""The gate: what it lets through and what it refuses, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bookworks.models.bundle import Blend, Bundle
from tests.support.bundles import TIERS, make_tiny_bundle
from tests.support.cases import make_case, make_split
from training.dataset import TRAIN
from training.gate_lines import champion_lines
from training.judge import Case, judge
from training.verdict import GateParams, Unreadable

N_WORKS = 60
PARAMS = GateParams(
    k=10, tolerance=0.1, floors={"item_knn": {"neighbours": 1}, "item_filter": {"top_k": 1}}, max_ndcg=0.95
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    ratings = make_split(80, N_WORKS).matrix(TRAIN)
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("good"), N_WORKS, n_readers=80, ratings=ratings))


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


@pytest.fixture(scope="module")
def case() -> Case:
    """Readers who will read works of their own subject next."""
    return make_case(PARAMS)


def failed(verdict) -> list[str]:
    return [line.name for line in verdict.lines if not line.passed]


def test_a_good_bundle_passes_the_floors_at_its_first_deployment(good: Bundle, case: Case) -> None:
    verdict = judge(good, None, case, PARAMS, 1)
    assert verdict.passed
    assert "no model serves yet" in verdict.text()
    assert verdict.to_json()["passed"] is True


def test_random_scores_are_refused_and_the_failed_line_is_named_with_numbers(noise: Bundle, case: Case) -> None:
    verdict = judge(noise, None, case, PARAMS, 1)
    assert not verdict.passed
    assert "random" in failed(verdict)
    first = verdict.text().splitlines()[1]
    assert first.startswith("FAILS: NDCG@10 0.")
    assert "its lower bound must be above 0" in verdict.text()


def test_worse_than_the_champion_is_refused(good: Bundle, noise: Bundle, case: Case) -> None:
    verdict = judge(noise, good, case, PARAMS, 1)
    assert "champion" in failed(verdict)
    assert good.manifest.version in verdict.text()


def test_as_good_as_the_champion_is_passed(good: Bundle, case: Case) -> None:
    assert judge(good, good, case, PARAMS, 1).passed


def test_a_champion_with_another_catalogue_is_compared_by_work_id(good: Bundle, tmp_path: Path, case: Case) -> None:
    smaller = Bundle.load(make_tiny_bundle(tmp_path, 30, n_readers=80))
    verdict = judge(good, smaller, case, PARAMS, 1)
    assert verdict.passed
    assert "champion" not in failed(judge(good, smaller, case, replace_params(tolerance=0.0), 1))


def test_popularity_for_everyone_does_not_beat_popularity(good: Bundle, case: Case) -> None:
    popular = good.with_blend(Blend({tier: {"popularity": 1.0} for tier in TIERS}, good.blend.history_share))
    assert "popularity" in failed(judge(popular, None, case, PARAMS, 1))


def test_too_little_coverage_is_refused(good: Bundle, case: Case) -> None:
    assert failed(judge(good, None, case, replace_params(min_coverage=1.0, k=1), 1)) == ["coverage"]


def test_no_readers_at_all_is_refused(good: Bundle) -> None:
    nobody = make_case(PARAMS, n_readers=0)
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


def test_a_champion_that_cannot_be_read_refuses_in_words(good: Bundle, case: Case) -> None:
    verdict = judge(good, Unreadable("v7", "hash of works.parquet differs."), case, PARAMS, 1)
    assert failed(verdict) == ["champion"]
    assert verdict.champion == "v7"
    assert "the serving v7 cannot be read" in verdict.text()
    assert "hash of works.parquet differs" in verdict.text()
