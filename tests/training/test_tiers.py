"""Cold start: who and what is taken out, what stays known, and that every tier is asked for the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.datasets import make_dataset
from training.blend import NAMED, BlendGrid
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.params import Options
from training.recommenders.all import Fitter
from training.strangers import CLICKS, Beside, Signup, best_unread, first_of, named_of
from training.tiers import KNOWN, Row, made_cold, measure_new_works, measure_tiers, strangers

OPTIONS = Options(seed=3, threads=1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset(n_readers=300, per_reader=14).merged(VALID, TRAIN)


@pytest.fixture(scope="module")
def rows(data: Dataset) -> list[Row]:
    return list(measure_tiers(["content_ease"], data, Fitter(OPTIONS)))


def test_new_works_have_no_rows_to_learn_from_and_half_have_no_author(data: Dataset) -> None:
    cold = made_cold(data, 3)
    learned = np.unique(cold.data.rows(TRAIN, KNOWN)["work"].to_numpy())
    assert not cold.new[learned].any()
    assert cold.new.sum() == data.n_works // 10
    authors = np.array(cold.data.works["author_id"].to_pylist(), dtype=object)
    assert all(author is None for author in authors[cold.untold])
    assert all(author is not None for author in authors[~cold.untold])
    assert cold.data.rows(TEST).num_rows == data.rows(TEST).num_rows


def test_strangers_teach_nobody_and_keep_their_rows(data: Dataset) -> None:
    cold = made_cold(data, 3)
    known = strangers(cold)
    assert len(known.batch) > 10
    assert (known.batch.rows == -1).all()
    taught = set(cold.data.rows(TRAIN)["reader"].to_pylist())
    assert taught == set(range(cold.data.n_trained))
    assert not taught & set(known.readers.tolist())
    of = {user: row for row, user in enumerate(data.labels("user_id"))}
    users, full = cold.data.labels("user_id"), data.matrix(TRAIN)
    for place, reader in enumerate(known.readers):
        before = set(full[of[users[reader]]].indices.tolist()) - set(np.flatnonzero(cold.new).tolist())
        assert set(known.batch.histories[place].indices.tolist()) == before


def test_fewer_clicks_are_among_the_more(data: Dataset) -> None:
    known = strangers(made_cold(data, 3))
    cut = {n: first_of(known, n, 3) for n in CLICKS}
    for n, histories in cut.items():
        assert (np.diff(histories.indptr) == n).all()
        assert (histories - histories.multiply(known.batch.histories > 0)).nnz == 0
    assert (cut[1] - cut[1].multiply(cut[5] > 0)).nnz == 0
    named = named_of(known, 3)
    assert (np.diff(named.indptr) == NAMED).all()
    assert (named - named.multiply(known.batch.histories > 0)).nnz == 0
    assert named.multiply(cut[5] > 0).nnz == 0


def test_named_authors_beside_clicks_go_from_clicks_alone_to_authors_alone(data: Dataset) -> None:
    cold = made_cold(data, 3)
    known, fitter = strangers(cold), Fitter(OPTIONS)
    model = fitter.fit("content_ease", cold.data)
    signup = Signup.of(cold.data, fitter.fit("popularity", cold.data))
    beside = Beside(model, signup, known, 3)
    clicked, named = (replace(known.batch, histories=which) for which in (first_of(known, 3, 3), named_of(known, 3)))
    clicks_alone, authors_alone = (
        best_unread(said, known.batch) for said in (model.scores(clicked), signup.scores(named))
    )
    np.testing.assert_array_equal(beside.lists(3, 0.0).works, clicks_alone.works)
    assert (beside.lists(3, 1e4).works[:, :5] == authors_alone.works[:, :5]).mean() > 0.95
    assert (beside.lists(3, 1.0).works != clicks_alone.works).any()


def test_every_tier_is_measured_and_more_known_is_better(rows: list[Row]) -> None:
    found = {row.tier: row for row in rows}
    readers = [row for tier, row in found.items() if tier.startswith("new reader")]
    assert len({row.readers for row in readers}) == 1
    assert len(readers) == 9  # nothing, authors, 1, 3, 5 clicks, each with authors, session
    for clicks in ("1 click", "3 clicks", "5 clicks"):
        both = found[f"new reader, 3 authors + {clicks}"]
        assert both.to_json()["named_weight"] in BlendGrid().named_weights
        assert both.ndcg.mean() > 0
        assert "named_weight" not in found[f"new reader, {clicks}"].to_json()
    assert found["new reader, session"].ndcg.mean() > found["new reader, 1 click"].ndcg.mean()
    assert found["new reader, 3 authors named"].ndcg.mean() > 0
    assert {"new work, author and title", "new work, title alone"} <= set(found)
    shown, hidden = (found[f"work with readers{more}"].recall for more in ("", ", new ones not shown"))
    assert hidden.mean() >= shown.mean()


def test_a_row_tells_its_interval(rows: list[Row]) -> None:
    told = rows[0].to_json()
    assert told["recall_at_20"]["low"] <= told["recall_at_20"]["value"] <= told["recall_at_20"]["high"]
    assert told["readers"] == len(rows[0].recall)


def test_new_works_alone_keep_what_is_told_of_them_and_every_reader(data: Dataset) -> None:
    cold = made_cold(data, 3, strangers=0.0, less_told=False)
    assert (cold.new.sum(), cold.untold.any()) == (data.n_works // 10, False)
    assert not cold.data.rows(KNOWN).num_rows
    fitter = Fitter(OPTIONS)
    found = {row.tier: row for row in measure_new_works(["content_ease", "item_filter"], data, fitter)}
    assert set(found) == {"new work", "work with readers", "work with readers, new ones not shown"}
    assert found["new work"].recall.sum() == 0  # of the filter, the last: it knows no new work
    (content, *_) = measure_new_works(["content_ease"], data, fitter)
    assert content.recall.mean() > 0
