"""The ranker: what it learns from and says of its answers; sources and blends that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from bookworks.metrics.ranking import PAD
from bookworks.models.trees import logistic
from tests.support.datasets import make_dataset
from training.dataset import TRAIN, VALID, Dataset
from training.params import Options
from training.recommenders.all import Fitter
from training.recommenders.base import Batch
from training.recommenders.blend import Blend, BlendParams, Mix, asked, held_out_of, same_work
from training.recommenders.content import (
    ContentEaseParams,
    ContentEaseRecommender,
    NextInSeriesParams,
    NextInSeriesRecommender,
    expected_readers,
    readers_of,
)
from training.recommenders.item_item import ItemFilterParams, ItemFilterRecommender
from training.recommenders.new_works import allowed, as_far_as, recall_of_others
from training.recommenders.ranker import Ranker, RankerParams, candidates_of, earlier, feature_names
from training.recommenders.trees import Taught, TreesParams, calibrate, grow, new_bonus
from training.split_files import hold_out
from training.work_facts import facts_of

OPTIONS = Options(seed=3, threads=1)
BLEND = BlendParams(sources=("item_filter", "same_author"), weights={"item_filter": 1.0, "same_author": 0.5})
SMALL = RankerParams(blend=BLEND, candidates=20, trees=15, min_rows=5, folds=2)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset(n_readers=150).merged(VALID, TRAIN)


@pytest.fixture(scope="module")
def ranker(data: Dataset) -> Ranker:
    return Ranker.fit(data, SMALL, OPTIONS)


def with_works(data: Dataset, **columns: list) -> Dataset:
    works = data.works
    for name, values in columns.items():
        if name in works.column_names:
            works = works.drop_columns([name])
        works = works.append_column(name, pa.array(values))
    return replace(data, works=works)


def readers(data: Dataset) -> Batch:
    histories = data.train()
    nobody = [None] * data.n_trained
    return Batch(np.arange(data.n_trained), histories, nobody, nobody)


def test_the_sources_have_not_seen_what_the_trees_learn_from(data: Dataset) -> None:
    for inner in earlier(data, SMALL, 3):
        known = asked(inner, VALID)
        for row, works in enumerate(known.relevant):
            assert not set(works) & set(known.batch.histories[row].indices)
    one, two = earlier(data, SMALL, 3)
    assert (one.matrix(VALID) != two.matrix(VALID)).nnz > 0


def test_contributions_sum_to_the_score(ranker: Ranker, data: Dataset) -> None:
    batch = readers(data).part(0, 12)
    lists = ranker.recommend(batch, 5)
    for told, scores in zip(ranker.explained(batch, 5), lists.scores, strict=True):
        np.testing.assert_allclose([sum(work.contributions.values()) for work in told], scores, rtol=1e-4, atol=1e-5)


def test_new_works_get_a_bonus_that_costs_the_others_no_more() -> None:
    """Of 100 candidates the last is new and the 20th was read: with a bonus above 0.8 it is pushed out."""
    read = np.zeros((10, 100), dtype=bool)
    read[:, 19] = True
    taught = Taught(np.zeros((0, 0), dtype=np.float32), read, *[np.ones(10, dtype=np.int64)] * 3, np.arange(10))
    scores = np.tile(-0.01 * np.arange(100, dtype=np.float32), (10, 1))
    new = np.zeros_like(read)
    new[:, 99] = True
    steps = (0.0, 0.5, 0.75, 1.0)
    assert new_bonus(taught, scores, new, steps, 0.003) == 0.75
    assert new_bonus(taught, scores, new, steps, 1.0) == 1.0
    assert new_bonus(taught, scores, np.zeros_like(new), steps, 1.0) == 0.0
    new[:, 10] = True  # stands in the lists as it is: without it the 21st, now read too, would be there
    read[:, 20] = True
    taught = replace(taught, n_others=np.full(10, 2))
    assert new_bonus(taught, scores, new, steps, 0.6) == 0.75, "half is lost by showing it at all, half by the bonus"
    assert new_bonus(taught, scores, new, steps, 0.1) == 0.0


def test_a_readers_lessons_are_one_trial() -> None:
    """Every fifth of 20 readers loses the 20th candidate: a loss of .2 with a standard error of .089."""
    readers = np.repeat(np.arange(20), 4)
    read = np.zeros((80, 100), dtype=bool)
    read[readers % 5 == 0, 19] = read[readers % 5 > 0, 0] = True
    taught = Taught(np.zeros((0, 0), dtype=np.float32), read, *[np.ones(80, dtype=np.int64)] * 3, readers)
    scores = np.tile(-0.01 * np.arange(100, dtype=np.float32), (80, 1))
    new = np.zeros_like(read)
    new[:, 99] = True
    assert new_bonus(taught, scores, new, (0.0, 1.0), 0.25) == 0.0, "of 80 trials it would be .045"
    assert new_bonus(taught, scores, new, (0.0, 1.0), 0.3) == 1.0


def test_what_nobody_has_read_is_no_lesson(data: Dataset) -> None:
    known = without_readers(data, 0, 1)
    inner = next(earlier(known, SMALL, 3))
    held = held_out_of(known, inner)
    blend, facts = Blend.fit(inner, BLEND.model_copy(update={"new_lift": 9.0}), OPTIONS), facts_of(inner)
    everything, lessons = (
        np.unique(candidates_of(blend, facts, held.batch, 20, untried)[0].works) for untried in (None, held.untried)
    )
    assert {0, 1} <= set(everything.tolist())
    assert not {0, 1} & set(lessons.tolist())
    assert set(np.flatnonzero(readers_of(inner) == 0).tolist()) & set(lessons.tolist()), "what was made new is"


def test_probabilities_are_calibrated() -> None:
    """Scores whose logit is not the score: half a slope, moved by -2."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, 40_000).astype(np.float32)
    read = rng.random(scores.size) < 1 / (1 + np.exp(2 - scores / 2))
    slope, intercept, error = calibrate(scores, read, np.arange(scores.size) % 2 == 0)
    assert (slope, intercept) == (pytest.approx(0.5, abs=0.03), pytest.approx(-2, abs=0.06))
    assert error < 0.02
    assert logistic(scores, slope, intercept).mean() == pytest.approx(read.mean(), abs=1e-3)


def test_the_probability_of_a_work_is_told(ranker: Ranker, data: Dataset) -> None:
    assert ranker.trees is not None
    (told,) = ranker.explained(readers(data).part(0, 1), 5)
    scores = np.array([sum(work.contributions.values()) for work in told], dtype=np.float32)
    np.testing.assert_allclose([work.probability for work in told], ranker.trees.probabilities(scores), rtol=1e-4)
    assert ranker.report["calibration_error"] < 0.1


def test_every_feature_has_a_name(ranker: Ranker, data: Dataset) -> None:
    part = readers(data).part(0, 3)
    names = feature_names(ranker.blend.members, ranker.facts)
    assert candidates_of(ranker.blend, ranker.facts, part, 7)[1].shape == (3, 7, len(names))
    assert not any(name.endswith("_id") or name == "work" for name in names)


def test_with_nothing_to_learn_from_the_blend_stays() -> None:
    tiny = make_dataset(n_works=5, n_readers=20, per_reader=1).merged(VALID, TRAIN)
    model = Ranker.fit(tiny, SMALL, OPTIONS)
    assert model.trees is None
    batch = readers(tiny)
    np.testing.assert_array_equal(model.recommend(batch, 3).works, model.blend.recommend(batch, 3).works)


def test_other_editions_of_what_was_read_are_never_shown(data: Dataset) -> None:
    doubled = with_works(data, work_key=[f"k{i // 2}" for i in range(data.n_works)])
    pairs = same_work(doubled)
    assert pairs.nnz == data.n_works
    model = Blend.of(doubled, BLEND, Mix(BLEND.weights), Fitter(OPTIONS))
    batch = readers(doubled)
    for row, works in enumerate(model.recommend(batch, 10).works):
        read = {int(w) // 2 for w in batch.histories[row].indices}
        assert not read & {int(w) // 2 for w in works if w != PAD}


def test_the_next_in_a_series_comes_first_and_what_lies_before_not_at_all(data: Dataset) -> None:
    series = with_works(
        data, series_id=["s" if i < 4 else None for i in range(data.n_works)],
        series_number=[float(i + 1) if i < 4 else None for i in range(data.n_works)],
    )  # fmt: skip
    model = NextInSeriesRecommender.fit(series, NextInSeriesParams(reach=2), OPTIONS)
    history = sparse.csr_matrix(([1.0], ([0], [1])), shape=(1, data.n_works), dtype=np.float32)
    scores = model.scores(Batch(np.array([-1]), history, [None], [None]))[0]
    assert scores[:5].tolist() == [0, 0, 1.0, 0.5, 0]


def without_readers(data: Dataset, *works: int) -> Dataset:
    rows = data.rows(TRAIN)
    return data.replaced(rows.filter(pa.array(~np.isin(rows["work"].to_numpy(), works))))


def test_ease_with_authors_knows_a_new_work(data: Dataset) -> None:
    known = without_readers(data, 0)
    history = sparse.csr_matrix(([1.0], ([0], [8])), shape=(1, data.n_works), dtype=np.float32)
    reader = Batch(np.array([-1]), history, [None], [None])
    authors = known.works["author_id"].to_pylist()
    assert authors[0] == authors[8] != authors[1]
    config = ContentEaseParams(regularization=20)
    assert ContentEaseRecommender.fit(known, config, OPTIONS).scores(reader)[0, 0] > 0
    plain = config.model_copy(update={"author_id": 0.0, "series_id": 0.0, "publisher": 0.0})
    assert ContentEaseRecommender.fit(known, plain, OPTIONS).scores(reader)[0, 0] == 0


def test_new_works_are_lifted_where_they_are_liked(data: Dataset) -> None:
    known = without_readers(data, 0, 1)
    config = BlendParams(sources=("same_author",))
    plain, high = (Blend.of(known, config, Mix({"same_author": 1.0}, lift), Fitter(OPTIONS)) for lift in (1.0, 2.0))
    batch = readers(known)
    before, after = plain.scores(batch), high.scores(batch)
    np.testing.assert_array_equal(before[:, 2:], after[:, 2:])
    liked = before[:, :2] > 0
    assert liked.any()
    np.testing.assert_allclose(after[:, :2], np.where(liked, 2 * before[:, :2], before[:, :2]), rtol=1e-6)


def test_new_works_go_as_far_as_the_cost_allows() -> None:
    found = {1.0: 0.20, 1.5: 0.199, 2.0: 0.196, 3.0: 0.1999}

    def chosen(cost: float, before: float, spread: float = 0.0) -> float:
        """Of a hundred readers half lose `spread` more than the others."""
        around = np.tile([spread / 2, -spread / 2], 50)
        return as_far_as(cost, list(found), lambda step: found[step] + around, np.full(100, before))

    assert chosen(0.003, 0.2) == 1.5
    assert chosen(0.005, 0.2) == 3.0
    assert chosen(0.005, 0.202) == 1.5, "showing them at all costs something, too"
    assert chosen(0.0001, 0.2) == 1.0
    assert chosen(0.003, 0.2, spread=0.02) == 1.5, "the standard error is .001"
    assert chosen(0.003, 0.2, spread=0.06) == 1.0, "it is .003"
    assert as_far_as(1.0, list(found), lambda _: np.zeros(0), np.zeros(0)) == 1.0


def test_few_new_works_may_cost_less() -> None:
    new = np.zeros(1000, dtype=bool)
    new[:10] = True
    assert allowed(0.003, new) == pytest.approx(0.0003)
    new[10:200] = True
    assert allowed(0.003, new) == pytest.approx(0.006)
    new[10:] = False
    new[0] = False
    recall = np.full(5, 0.2)
    assert as_far_as(allowed(0.003, new), (1.0, 2.0), lambda step: recall, recall) == 1.0


def test_recall_of_others_leaves_new_works_out() -> None:
    lists = np.array([[0, 1, 2], [3, PAD, PAD], [0, 1, 2]])
    new = np.array([True, False, False, False, False])
    assert recall_of_others(lists, [[0, 1], [4, 3], [0]], new).tolist() == [1.0, 0.5]


def test_a_new_work_is_expected_to_do_as_its_author_does(data: Dataset) -> None:
    without = without_readers(data, 0, 1)
    found = expected_readers(without)
    sisters = [np.bincount(without.train().indices, minlength=data.n_works)[i::8][1:].mean() for i in (0, 1)]
    assert (found >= 1).all()
    assert (found[0] > found[1]) == (sisters[0] > sisters[1])


def test_where_works_are_new_as_many_are_held_out(data: Dataset) -> None:
    rows = data.rows(TRAIN)
    known = data.replaced(rows.filter(pa.array(rows["work"].to_numpy() >= 8)))
    inner = hold_out(known, 0.1, 5)
    left = np.unique(inner.rows(TRAIN)["work"].to_numpy())
    assert left.size == pytest.approx(32 * 0.8, abs=1)
    work = known.rows(TRAIN)["work"].to_numpy()
    new = np.setdiff1d(np.unique(work), left)
    held, before = (np.isin(part, new).sum() for part in (inner.rows(VALID)["work"].to_numpy(), work))
    assert 0 < held < 0.2 * before
    assert (
        np.unique(inner.rows(TRAIN)["reader"].to_numpy()).size == np.unique(known.rows(TRAIN)["reader"].to_numpy()).size
    )
    shown = ~held_out_of(known, inner).untried
    assert np.flatnonzero(~shown).tolist() == list(range(8)), "nothing held out can tell of them"
    assert not held_out_of(inner, inner).untried.any(), "a part `valid` of its own can"
    full = hold_out(data, 0.1, 5)
    assert np.unique(full.rows(TRAIN)["work"].to_numpy()).size == data.n_works
    assert full.rows(TRAIN).num_rows + full.rows(VALID).num_rows == data.rows(TRAIN).num_rows


def test_als_solves_what_the_definition_says(data: Dataset) -> None:
    from training.recommenders.als import AlsParams, AlsRecommender

    model = AlsRecommender.fit(data, AlsParams(factors=6, iterations=3, alpha=12), OPTIONS)
    batch = readers(data).part(0, 9)
    y = model.works.astype(np.float64)
    for row, vector in enumerate(model.readers(batch.histories)):
        confidence = np.ones(data.n_works)
        history = batch.histories[row]
        confidence[history.indices] = 12 * history.data
        liked = np.zeros(data.n_works)
        liked[history.indices] = 1
        left = y.T @ (confidence[:, None] * y) + 0.05 * np.eye(6)
        np.testing.assert_allclose(vector, np.linalg.solve(left, y.T @ (confidence * liked)), rtol=2e-3, atol=2e-4)


def test_ease_is_that_of_the_definition(data: Dataset) -> None:
    from training.recommenders.item_item import EaseParams, EaseRecommender

    found = EaseRecommender.fit(data, EaseParams(regularization=7), OPTIONS).matrix
    x = data.train().toarray().astype(np.float64)
    p = np.linalg.inv(x.T @ x + 7 * np.eye(data.n_works))
    expected = -p / np.diag(p)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_filter_keeps_all_when_asked(data: Dataset) -> None:
    full = ItemFilterRecommender.fit(data, ItemFilterParams(), OPTIONS).matrix
    assert full.nnz > ItemFilterRecommender.fit(data, ItemFilterParams(top_k=5), OPTIONS).matrix.nnz


def lesson(n_readers: int, seed: int, signal: float) -> Taught:
    """Candidates in the order of the blend, which knows nothing; one feature tells what is read by `signal`."""
    rng = np.random.default_rng(seed)
    read = rng.random((n_readers, 30)) < 0.1
    rows = rng.normal(size=(n_readers, 30, 2)).astype(np.float32)
    rows[:, :, 1] += np.float32(signal) * read
    rows[:, :, 0] = 1.0
    counts = read.sum(axis=1)
    return Taught(rows.reshape(-1, 2), read, counts, counts, counts + 5, np.arange(n_readers))


TURNS = TreesParams(trees=20, min_rows=20, held_out_readers=0.25, turns=4, surely=2.0, bags=1, leaves=4)


def grown(lessons: list[Taught], config: TreesParams = TURNS) -> tuple:
    return grow(lessons, ["readers", "told"], config, OPTIONS, -1.0)


def test_trees_serve_only_where_they_surely_gain() -> None:
    trees, told = grown([lesson(200, 5, 2.0)])
    assert trees is not None
    assert told["valid_ndcg_at_20"]["binary"] > told["valid_ndcg_at_20"]["blend"] + 0.1
    noises = [grown([lesson(200, seed, 0.0)]) for seed in range(8)]
    assert sum(trees is not None for trees, _ in noises) <= 1  # two standard errors are passed by chance now and then
    for _, told in noises:  # of readers who taught nothing: no better than chance
        assert told["valid_ndcg_at_20"]["binary"] == pytest.approx(told["valid_ndcg_at_20"]["blend"], abs=0.06)


def test_a_reader_is_held_out_of_all_lessons_at_once() -> None:
    """Rows that tell the reader apart teach what was read; nobody's own rows may rank his others."""
    one = lesson(120, 6, 0.0)
    number = np.repeat(np.arange(120), 30) + np.tile(np.arange(30) / 30, 120)
    own = replace(one, rows=np.column_stack([np.ones(3600), number]).astype(np.float32))
    trees, told = grow(
        [own, own], ["readers", "told"], TURNS.model_copy(update={"leaves": 31, "min_rows": 1}), OPTIONS, -1.0
    )
    assert told["valid_ndcg_at_20"]["binary"] < told["valid_ndcg_at_20"]["blend"] + 0.06
    assert trees is None


def test_nothing_to_learn_from_gives_no_trees() -> None:
    unread = lesson(50, 7, 0.0)
    nothing = replace(unread, read=np.zeros_like(unread.read))
    for lessons in ([], [nothing]):
        assert grown(lessons)[0] is None
