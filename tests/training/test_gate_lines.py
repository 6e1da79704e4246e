"""Each line of the gate refuses what it is there for, and lets the honest bundle through."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from bookworks.metrics.bootstrap import Interval
from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import Ranker
from bookworks.models.trees import Booster, Trees
from tests.support.bundles import make_tiny_bundle
from tests.support.cases import SPANS, make_case, make_split
from tests.support.datasets import make_tables
from training import gate_lines, leaks
from training.dataset import TEST, TRAIN, VALID
from training.gate_page import page
from training.held_out import HeldOut
from training.judge import Case, judge
from training.recommenders.trees import Taught, _together
from training.split import SplitParams, split
from training.train_ranker import lesson
from training.verdict import GateParams, Verdict

# How long a list takes is of the machine and what else it does; the line `latency` has a test of its own.
PARAMS = GateParams(
    floors={"item_knn": {"neighbours": 2}}, max_ndcg=0.95, latency_readers=20, max_median_ms=5_000, max_p99_ms=30_000
)


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(PARAMS)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(tmp_path_factory.mktemp("honest"), TRAIN)


def bundle_of(folder: Path, *parts: str, alike: bool = True) -> Bundle:
    """A bundle whose filter and vectors learned from these parts of the case."""
    ratings = make_split(80, 60, alike).matrix(*parts)
    return Bundle.load(make_tiny_bundle(folder, 60, n_readers=80, ratings=ratings))


def failed(verdict: Verdict) -> list[str]:
    return [line.name for line in verdict.lines if not line.passed]


def of_sources(verdict: Verdict) -> list[str]:
    return [name for name in failed(verdict) if name.startswith(("source", "refit"))]


def test_the_honest_bundle_passes(honest: Bundle, case: Case) -> None:
    verdict = judge(honest, None, case, PARAMS, 1)
    assert failed(verdict) == []
    assert {"split", "overlap", "shuffled", "latency", "size", "item_knn"} <= {line.name for line in verdict.lines}


@pytest.mark.parametrize("seen", [(TRAIN, TEST), (TRAIN, VALID, TEST)])
def test_a_filter_that_saw_the_test_part_is_found(seen: tuple[str, ...], tmp_path: Path) -> None:
    """Readers without any pattern: what ranks their test part well has seen it."""
    case = make_case(PARAMS, alike=False)
    assert not of_sources(judge(bundle_of(tmp_path / "a", TRAIN, alike=False), None, case, PARAMS, 1))
    leaking = bundle_of(tmp_path / "b", *seen, alike=False)
    assert "source_item_filter" in failed(judge(leaking, None, replace(case, draft=leaking), PARAMS, 1))


@pytest.mark.parametrize("alike", [True, False])
def test_a_filter_that_saw_the_test_part_when_it_was_fitted_again_is_found(alike: bool, tmp_path: Path) -> None:
    """To learn from the part `valid`, too, is allowed."""
    case = make_case(PARAMS, alike=alike)
    honest = bundle_of(tmp_path / "a", TRAIN, VALID, alike=alike)
    assert not of_sources(judge(honest, None, case, PARAMS, 1))
    leaking = judge(bundle_of(tmp_path / "b", TRAIN, VALID, TEST, alike=alike), None, case, PARAMS, 1)
    assert "refit_item_filter" in of_sources(leaking)
    assert not [name for name in of_sources(leaking) if name.startswith("source")]


def test_a_source_that_knew_nothing_before_it_was_fitted_again_may_learn_all_at_once(tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"floors": {"item_knn": {}, "item_filter": {}}})
    nothing = Bundle.load(make_tiny_bundle(tmp_path / "a", 60, n_readers=80, ratings=csr_matrix((80, 60))))
    honest = bundle_of(tmp_path / "b", TRAIN, VALID)
    case = replace(make_case(params), draft=nothing)
    assert not of_sources(judge(honest, None, case, params, 1))


def with_trees(bundle: Bundle, lessons: list[HeldOut]) -> tuple[Bundle, float | None]:
    """The bundle with trees that learned these readers by heart, and what such trees gain for other readers."""
    taught = _together([lesson(bundle, known.states, known, 20, bundle.feature_names) for known in lessons])
    names, rounds = bundle.feature_names, 30
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 7}

    def grown(part: Taught) -> Booster:
        return Booster(lgb.train(params, lgb.Dataset(part.rows, part.read.ravel(), feature_name=names), rounds)
                       .model_to_string())  # fmt: skip

    scores = np.zeros(len(taught.rows), dtype=np.float32)
    for turn in range(5):
        out = taught.readers % 5 == turn
        rows = taught.rows_of(out)
        scores[rows] = grown(taught.some(~out)).scores(taught.rows[rows])
    places = -np.tile(np.arange(20, dtype=np.float32), len(taught))
    found = {name: taught.ndcg(values).mean() for name, values in (("binary", scores), ("blend", places))}
    other = copy.copy(bundle)
    other.ranker = Ranker(Trees((grown(taught),)), 20)
    return bundle.with_order_of(other), leaks.learned_gain({"objective": "binary", "valid_ndcg_at_20": found})


@pytest.mark.parametrize("told", [True, False])
def test_honest_trees_pass(honest: Bundle, case: Case, told: bool) -> None:
    trees, learned = with_trees(honest, [case.valid])
    verdict = judge(trees, None, replace(case, learned=learned if told else None), PARAMS, 1)
    assert "source_ranker" in {line.name for line in verdict.lines}
    assert failed(verdict) == []


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("valid", [True, False])
def test_trees_that_test_readers_taught_are_found(honest: Bundle, case: Case, share: float, valid: bool) -> None:
    drawn = np.random.default_rng(1).permutation(len(case.tests))[: int(share * len(case.tests))]
    trees, learned = with_trees(honest, [*[case.valid] * valid, case.tests.some(drawn)])
    assert failed(judge(trees, None, replace(case, learned=learned), PARAMS, 1)) == ["source_ranker"]


def test_trees_that_only_test_readers_taught_are_found_without_a_report(honest: Bundle, case: Case) -> None:
    trees, _ = with_trees(honest, [case.tests])
    assert failed(judge(trees, None, case, PARAMS, 1)) == ["source_ranker"]


def test_a_report_without_trees_tells_nothing_of_their_gain() -> None:
    assert leaks.learned_gain({"objective": None, "valid_ndcg_at_20": {"blend": 0.1, "binary": 0.1}}) is None
    assert leaks.learned_gain({}) is None


def test_popularity_that_knows_the_future_is_found(case: Case) -> None:
    """Every reader goes on to the same works, which nobody read before."""
    tests = replace(case.tests, relevant=[[40, 41, 42]] * len(case.tests))
    future, past = (np.tile(np.arange(start, start + 10), (len(tests), 1)) for start in (40, 0))
    assert not leaks.shuffled_line(future, past, tests, PARAMS, 1).passed
    assert leaks.shuffled_line(past, past, tests, PARAMS, 1).passed


def test_shuffled_labels_are_those_of_others(case: Case) -> None:
    other = leaks.shuffled(case.tests, 1)
    assert sorted(map(sorted, other.relevant)) == sorted(map(sorted, case.tests.relevant))
    assert all(a is not b for a, b in zip(other.relevant, case.tests.relevant, strict=True))


def test_a_held_out_pair_among_the_training_rows_is_found(case: Case) -> None:
    assert leaks.overlap_line(case.data, case.tests).passed
    doubled = case.data.rows(TEST).slice(0, 1).set_column(3, "part", pa.array([TRAIN]))
    data = case.data.replaced(pa.concat_tables([case.data.interactions, doubled]))
    line = leaks.overlap_line(data, case.tests)
    assert not line.passed
    assert line.text.startswith("1 held-out pairs")


def test_a_held_out_work_in_a_history_is_found(case: Case) -> None:
    state = case.tests.states[0]
    told = replace(state, history=[*state.history, case.tests.relevant[0][0]], weights=[*state.weights, 1.0])
    assert not leaks.overlap_line(case.data, replace(case.tests, states=[told, *case.tests.states[1:]])).passed


def test_more_than_anybody_can_know_is_not_believed() -> None:
    assert not leaks.ceiling_line(np.full(9, 0.97), PARAMS).passed


def test_the_split_says_how_it_was_made() -> None:
    interactions, works, readers = make_tables()
    line = leaks.split_line(leaks.spans_of(split(interactions, works, readers, SplitParams()), interactions))
    assert line.passed
    assert "by time: train" in line.text
    interactions, works, readers = make_tables(timed=False)
    line = leaks.split_line(leaks.spans_of(split(interactions, works, readers, SplitParams()), interactions))
    assert line.passed
    assert "by a hash" in line.text


def test_a_split_that_does_not_go_by_the_times_there_are_is_refused() -> None:
    without, works, readers = make_tables(timed=False)
    timed, _, _ = make_tables(timed=True)
    line = leaks.split_line(leaks.spans_of(split(without, works, readers, SplitParams()), timed))
    assert not line.passed
    assert "test begins before valid ends" in line.text


def test_parts_that_share_an_instant_are_refused() -> None:
    early = replace(SPANS[TEST], first=SPANS[VALID].last)
    assert not leaks.split_line(SPANS | {TEST: early}).passed
    assert leaks.split_line(SPANS | {TEST: replace(early, first=early.first + timedelta(seconds=1))}).passed
    assert not leaks.split_line({TRAIN: SPANS[TRAIN]}).passed


def test_worse_than_a_learned_floor_beyond_chance_is_refused() -> None:
    own = np.linspace(0, 0.2, 200)
    lines = gate_lines.learned_floor_lines(own, {"item_knn": own - 0.01, "ease": own + 0.01}, PARAMS)
    assert [line.name for line in lines if not line.passed] == ["ease"]
    both = gate_lines.learned_floor_lines(own, {"item_filter": own + 0.01, "ease": own + 0.01}, PARAMS)
    assert [line.name for line in both if not line.passed] == ["item_filter_or_ease"]
    one = gate_lines.learned_floor_lines(own, {"item_filter": own - 0.01, "ease": own + 0.01}, PARAMS)
    assert all(line.passed for line in one)


def test_a_learned_floor_may_be_missed_by_the_tolerance_only() -> None:
    """Every reader loses the same, so the bounds are the difference itself: 1.9 and 2.1 % of the floor's NDCG."""
    floor = np.linspace(0.1, 0.3, 600)
    near, far = (
        gate_lines.learned_floor_lines(floor - loss, {"item_knn": floor}, PARAMS)[0] for loss in (0.0038, 0.0042)
    )
    assert near.passed
    assert "-0.0040 (2% of the floor's)" in near.text
    assert not far.passed


def test_what_beats_no_learned_floor_is_refused() -> None:
    own = np.linspace(0, 0.2, 500)
    noise = np.where(np.arange(500) % 2, 0.05, -0.049)
    lines = gate_lines.learned_floor_lines(own, {"item_knn": own + noise, "ease": own + noise}, PARAMS)
    assert [line.name for line in lines if not line.passed] == ["learned_floors"]
    assert "beats none" in lines[-1].text
    few = gate_lines.learned_floor_lines(own[:499], {"item_knn": (own + noise)[:499]}, PARAMS)
    assert few[-1].passed
    assert "cannot tell" in few[-1].text


def test_a_slice_that_loses_is_refused_though_the_whole_gains(case: Case) -> None:
    states = [replace(s, history=s.history[:2]) if i % 2 else s for i, s in enumerate(case.tests.states)]
    tests = replace(case.tests, states=states)
    serving = np.full(len(tests), 0.2)
    own = serving + np.where(np.arange(len(tests)) % 2, -0.05, 0.1)
    slices = gate_lines.slices_of(tests, own, serving)
    line = gate_lines.slices_line(slices, PARAMS)
    assert not line.passed
    assert "history of 1 to 2 (40 readers)" in line.text
    assert "history of 6 to 10 (" not in line.text
    assert gate_lines.slices_line(slices, PARAMS.model_copy(update={"min_slice": 41})).passed


def test_a_slow_bundle_is_refused(honest: Bundle, case: Case) -> None:
    for limit in ("max_median_ms", "max_p99_ms"):
        line = gate_lines.latency_line(honest, case.tests, PARAMS.model_copy(update={limit: 1e-6}))
        assert not line.passed
    assert "over 20 readers" in line.text


def test_a_large_bundle_is_refused(honest: Bundle) -> None:
    assert gate_lines.size_line(honest, PARAMS).passed
    assert not gate_lines.size_line(honest, PARAMS.model_copy(update={"max_mib": 1e-6})).passed


def test_the_page_shows_lines_intervals_slices_and_what_was_tried(honest: Bundle, case: Case) -> None:
    verdict = judge(honest, honest, case, PARAMS.model_copy(update={"min_coverage": 1.0, "k": 10}), 1)
    row = {"model": "als<b>", "metric": "ndcg", "k": 10, "slice": "all", "value": 0.1, "low": 0.05, "high": 0.2}
    choice = {"weights": {"vectors": 0.5}, "history_share": 0.3, "valid_ndcg_at_20": 0.12}
    found = page(verdict, {"evaluation": {"rows": [row]}, "blend": {"warm": choice}, "search": {"params": {"dim": 8}}})
    assert found.count("<svg") == 3
    assert "als&lt;b&gt;" in found
    assert "als<b>" not in found
    assert "to champion" in found
    assert "http" not in found
    for line in verdict.lines:
        assert line.name in found


def test_a_plot_holds_its_intervals_and_zero() -> None:
    from training.gate_page import LEFT, WIDTH, Bar, plot

    drawn = plot([Bar("a", Interval(0.2, 0.1, 0.3), True)])
    assert f"x2='{LEFT + WIDTH:.1f}'" in drawn
    assert f"x1='{LEFT:.1f}' x2='{LEFT:.1f}'" in drawn
    assert plot([]) == "<p>None.</p>"
