"""Titles, tuning, blend, popularity lists, snapshot files: the parts of the stages that need no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from bookworks.models.bundle import Bundle
from bookworks.models.reader import ReaderState
from tests.support.bundles import SUBJECTS, make_tiny_bundle
from tests.support.datasets import make_dataset, with_titles
from training import embed_titles
from training.blend import BlendGrid, choose_blend, choose_named
from training.embed_titles import EmbeddingCache, EmbedParams, embed
from training.histories import Histories
from training.losses import log_inclusion, sampled_softmax
from training.params import Options
from training.popular_lists import popularity_lists
from training.recommenders.two_tower import TwoTowerParams
from training.snapshot import save
from training.tune_two_tower import TuneParams, best_of, open_study, search
from training.vector_fit import SampledSoftmax, VectorParams, among

OPTIONS = Options(threads=1)


def test_only_new_titles_are_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def fake_encode(texts, params, threads):
        asked.append(texts)
        return np.array([[len(text)] * 4 for text in texts], dtype=np.float16)

    monkeypatch.setattr(embed_titles, "_encode", fake_encode)
    embed(["one", "three", "one"], EmbeddingCache(tmp_path, 24), EmbedParams(), 1)
    vectors, new = embed(["three", "fifteen", ""], EmbeddingCache(tmp_path, 24), EmbedParams(), 1)
    assert asked == [["one", "three"], ["fifteen", ""]]
    assert new == 2
    assert vectors[:, 0].tolist() == [5, 7, 0]
    assert not list(tmp_path.glob("*.tmp"))


def test_similar_titles_have_similar_embeddings(tmp_path: Path) -> None:
    titles = ["The history of Rome", "A history of ancient Rome", "Cooking with chocolate"]
    vectors, _ = embed(titles, EmbeddingCache(tmp_path, 24), EmbedParams(), 1)
    cosines = vectors.astype(np.float32) @ vectors.astype(np.float32).T
    assert vectors.shape == (3, embed_titles.TITLE_DIM)
    assert cosines[0, 1] > 0.6 > cosines[0, 2]


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    data = with_titles(make_dataset())
    base = TwoTowerParams(dim=8, batch_size=64, min_readers=2)
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    tried: list[list[tuple[float, ...]]] = []

    def run(trials: int) -> dict[str, Any]:
        params = TuneParams(trials=trials, epochs=1)
        study = open_study(storage, "s", params, base, 1)
        search(data, params, base, OPTIONS, study)
        found = best_of(study)
        tried.append([tuple(trial.params.values()) for trial in study.trials])
        study._storage._backend.engine.dispose()
        return found

    assert run(2)["trials"] == {"complete": 2}
    found = run(4)
    assert sum(found["trials"].values()) == 4
    assert tried[0] == tried[1][:2]
    assert len(set(tried[1])) == 4
    assert set(found["params"]) == {"learning_rate", "temperature", "popularity_power"}


def test_the_logq_correction_takes_the_frequency_out_of_each_candidate() -> None:
    torch.manual_seed(0)
    readers, works = (torch.nn.functional.normalize(torch.randn(n, 4), dim=1) for n in (3, 5))
    log_q = torch.log(torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]))
    owner, column, weights = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 4, 0, 3]), torch.tensor([1.0, 2.0, 0.5, 1.0])
    expected = 0.0
    for row, target, weight in zip(owner.tolist(), column.tolist(), weights.tolist(), strict=True):
        logits = [float(readers[row] @ works[j]) / 0.2 - float(log_q[j]) for j in range(5)]
        expected += weight * (np.log(np.sum(np.exp(logits))) - logits[target])
    found = sampled_softmax(readers @ works.T / 0.2, log_q, owner, column, weights)
    assert float(found) == pytest.approx(expected / float(weights.sum()), rel=1e-5)


def test_the_chance_to_be_a_candidate_is_that_of_many_draws() -> None:
    frequency = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    rng = np.random.default_rng(0)
    targets = rng.choice(4, (20_000, 3), p=frequency.numpy())
    drawn = np.hstack([targets, rng.integers(4, size=(20_000, 2))])
    share = [(drawn == work).any(axis=1).mean() for work in range(4)]
    np.testing.assert_allclose(log_inclusion(frequency, 3, 2, 4).exp(), share, atol=0.01)


def test_a_target_is_never_in_the_history_it_is_looked_for_with() -> None:
    data = make_dataset()
    torch.manual_seed(0)
    readers = torch.arange(data.n_trained)
    draw = Histories(data, 0.0, 0.0).draw(readers, 0.3)
    likings = data.train()
    for r in readers.tolist():
        start, stop = [*draw.known.starts.tolist(), len(draw.known.works)][r : r + 2]
        known, targets = draw.known.works[start:stop].tolist(), draw.targets[draw.owner == r].tolist()
        assert targets
        assert sorted(known + targets) == sorted(likings[[r]].indices.tolist())
        liking = likings[[r]].toarray()[0, known]
        np.testing.assert_allclose(draw.known.weights[start:stop], liking / np.sqrt(liking.sum()), rtol=1e-5)


def test_what_a_reader_has_read_is_no_hard_negative() -> None:
    data = make_dataset()
    torch.manual_seed(0)
    known = Histories(data, 0.0, 0.0).draw(torch.arange(data.n_trained), 0.3).known
    works = torch.arange(1, data.n_works, 2)
    bounds = [*known.starts.tolist(), len(known.works)]
    for reader, row in enumerate(among(known, works).tolist()):
        read = set(known.works[bounds[reader] : bounds[reader + 1]].tolist())
        assert [work for work, there in zip(works.tolist(), row, strict=True) if there] == sorted(
            read & set(works.tolist())
        )


def test_hard_negatives_are_those_that_a_reader_of_the_batch_likes_best() -> None:
    data = make_dataset()
    torch.manual_seed(0)
    readers, works = torch.eye(data.n_works)[: data.n_trained], torch.eye(data.n_works)
    task = SampledSoftmax(
        lambda rows, known, some: (readers[rows], works[some]),
        data,
        VectorParams(uniform_negatives=5 * data.n_works, hard_negatives=1),
    )
    found = {}
    for reader in range(min(data.n_trained, data.n_works)):
        draw = task.histories.draw(torch.tensor([reader]), 0.3)
        read = reader in draw.known.works or reader in draw.targets
        found[read] = task._hard(torch.tensor([reader]), draw).tolist() == [reader]
    assert found == {True: False, False: True}
    assert torch.isfinite(task(torch.arange(4)))


def test_a_rows_weight_halves_with_each_half_life_of_newer_rows() -> None:
    data = make_dataset()
    timeless, timed = (Histories(data, 0.0, half_life) for half_life in (0.0, 2.0))
    ratio = (timed._weights / timeless._weights)[: int(timed._counts[0])]
    np.testing.assert_allclose(ratio.numpy(), 0.5 ** (np.arange(len(ratio))[::-1] / 2.0), rtol=1e-5)


def test_the_blend_follows_the_source_that_knows(tmp_path: Path) -> None:
    bundle = Bundle.load(make_tiny_bundle(tmp_path))
    rng = np.random.default_rng(0)
    states, relevant = [], []
    for reader in range(30):
        own = rng.permutation(np.arange(reader % len(SUBJECTS), 60, len(SUBJECTS))).tolist()
        states.append(ReaderState(f"r{reader:03d}", own[:4], [1.0] * 4))
        relevant.append(own[4:7])
    blend, choices = choose_blend(bundle, states, relevant, BlendGrid(), 2)
    assert choices["warm"].valid_ndcg_at_20 > 0.2
    assert blend.tiers["warm"]["popularity"] <= 0.2
    assert set(blend.tiers) == {"warm", "session", "tastes", "cold"}
    named = choose_named(bundle.with_blend(blend), states, relevant, BlendGrid())
    assert list(named) == [1, 3, 5]
    assert sorted(named.values(), reverse=True) == list(named.values())
    assert named[1] > 0  # readers here read works of one subject, a fifteenth of them by the same author
    assert named[3] == 0  # nobody has read as many works as three clicks and three authors take
    nobody, _ = choose_blend(bundle, [], [], BlendGrid(), 2)
    assert nobody.tiers["warm"]["item_filter"] == 1.0


def test_popularity_lists_count_their_own_segment() -> None:
    data = make_dataset()
    ages, countries = data.labels("age_bin"), data.labels("country")
    train = data.train()
    lists = popularity_lists(
        train,
        age_bins=ages[: data.n_trained],
        countries=countries[: data.n_trained],
        weights={"global": 1.0, "age_bin": 1.0, "country": 1.0},
        min_readers=2,
        segment_length=5,
    )
    assert sorted(lists["global"]) == list(range(data.n_works))
    germans = np.flatnonzero(np.array(countries[: data.n_trained]) == "germany")
    totals = train[germans].toarray().sum(axis=0)
    assert lists["country"]["germany"] == np.argsort(-totals, kind="stable")[:5].tolist()


def test_the_same_rows_give_the_same_snapshot_id(tmp_path: Path) -> None:
    table = pa.table({"user_id": ["a", "b"]})
    one, two = save({"readers": table}, tmp_path / "1"), save({"readers": table}, tmp_path / "2")
    other = save({"readers": table.slice(0, 1)}, tmp_path / "3")
    assert one == two != other
