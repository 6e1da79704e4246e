"""What every recommender must hold to, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from scipy import sparse

from bookworks.metrics.ranking import PAD
from tests.support.datasets import make_dataset, with_titles
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.held_out import make_held_out
from training.params import Options
from training.recommenders.als import AlsParams, AlsRecommender, SmallAlsParams, SmallAlsRecommender
from training.recommenders.base import Batch, Recommender, best_of
from training.recommenders.blend import Blend, BlendParams
from training.recommenders.content import (
    ContentEaseParams,
    ContentEaseRecommender,
    NextInSeriesParams,
    NextInSeriesRecommender,
    SameAuthorRecommender,
    SameFieldParams,
    SamePublisherRecommender,
    SameSeriesRecommender,
    TitleTextParams,
    TitleTextRecommender,
)
from training.recommenders.floors import PopularityParams, PopularityRecommender, RandomRecommender
from training.recommenders.gnn import GnnParams, GnnRecommender
from training.recommenders.item_item import (
    CoOccurrenceParams,
    CoOccurrenceRecommender,
    EaseParams,
    EaseRecommender,
    ItemFilterParams,
    ItemFilterRecommender,
    ItemKnnParams,
    ItemKnnRecommender,
    TwoHopParams,
    TwoHopRecommender,
)
from training.recommenders.ranker import Ranker, RankerParams
from training.recommenders.reader_knn import ReaderKnnParams, ReaderKnnRecommender
from training.recommenders.two_tower import TwoTowerParams, TwoTowerRecommender

OPTIONS = Options(seed=3, threads=1)
QUICK = {"dim": 8, "epochs": 6, "batch_size": 64, "learning_rate": 0.02, "max_seconds": 20}

BLEND = BlendParams(sources=("same_author", "item_knn", "item_filter"), weights={"item_filter": 1.0})
# Floors, and what this catalogue does not know.
TELL_NOTHING = {"random", "popularity", "next_in_series", "same_series", "same_publisher", "title_text"}

FITS: dict[str, Callable[[Dataset], Recommender]] = {
    "random": lambda data: RandomRecommender(data.n_works, 3),
    "popularity": lambda data: PopularityRecommender.fit(data, PopularityParams(min_readers=2), OPTIONS),
    "item_knn": lambda data: ItemKnnRecommender.fit(data, ItemKnnParams(neighbours=10), OPTIONS),
    "item_filter": lambda data: ItemFilterRecommender.fit(data, ItemFilterParams(top_k=10), OPTIONS),
    "co_occurrence": lambda data: CoOccurrenceRecommender.fit(data, CoOccurrenceParams(), OPTIONS),
    "two_hop": lambda data: TwoHopRecommender.fit(data, TwoHopParams(neighbours=8), OPTIONS),
    "ease": lambda data: EaseRecommender.fit(data, EaseParams(regularization=20), OPTIONS),
    "reader_knn": lambda data: ReaderKnnRecommender.fit(data, ReaderKnnParams(), OPTIONS),
    "same_author": lambda data: SameAuthorRecommender.fit(data, SameFieldParams(), OPTIONS),
    "same_series": lambda data: SameSeriesRecommender.fit(data, SameFieldParams(), OPTIONS),
    "same_publisher": lambda data: SamePublisherRecommender.fit(data, SameFieldParams(), OPTIONS),
    "content_ease": lambda data: ContentEaseRecommender.fit(data, ContentEaseParams(regularization=20), OPTIONS),
    "next_in_series": lambda data: NextInSeriesRecommender.fit(data, NextInSeriesParams(), OPTIONS),
    "title_text": lambda data: TitleTextRecommender.fit(with_titles(data), TitleTextParams(), OPTIONS),
    "blend": lambda data: Blend.fit(data, BLEND, OPTIONS),
    "ranker": lambda data: Ranker.fit(
        data, RankerParams(blend=BLEND, candidates=25, trees=10, min_rows=5, folds=2), OPTIONS
    ),
    "als": lambda data: AlsRecommender.fit(data, AlsParams(factors=4, iterations=3, alpha=10), OPTIONS),
    "als_small": lambda data: SmallAlsRecommender.fit(data, SmallAlsParams(factors=3, iterations=3, alpha=10), OPTIONS),
    "gnn": lambda data: GnnRecommender.fit(data, GnnParams(**QUICK), OPTIONS),
    "two_tower": lambda data: TwoTowerRecommender.fit(
        with_titles(data), TwoTowerParams(min_readers=2, **QUICK), OPTIONS
    ),
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="module", params=FITS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name: str, data: Dataset) -> Recommender:
    return FITS[name](data)


class TestEveryRecommender:
    def test_never_a_work_of_the_history(self, model: Recommender, data: Dataset) -> None:
        tests = make_held_out(data, (TRAIN, VALID), TEST, 0.0, 100)
        ranked = model.recommend(tests.batch, data.n_works).works
        for row, state in zip(ranked, tests.states, strict=True):
            shown = row[row != PAD].tolist()
            assert sorted([*shown, *state.history]) == list(range(data.n_works))

    def test_unknown_readers_and_empty_histories_get_a_full_list(self, model: Recommender, data: Dataset) -> None:
        nothing = sparse.csr_matrix((3, data.n_works), dtype=np.float32)
        strangers = Batch(np.array([-1, -1, 0]), nothing, [None, "18-24", "65+"], [None, "atlantis", "usa"])
        ranked = model.recommend(strangers, 5).works
        assert (ranked != PAD).all()
        assert all(len(set(row)) == 5 for row in ranked.tolist())

    def test_a_book_that_no_training_row_tells_of(self, name: str, data: Dataset) -> None:
        """A reader of it alone gets a whole list, without it; a reader of others may find it, and nothing fails."""
        of_others = data.interactions.filter(pc.not_equal(data.interactions["work"], 7))
        model = FITS[name](data.replaced(of_others))
        history = sparse.csr_matrix(
            ([1.0, 1.0, 1.0], ([0, 1, 1], [7, 0, 7])), shape=(2, data.n_works), dtype=np.float32
        )
        lists = model.recommend(Batch(np.array([-1, -1]), history, [None, None], [None, None]), 10)
        assert (lists.works != PAD).all()
        assert 7 not in lists.works
        assert np.isfinite(lists.scores).all()

    def test_an_unknown_reader_with_a_history(self, model: Recommender, data: Dataset) -> None:
        history = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [0, 4])), shape=(1, data.n_works), dtype=np.float32)
        ranked = model.recommend(Batch(np.array([-1]), history, [None], [None]), 10).works
        assert not {0, 4} & set(ranked[0].tolist())

    def test_the_same_seed_gives_the_same_model(self, name: str, model: Recommender, data: Dataset) -> None:
        batch = make_held_out(data, (TRAIN,), VALID, 0.0, 100).batch
        np.testing.assert_array_equal(FITS[name](data).scores(batch), model.scores(batch))

    def test_saved_and_loaded_it_is_the_same(self, model: Recommender, data: Dataset, tmp_path: Path) -> None:
        batch = make_held_out(data, (TRAIN,), VALID, 0.0, 100).batch
        model.save(tmp_path)
        np.testing.assert_array_equal(type(model).load(tmp_path).scores(batch), model.scores(batch))

    def test_a_catalogue_of_one(self, name: str) -> None:
        tiny = make_dataset(n_works=1, n_readers=30, per_reader=1)
        model = FITS[name](tiny)
        new = Batch(np.array([0]), sparse.csr_matrix((1, 1), dtype=np.float32), [None], [None])
        assert model.recommend(new, 3).works.tolist() == [[0, PAD, PAD]]

    def test_it_finds_the_pattern_if_it_learns(self, name: str, model: Recommender, data: Dataset) -> None:
        if name in TELL_NOTHING:
            pytest.skip("it cannot learn the pattern")
        tests = make_held_out(data, (TRAIN, VALID), TEST, 0.0, 100)
        floor = tests.ndcg(RandomRecommender(data.n_works, 3).recommend(tests.batch, 10).works, 10).mean()
        assert tests.ndcg(model.recommend(tests.batch, 10).works, 10).mean() > 1.5 * floor


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_each_row_are_a_stable_sort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4 if seed % 2 else 10**6, (7, 64 * 30 + seed)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.5] = 0.0
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    scores[0], scores[1], scores[2] = 0.0, -np.inf, np.where(np.arange(scores.shape[1]) == 9, 1.0, -np.inf)
    for n in (1, 5, 14, 100):
        order = np.argsort(-scores, axis=1, kind="stable")[:, :n]
        expected = np.where(np.isfinite(np.take_along_axis(scores, order, axis=1)), order, PAD)
        found = best_of(scores, n)
        np.testing.assert_array_equal(found.works, expected)
        assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
    assert best_of(scores[:, :3], 5).works.shape == (7, 5)
    assert best_of(scores[:0], 5).works.shape == (0, 5)
