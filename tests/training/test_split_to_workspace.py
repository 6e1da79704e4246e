"""A split of files through the stages that make what serves: item-item models, blend, ranker, evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from tests.support.datasets import make_dataset, with_titles
from training import (
    evaluate,
    refit,
    train_als,
    train_gnn,
    train_item_item,
    train_popularity,
    train_ranker,
    train_two_tower,
)
from training.assemble import assemble_draft, drafted
from training.blend import as_sessions
from training.dataset import TEST, TRAIN, VALID, load_dataset
from training.files import EVALUATION, METRICS, RANKER, SERVING, TEACHING, TITLES, read_json
from training.held_out import make_held_out
from training.linear_filter import linear_item_filter
from training.params import Options, load_params
from training.recommenders.floors import PopularityParams, PopularityRecommender
from training.split_to_workspace import STAGES, with_valid, write

MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        train_item_item,
        train_als,
        train_popularity,
        train_two_tower,
        train_gnn,
        train_ranker,
        refit,
        evaluate,
    )
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    data = with_titles(make_dataset(n_readers=150)).merged(VALID, TRAIN)
    write(with_valid(data, 1), folder)
    params = folder / "params.yaml"
    text = params.read_text()
    quick = {
        "dim: 64": "dim: 8",
        "epochs: 20": "epochs: 2",
        "min_rows: 500": "min_rows: 5",
        "surely: 2.0": "surely: 0.0",
    }
    for old, new in quick.items():
        assert old in text
        text = text.replace(old, new)
    params.write_text(text)
    return folder


def test_every_stage_runs_and_the_ranker_is_told_of(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    data = load_dataset(titles=TITLES)
    assert all(data.rows(part).num_rows for part in (TRAIN, VALID, TEST))
    for stage in STAGES:
        MODULES[stage].main()
        assert read_json(METRICS / f"{stage}.json")
    models = {row["model"] for row in read_json(EVALUATION)["rows"]}
    assert {"random", "item_filter", "content_ease", "same_author", "blend", "ranker"} <= models
    report = read_json(RANKER / "report.json")
    assert report["trees"] > 0
    bundle = evaluate.finished_bundle(data)
    assert bundle.ranker is not None
    assert bundle.ranker.trees.names == [name for name in bundle.feature_names if name != "idle_days"]


def test_sources_know_the_held_out_rows_when_they_serve_and_not_when_they_teach(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(workspace)
    data = load_dataset()
    held = data.matrix(VALID) > 0
    assert (held.multiply(data.matrix(TRAIN) > 0)).nnz == 0
    draft, serving = drafted(assemble_draft(data)), evaluate.finished_bundle(data)
    of_filter = load_params("train_item_item", train_item_item.ItemItemParams).item_filter
    of_popularity = load_params("train_popularity", PopularityParams)
    for bundle, files, parts in ((draft, TEACHING, (TRAIN,)), (serving, SERVING, (TRAIN, VALID))):
        learned = data.matrix(*parts)
        np.testing.assert_array_equal(bundle.facts.readers, np.bincount(learned.indices, minlength=data.n_works))
        expected = linear_item_filter(learned, of_filter.reader_power, of_filter.work_power, 100, of_filter.max_history)
        np.testing.assert_allclose(bundle.item_item["item_filter"].matrix.toarray(), expected.toarray(), rtol=1e-5)
        rows = replace(data.replaced(data.rows(*parts)).merged(VALID, TRAIN), n_trained=data.n_readers)
        PopularityRecommender.fit(rows, of_popularity, Options()).save(tmp_path)
        assert read_json(files.popularity / "popularity.json") == read_json(tmp_path / "popularity.json")
    assert len(draft.users) == len(serving.users) == data.n_trained


def test_a_session_is_not_taught_that_what_was_read_before_is_not_liked(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    data = load_dataset()
    bundle = evaluate.finished_bundle(data)
    known = train_ranker.teachers(make_held_out(data, (TRAIN,), VALID, 0.4, 100), 10)
    sessions = as_sessions(known.states, 2)
    asked = []
    candidates = type(bundle).candidates

    def seen(self, state, n, hidden=()):
        found = candidates(self, state, n, hidden)
        asked.append(set(found.works.tolist()))
        return found

    monkeypatch.setattr(type(bundle), "candidates", seen)
    names = bundle.feature_names
    taught = train_ranker.lesson(bundle, sessions, known, 10, names)
    assert len(taught) == len(known) > 0
    assert any(len(state.history) > 2 for state in known.states)
    for works, state in zip(asked, known.states, strict=True):
        assert len(works) == 10
        assert not works & set(state.history)
    fewer = train_ranker.lesson(bundle, sessions, known, 10, [name for name in names if name != "age"])
    np.testing.assert_array_equal(fewer.rows, np.delete(taught.rows, names.index("age"), axis=1))


@pytest.mark.parametrize("k", [1, 3, 50])
def test_the_strongest_entries_of_each_row_are_kept(k: int) -> None:
    dense = np.random.default_rng(0).normal(size=(2100, 20)).astype(np.float32)
    found = train_item_item.strongest(dense, k).toarray()
    for row, kept in zip(dense[::300], found[::300], strict=True):
        expected = np.where(np.isin(np.arange(20), np.argsort(-row)[:k]), np.maximum(row, 0.0), 0.0)
        np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(train_item_item.strongest(sparse.csr_matrix(dense), k).toarray(), found)
