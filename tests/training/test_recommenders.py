"""What every recommender must hold to, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from bookworks.metrics.ranking import PAD
from tests.support.datasets import make_dataset, make_titles
from training import train_als, train_gnn, train_item_filter, train_popularity, train_two_tower
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.held_out import make_held_out
from training.params import Options
from training.recommenders import Batch, RandomRecommender, Recommender, rank

OPTIONS = Options(seed=3, threads=1)
QUICK = {"dim": 8, "epochs": 6, "batch_size": 64, "learning_rate": 0.02, "max_seconds": 20}

FITS: dict[str, Callable[[Dataset], Recommender]] = {
    "random": lambda data: RandomRecommender(data.n_works, 3),
    "popularity": lambda data: train_popularity.fit(data, train_popularity.PopularityParams(min_readers=2)),
    "item_filter": lambda data: train_item_filter.fit(data, train_item_filter.ItemFilterParams(top_k=10)),
    "als": lambda data: train_als.fit(data, train_als.AlsParams(factors=4, iterations=3), OPTIONS),
    "gnn": lambda data: train_gnn.fit(data, train_gnn.GnnParams(**QUICK), OPTIONS)[0],
    "two_tower": lambda data: (
        train_two_tower.fit(
            data, make_titles(data), train_two_tower.TwoTowerParams(min_readers=2, **QUICK), OPTIONS
        ).recommender
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
        ranked = rank(model, tests.batch, data.n_works)
        for row, state in zip(ranked, tests.states, strict=True):
            shown = row[row != PAD].tolist()
            assert sorted([*shown, *state.history]) == list(range(data.n_works))

    def test_unknown_readers_and_empty_histories_get_a_full_list(self, model: Recommender, data: Dataset) -> None:
        nothing = sparse.csr_matrix((3, data.n_works), dtype=np.float32)
        strangers = Batch(np.array([-1, -1, 0]), nothing, [None, "18-24", "65+"], [None, "atlantis", "usa"])
        ranked = rank(model, strangers, 5)
        assert (ranked != PAD).all()
        assert all(len(set(row)) == 5 for row in ranked.tolist())

    def test_an_unknown_reader_with_a_history(self, model: Recommender, data: Dataset) -> None:
        history = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [0, 4])), shape=(1, data.n_works), dtype=np.float32)
        ranked = rank(model, Batch(np.array([-1]), history, [None], [None]), 10)
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
        assert rank(model, new, 3).tolist() == [[0, PAD, PAD]]

    def test_it_finds_the_pattern_if_it_learns(self, name: str, model: Recommender, data: Dataset) -> None:
        if name in {"random", "popularity"}:
            pytest.skip("a floor does not learn the pattern")
        tests = make_held_out(data, (TRAIN, VALID), TEST, 0.0, 100)
        floor = tests.ndcg(rank(RandomRecommender(data.n_works, 3), tests.batch, 10), 10).mean()
        assert tests.ndcg(rank(model, tests.batch, 10), 10).mean() > 1.5 * floor
