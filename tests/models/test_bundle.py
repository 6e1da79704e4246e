"""The bundle: checks at load, tiers, and what a list must hold to."""

from __future__ import annotations

import copy
import hashlib
import json
import mmap
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix, save_npz

from bookworks.contracts import bundle as names
from bookworks.errors import BundleError, ContractError
from bookworks.models.bundle import Blend, Bundle
from bookworks.models.bundle_files import (
    BundleParts,
    Ranker,
    _check_together,
    read_parts,
    write_bundle,
)
from bookworks.models.item_item import ItemItem, Marked, largest
from bookworks.models.ranker_features import about
from bookworks.models.reader import Context, Nearest, ReaderState
from bookworks.models.trees import Booster, Trees
from tests.support.bundles import make_tiny_bundle

WARM = ReaderState("r000", [0, 5, 10], [1.0, 0.4, 0.8], "18-24", "US")
SESSION = ReaderState("new", [0, 5])
TASTES = ReaderState("new", tastes=["Crime", "AUTHOR 3", "no such author"])
COLD = ReaderState("new", country="DE")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return Bundle.load(folder)


@pytest.mark.parametrize(
    ("state", "tier"),
    [(WARM, "warm"), (SESSION, "session"), (TASTES, "tastes"), (COLD, "cold"), (ReaderState(), "cold")],
)
def test_every_reader_gets_a_full_list_from_a_named_tier(bundle: Bundle, state: ReaderState, tier: str) -> None:
    found = bundle.recommend(state, 10)
    assert found.tier == tier
    assert len(found.indices) == len(set(found.indices)) == 10
    assert found.scores == sorted(found.scores, reverse=True)
    for score, sources in zip(found.scores, found.sources, strict=True):
        assert sum(sources.values()) == pytest.approx(score, abs=1e-5)


def test_tastes_are_met(bundle: Bundle) -> None:
    best = bundle.recommend(TASTES, 3).indices
    works = bundle.works.to_pylist()
    assert all("crime" in works[i]["subjects"] or works[i]["author"] == "Author 3" for i in best)


def test_a_taste_is_counted_once(bundle: Bundle) -> None:
    named = replace(TASTES, tastes=["Crime", "crime ", "AUTHOR 3"])
    once = replace(TASTES, tastes=["crime", "author 3"])
    assert bundle.recommend(named, 20) == bundle.recommend(once, 20)


@pytest.mark.parametrize("ranked", [True, False])
def test_named_tastes_stay_beside_the_first_clicks(bundle: Bundle, taught: Bundle, ranked: bool) -> None:
    plain = taught if ranked else bundle
    known = copy.copy(plain)
    known.blend = replace(plain.blend, named={1: 4.0, 3: 1.0})
    named = replace(SESSION, history=[0], weights=[1.0], tastes=["Author 3"])
    unnamed = replace(named, tastes=[])
    mine = [i for i, author in enumerate(known.works["author"].to_pylist()) if author == "Author 3"]
    with_tastes, without = known.recommend(named, 20), known.recommend(unnamed, 20)
    assert len(set(with_tastes.indices) & set(mine)) == len(mine)
    assert all(
        sources["tastes"] > 0 for i, sources in zip(with_tastes.indices, with_tastes.sources, strict=True) if i in mine
    )
    assert plain.recommend(named, 20) == plain.recommend(unnamed, 20) == without
    assert known.weights_of(replace(named, history=[0, 1], weights=[]))["tastes"] == 1.0
    assert "tastes" not in known.weights_of(replace(named, history=[0, 1, 2, 5], weights=[]))
    near = Nearest(known.encode_reader(named), np.arange(10))
    assert set(mine) <= set(known.pool(named, near, 5).tolist())


def test_where_more_is_named_than_known_the_blend_orders(taught: Bundle) -> None:
    known = copy.copy(taught)
    known.blend = replace(taught.blend, named={3: 4.0})
    state = replace(SESSION, history=[0], weights=[1.0], tastes=["Author 3", "poetry"])
    assert known.ranked(state, known.score(state)).candidates is None
    longer = replace(state, history=[0, 5], weights=[1.0, 1.0])
    assert known.ranked(longer, known.score(longer)).candidates is not None
    assert taught.ranked(state, taught.score(state)).candidates is not None


def test_weights_of_named_tastes_are_written_and_read(bundle: Bundle) -> None:
    blend = replace(bundle.blend, named={1: 4.0})
    assert Blend.from_json(json.loads(json.dumps(blend.to_json()))) == blend
    assert Blend.from_json({"tiers": {}, "history_share": {}}).named == {}


@pytest.mark.parametrize("state", [WARM, SESSION, TASTES, COLD])
def test_nothing_seen_or_excluded_and_all_the_rest(bundle: Bundle, state: ReaderState) -> None:
    exclude = {1, 2, 3}
    found = bundle.recommend(state, 1000, exclude).indices
    assert set(found) == set(range(len(bundle))) - exclude - set(state.history)


def test_a_click_changes_the_list(bundle: Bundle) -> None:
    before = bundle.recommend(SESSION, 10).indices
    after = bundle.recommend(replace(SESSION, history=[*SESSION.history, before[0]]), 10).indices
    assert after[:9] != before[1:]


def test_the_encoder_itself_knows_the_history(bundle: Bundle) -> None:
    encoder_alone = bundle.with_blend(replace(bundle.blend, history_share={"warm": 0.0, "session": 0.0}))
    vectors = [encoder_alone.encode_reader(replace(SESSION, history=history)) for history in ([], [0, 5], [1, 6])]
    assert vectors[1] @ bundle.item_vectors[10] > vectors[0] @ bundle.item_vectors[10]  # of the subject of 0 and 5
    assert not np.allclose(vectors[1], vectors[2])


def test_the_readers_country_decides_a_cold_list(bundle: Bundle) -> None:
    assert bundle.popular(COLD) != bundle.popular(replace(COLD, country="US"))
    assert bundle.popular(replace(COLD, country="atlantis")) == bundle.popular(ReaderState())


def test_the_readers_vector_has_length_one(bundle: Bundle) -> None:
    for state in (WARM, SESSION, COLD):
        vector = bundle.encode_reader(state)
        assert vector.shape == (8,)
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_item_filter_scores_are_the_weighted_rows(bundle: Bundle) -> None:
    dense = bundle.item_item["item_filter"].matrix.toarray()
    np.testing.assert_allclose(bundle.item_filter_scores([0, 5], [1.0, 0.4]), dense[0] + 0.4 * dense[5], rtol=1e-5)
    assert not bundle.item_filter_scores([], []).any()


def test_a_catalogue_of_one(tmp_path: Path) -> None:
    one = Bundle.load(make_tiny_bundle(tmp_path, n_works=1, n_readers=3))
    assert one.recommend(ReaderState("r000"), 5).indices == [0]
    assert one.recommend(ReaderState("x", [0]), 5).indices == []


def test_no_more_than_the_rule_allows_of_one_author(tmp_path: Path) -> None:
    bundle = Bundle.load(make_tiny_bundle(tmp_path, max_per_author=1))
    authors = [bundle.works["author_id"][i].as_py() for i in bundle.recommend(WARM, 10).indices]
    assert len(set(authors)) == 10


def test_a_wrong_call_is_said_in_words(bundle: Bundle) -> None:
    with pytest.raises(ContractError, match="too small"):
        bundle.recommend(WARM, 0)
    with pytest.raises(ContractError, match="No such work index"):
        bundle.recommend(ReaderState("x", [9999]), 5)
    with pytest.raises(ContractError, match="differ in length"):
        bundle.recommend(ReaderState("x", [1, 2], [0.5]), 5)


def test_editions_lead_to_works_by_id_and_isbn(bundle: Bundle) -> None:
    assert bundle.editions["w003-e1"] == bundle.editions["9780000000003"] == "w003"
    assert bundle.index_of["w003"] == 3


def test_former_ids_lead_to_the_work_that_they_were_merged_into(tmp_path: Path, bundle: Bundle) -> None:
    merged = Bundle.load(make_tiny_bundle(tmp_path, merged={3: 8, 4: 8}))
    assert [merged.work_ids[merged.index_of[one]] for one in ("w003", "w004", "w008", "w005")] == ["w008"] * 3 + [
        "w005"
    ]
    assert merged.former_ids[merged.index_of["w008"]] == ["w003", "w004"]
    assert merged.editions["w003-e1"] == "w008"
    assert not any(bundle.former_ids)


def test_a_bundle_from_before_the_history_of_works_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(parent, content, *rest):
        return write_bundle(parent, replace(content, works=content.works.drop_columns("former_ids")), *rest)

    monkeypatch.setattr("tests.support.bundles.write_bundle", without)
    assert Bundle.load(make_tiny_bundle(tmp_path)).former_ids == [[]] * 60


def test_similar_leaves_the_work_itself_out(bundle: Bundle) -> None:
    found = [i for i, _ in bundle.similar(7, 10)]
    assert 7 not in found
    assert len(found) == 10


@pytest.mark.parametrize("name", names.PARTS)
def test_an_altered_or_missing_part_is_refused(tmp_path: Path, name: str) -> None:
    folder = make_tiny_bundle(tmp_path)
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleError, match=f"altered.*{name}"):
        Bundle.load(folder)
    path.unlink()
    with pytest.raises(BundleError, match=f"incomplete.*{name}"):
        Bundle.load(folder)


def test_a_bundle_without_or_with_a_foreign_manifest_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path)
    path = folder / names.MANIFEST
    manifest = json.loads(path.read_text())
    for version in (1, 99):
        path.write_text(json.dumps(manifest | {"format_version": version}))
        with pytest.raises(BundleError, match="another format"):
            Bundle.load(folder)
    path.write_text("{")
    with pytest.raises(BundleError, match="not readable"):
        Bundle.load(folder)
    path.unlink()
    with pytest.raises(BundleError, match="no manifest"):
        Bundle.load(folder)


def renamed(former_ids: list[str]) -> pa.Table:
    """60 works, of which the first has these former ids."""
    former = pa.array([former_ids, *[None] * 59], pa.list_(pa.string()))
    return pa.table({"work_id": [f"w{i:03d}" for i in range(60)], "former_ids": former})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"works": renamed(["w001"])}, "former id"),
        ({"works": renamed(["old", "old"])}, "former id"),
        ({"item_vectors": np.full((60, 8), np.nan, np.float32)}, "finite"),
        ({"item_vectors": np.ones((59, 8), np.float32)}, "item vectors float32"),
        ({"item_vectors": np.ones((60, 9), np.float32)}, "do not fit"),
        ({"history_vectors": np.ones((59, 8), np.float32)}, "history vectors float32"),
        ({"history_vectors": np.ones((60, 9), np.float32)}, "Encoder and history vectors do not fit"),
        ({"history_vectors": np.full((60, 8), np.inf, np.float32)}, "history vectors finite"),
        ({"popularity": {"global": [0, 1], "age_bin": {}, "country": {}, "weights": {"global": 1}}}, "whole catalogue"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(
    tmp_path: Path, change: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_changed(parent, content, *rest):
        return write_bundle(parent, replace(content, **change), *rest)

    monkeypatch.setattr("tests.support.bundles.write_bundle", write_changed)
    folder = make_tiny_bundle(tmp_path)
    with pytest.raises(BundleError, match=said):
        Bundle.load(folder)


def test_the_same_content_has_the_same_version_and_is_not_written_twice(tmp_path: Path) -> None:
    first = make_tiny_bundle(tmp_path / "a")
    assert make_tiny_bundle(tmp_path / "b").name == first.name
    assert make_tiny_bundle(tmp_path / "c", seed=8).name != first.name
    with pytest.raises(BundleError, match="never written twice"):
        make_tiny_bundle(tmp_path / "a")


def as_it_was(folder: Path, bundle: Bundle, old: Path, version: int, packed: dict[str, str], gone: set[str]) -> None:
    """Write a bundle as an older version did: its item-item models each in one file, under the names of `packed`."""
    shutil.copytree(folder, old)
    manifest = json.loads((old / names.MANIFEST).read_text())
    for name in bundle.item_item:
        gone |= set(names.item_item_parts(name))
    for name, file in packed.items():
        save_npz(old / file, bundle.item_item[name].matrix, compressed=False)
        content = (old / file).read_bytes()
        manifest["parts"][file] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    for part in gone:
        (old / part).unlink()
        del manifest["parts"][part]
    (old / names.MANIFEST).write_text(json.dumps(manifest | {"format_version": version}))


def test_bundles_of_older_formats_still_serve(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    first, second = tmp_path / "2" / folder.name, tmp_path / "3" / folder.name
    as_it_was(folder, bundle, first, names.ONE_MODEL, {"item_filter": names.OLDER_ITEM_FILTER}, {names.FACTS})
    manifest = json.loads((first / names.MANIFEST).read_text())
    (first / names.BLEND).rename(first / names.RANKER)
    manifest["parts"][names.RANKER] = manifest["parts"].pop(names.BLEND)
    (first / names.MANIFEST).write_text(json.dumps(manifest))
    packed = {name: names.packed_part(name) for name in bundle.item_item}
    as_it_was(folder, bundle, second, names.PACKED, packed, set())
    for old in (first, second):
        loaded = Bundle.load(old)
        for state in (WARM, SESSION, TASTES, COLD):
            assert loaded.recommend(state, 10) == bundle.recommend(state, 10)
    (first / names.OLDER_ITEM_FILTER).unlink()
    with pytest.raises(BundleError, match="incomplete"):
        Bundle.load(first)


@pytest.mark.parametrize(("array", "value"), [("indices", 60), ("indices", -1), ("indptr", 10**6), ("indptr", -9)])
def test_an_entry_that_leads_out_of_the_catalogue_is_refused(
    folder: Path, tmp_path: Path, array: str, value: int
) -> None:
    other = tmp_path / folder.name
    shutil.copytree(folder, other)
    part = f"item_item_item_filter.{array}.npy"
    values = np.load(other / part)
    values[3] = value
    np.save(other / part, values)
    manifest = json.loads((other / names.MANIFEST).read_text())
    manifest["parts"][part]["sha256"] = hashlib.sha256((other / part).read_bytes()).hexdigest()
    (other / names.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(other)


@pytest.mark.parametrize("history", [[60], [-1], [10**9]])
def test_a_history_that_leads_out_of_the_catalogue_is_refused(bundle: Bundle, history: list[int]) -> None:
    state, model = ReaderState("x", history), bundle.item_item["item_filter"]
    near = Nearest(np.ones(8, np.float32), np.array([1]))
    with pytest.raises(ContractError, match="No such work"):
        bundle.pool(state, near, 10)
    with pytest.raises(ContractError, match="No such work"):
        model.scores(history, [1.0])
    with pytest.raises(ContractError, match="differ in length"):
        model.scores([1, 2, 3], [1.0])
    for read, works in ((history, [1]), ([1], history)):
        with pytest.raises(ContractError, match="No such work"):
            largest(model.matrix, read, np.array(works))


def test_scores_of_an_item_item_model_are_the_product(bundle: Bundle) -> None:
    rng = np.random.default_rng(4)
    for matrix in (bundle.item_item["item_filter"].matrix, bundle.item_item["item_filter"].matrix.astype(np.float64)):
        model, history, weights = ItemItem(matrix), rng.permutation(60)[:9].tolist(), rng.random(9)
        expected = weights @ matrix[history].toarray()
        np.testing.assert_allclose(model.scores(history, weights.tolist()), expected, rtol=1e-5)
        marked = Marked(60)
        marked.add(np.array([7, 3, 7]))
        model.mark(history, marked)
        np.testing.assert_array_equal(marked.rising, np.union1d(np.flatnonzero(expected), [3, 7]))
        np.testing.assert_array_equal(marked.rising, np.flatnonzero(marked.flags))
        places = np.cumsum(marked.flags, dtype=np.int32) - 1
        some = model.scores(history, weights.tolist(), (places, int(marked.flags.sum())))
        np.testing.assert_allclose(some, expected[marked.flags], rtol=1e-5)
        assert not model.scores([], []).any()


def test_item_item_models_are_mapped_not_read(bundle: Bundle) -> None:
    for model in bundle.item_item.values():
        for array in names.ARRAYS:
            found = getattr(model.matrix, array)
            while not isinstance(found, mmap.mmap):
                assert found is not None, f"{array} was copied into memory"
                found = found.base


@pytest.fixture(scope="module")
def taught_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("taught"), ranker=True)


@pytest.fixture(scope="module")
def taught(taught_folder: Path) -> Bundle:
    return Bundle.load(taught_folder)


@pytest.mark.parametrize("state", [WARM, SESSION])
def test_the_ranker_orders_the_candidates_and_the_blend_the_rest(taught: Bundle, state: ReaderState) -> None:
    blend = taught.with_blend(taught.blend)
    ranked, blended = (one.recommend(state, 60).indices for one in (taught, blend))
    n = taught.ranker.candidates
    assert ranked[:n] != blended[:n]
    assert set(ranked[:n]) == set(blended[:n])
    assert ranked[n:] == blended[n:]
    scores = taught.recommend(state, 60).scores
    assert scores == sorted(scores, reverse=True)


def test_candidates_are_in_the_order_of_the_trees(taught: Bundle) -> None:
    found = taught.candidates(WARM, taught.ranker.candidates)
    values = dict(zip(found.works.tolist(), taught.ranker.trees.scores(found.rows).tolist(), strict=True))
    shown = [values[i] for i in taught.recommend(WARM, len(values)).indices]
    assert shown == sorted(values.values(), reverse=True)


def test_what_each_feature_adds_sums_to_what_the_candidates_are_ordered_by(taught: Bundle) -> None:
    order = taught.ranked(WARM, taught.score(WARM))
    works = taught.recommend(WARM, taught.ranker.candidates + 1).indices
    *told, beyond = taught.explained(order, works)
    assert beyond is None  # the blend has put it there
    assert set(told[0].contributions) == {*taught.feature_names, "base", "new_work"}
    sums = np.array([sum(one.contributions.values()) for one in told])
    steps = np.array([order.total[i] for i in works[:-1]])
    np.testing.assert_allclose(sums - sums[0], steps - steps[0], atol=1e-4)
    assert [one.probability for one in told] == sorted((one.probability for one in told), reverse=True)
    assert taught.explained(taught.ranked(COLD, taught.score(COLD)), [0, 1]) == [None, None]


@pytest.mark.parametrize("state", [TASTES, COLD])
def test_without_a_history_the_ranker_has_nothing_to_say(taught: Bundle, state: ReaderState) -> None:
    blend = taught.with_blend(taught.blend)
    assert taught.recommend(state, 20) == blend.recommend(state, 20)


def test_what_is_hidden_takes_no_place_among_the_candidates(taught: Bundle) -> None:
    best = taught.recommend(WARM, 5).indices
    found = taught.recommend(WARM, taught.ranker.candidates, set(best)).indices
    assert not set(found) & set(best)
    assert len(found) == taught.ranker.candidates


def test_the_ranker_sees_the_same_when_a_vector_index_finds_the_nearest(taught: Bundle, monkeypatch) -> None:
    monkeypatch.setattr("bookworks.models.bundle.BY_OTHERS", 30)
    assert taught.blend.tiers["warm"]["vectors"]
    vector = taught.encode_reader(WARM)
    near = Nearest(vector, np.argsort(-(taught.item_vectors @ vector))[:10])
    one, two = (taught.ranked(WARM, taught.score(WARM, nearest)).candidates for nearest in (None, near))
    assert one.works.tolist() == two.works.tolist()
    np.testing.assert_allclose(one.rows, two.rows, atol=1e-5)
    monkeypatch.setattr("bookworks.models.bundle.BY_OTHERS", 1)
    few = taught.ranked(WARM, taught.score(WARM, near)).candidates
    assert few.works.tolist() != one.works.tolist()  # so the works taken beside the nearest are needed


@pytest.fixture(scope="module")
def pauses(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose trees were taught three features: after four days works of many readers come before others."""
    folder = make_tiny_bundle(tmp_path_factory.mktemp("pauses"), ranker=True)
    manifest, parts = read_parts(folder)
    plain = Bundle(manifest, replace(parts, ranker=None))
    columns = [plain.feature_names.index(name) for name in ("item_filter_score", "readers", "idle_days")]
    works = plain.candidates(WARM, 20).works
    many = np.percentile(plain.facts.log_readers[works], 70)  # no half: a feature without gain alone is never looked at
    asked = [(days, plain.candidates(after(days), 20).rows[:, columns]) for days in range(1, 13) for _ in range(9)]
    read = [(rows[:, 1] > many) == (days > 4) for days, rows in asked]
    names = [plain.feature_names[column] for column in columns]
    data = lgb.Dataset(np.concatenate([rows for _, rows in asked]), np.concatenate(read), feature_name=names)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 8}
    trees = Trees((Booster(lgb.train(params, data, 20).model_to_string()),))
    return Bundle(manifest, replace(parts, ranker=Ranker(trees, 20)))


def after(days: int) -> ReaderState:
    return replace(WARM, context=Context(idle_days=float(days)))


def test_the_order_heeds_when_books_are_asked_for(pauses: Bundle) -> None:
    readers = pauses.facts.readers
    late, soon = (pauses.recommend(after(days), 10).indices for days in (7, 4))
    assert readers[late].mean() > readers[soon].mean()
    assert set(pauses.recommend(after(7), 20).indices) == set(pauses.recommend(after(4), 20).indices)


def test_trees_that_were_taught_fewer_features_serve(pauses: Bundle) -> None:
    order = pauses.ranked(WARM, pauses.score(WARM))
    (told,) = pauses.explained(order, pauses.recommend(WARM, 1).indices)
    assert set(told.contributions) == {"item_filter_score", "readers", "idle_days", "base", "new_work"}


@pytest.mark.parametrize(("label", "age"), [("25-34", 25.0), ("65+", 65.0), ("5-17", 5.0), (None, np.nan)])
def test_what_the_ranker_knows_of_reader_and_request(label: str | None, age: float) -> None:
    now = datetime(2026, 7, 1, 0, 30, tzinfo=UTC)
    told = about(ReaderState(age_bin=label, context=Context.at(now, now - timedelta(days=3, hours=23))))
    np.testing.assert_array_equal([told["age"][0], told["idle_days"][0]], [age, 3.0])
    late = Context.at(now, now + timedelta(hours=1))  # a clock that is ahead
    assert (late.idle_days, np.isnan(Context.at(now, None).idle_days)) == (0.0, True)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A larger catalogue, so that a pool is a part of it."""
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("wide"), n_works=900, ranker=True))


def near_to(bundle: Bundle, state: ReaderState, n: int = 15) -> Nearest | None:
    if not bundle.blend.tiers[bundle.tier_of(state)].get("vectors"):
        return None
    vector = bundle.encode_reader(state)
    return Nearest(vector, np.argsort(-(bundle.item_vectors @ vector))[:n])


@pytest.mark.parametrize("ranker", [True, False])
@pytest.mark.parametrize("state", [WARM, SESSION, TASTES, COLD, replace(WARM, age_bin=None, country="DE")])
def test_a_pool_gives_the_lists_of_the_whole_catalogue(
    wide: Bundle, state: ReaderState, ranker: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bookworks.models.bundle.BY_OTHERS", 40)
    bundle = wide if ranker else wide.with_blend(wide.blend)
    near, hidden = near_to(bundle, state), set(bundle.recommend(state, 7).indices)
    n = 30
    pool = bundle.pool(state, near, n + len(hidden) + len(state.history))
    assert pool is not None
    assert pool.size < len(bundle)
    whole, part = (bundle.score(state, near, works=works) for works in (None, pool))
    one, two = (bundle.ranked(state, scored, hidden) for scored in (whole, part))
    assert one.first(n) == two.first(n)
    assert not hidden & set(two.first(n))
    at = np.searchsorted(pool, two.first(n))
    for name, added in part.added.items():
        np.testing.assert_allclose(added[at], whole.added[name][two.first(n)], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(two.total[at], one.total[two.first(n)], rtol=1e-5)


def test_where_only_some_may_be_shown_the_pool_has_the_most_popular_of_these(wide: Bundle) -> None:
    shown = np.zeros(len(wide), dtype=bool)
    shown[wide.popular(COLD)[-50:]] = True
    pool = wide.pool(COLD, None, 60, shown)
    assert set(wide.popular(COLD)[-50:]) <= set(pool.tolist())


def test_sources_without_weight_are_not_asked_of_a_pool(wide: Bundle) -> None:
    with pytest.raises(ContractError, match="whole catalogue"):
        wide.score(WARM, near_to(wide, WARM), every=True, works=np.arange(5))


def test_without_a_vector_index_there_is_no_pool_for_who_needs_one(wide: Bundle) -> None:
    assert wide.blend.tiers["warm"]["vectors"]
    assert wide.pool(WARM, None, 30) is None


def test_a_ranker_of_other_features_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "one", ranker=True)
    manifest, parts = read_parts(folder)
    fewer = replace(parts, item_item={"item_filter": parts.item_item["item_filter"]})
    with pytest.raises(BundleError, match="taught other features"):
        Bundle(manifest, fewer)


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (lambda parts: {"ranker": replace(parts.ranker, candidates=0)}, "a ranker of one candidate"),
        (lambda parts: {"ranker": with_trees(parts, new_bonus=float("nan"))}, "finite constants"),
        (lambda parts: {"facts": replace(parts.facts, year=parts.facts.year[:-1])}, "facts of 60 works"),
        (lambda parts: {"facts": replace(parts.facts, group={})}, "facts of 60 works"),
        (lambda parts: {"blend": with_tiers(parts, {"warm": {"item_filter": 1.0}})}, "for every tier"),
        (lambda parts: {"blend": with_tiers(parts, parts.blend["tiers"] | {"cold": {"magic": 1.0}})}, "known sources"),
        (lambda parts: {"blend": with_tiers(parts, parts.blend["tiers"] | {"cold": {"popularity": float("nan")}})}, ""),
        (lambda parts: {"item_item": {"same_author": parts.item_item["same_author"]}}, "item_filter among them"),
        (lambda parts: {"item_item": parts.item_item | {"odd": ItemItem(csr_matrix((3, 3)))}}, "item-item models"),
        (lambda parts: {"item_item": parts.item_item | {"odd": ItemItem(nan_matrix(60))}}, "finite"),
    ],
)
def test_models_and_facts_that_do_not_fit_together_are_refused(taught_folder: Path, change, claim: str) -> None:
    manifest, parts = read_parts(taught_folder)
    _check_together(manifest, parts)
    with pytest.raises(BundleError, match=f"do not fit together.*{claim}"):
        _check_together(manifest, replace(parts, **change(parts)))


def with_trees(parts: BundleParts, **changes: object) -> Ranker:
    return replace(parts.ranker, trees=replace(parts.ranker.trees, **changes))


def with_tiers(parts: BundleParts, tiers: dict) -> dict:
    return parts.blend | {"tiers": tiers}


def nan_matrix(n: int) -> csr_matrix:
    return csr_matrix(([np.nan], ([0], [1])), shape=(n, n))


def test_trees_that_the_manifest_does_not_list_are_not_read(taught_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / taught_folder.name
    shutil.copytree(taught_folder, folder)
    manifest = json.loads((folder / names.MANIFEST).read_text())
    del manifest["parts"][names.trees_part(0)]
    (folder / names.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="in its manifest"):
        Bundle.load(folder)


def test_new_works_get_the_bonus_of_the_ranker(taught_folder: Path) -> None:
    manifest, parts = read_parts(taught_folder)
    plain = Bundle(manifest, parts)
    last = plain.recommend(WARM, plain.ranker.candidates).indices[-1]
    readers = parts.facts.readers.copy()
    readers[last] = 0
    bonus = Bundle(
        manifest, replace(parts, ranker=with_trees(parts, new_bonus=50.0), facts=replace(parts.facts, readers=readers))
    )
    assert bonus.recommend(WARM, 1).indices == [last]
    (told,) = bonus.explained(bonus.ranked(WARM, bonus.score(WARM)), [last])
    assert told.contributions["new_work"] == 50.0


def test_the_second_form_of_the_trees_in_an_older_bundle_is_passed_over(taught_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / taught_folder.name
    shutil.copytree(taught_folder, folder)
    told = json.dumps(json.loads((folder / names.RANKER).read_text()) | {"graph": True}).encode()
    manifest = json.loads((folder / names.MANIFEST).read_text())
    for part, content in (("trees.onnx", b"a graph"), (names.RANKER, told)):
        (folder / part).write_bytes(content)
        manifest["parts"][part] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / names.MANIFEST).write_text(json.dumps(manifest))
    assert Bundle.load(folder).recommend(WARM, 5).indices == Bundle.load(taught_folder).recommend(WARM, 5).indices


def test_a_lost_tree_is_noticed(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path, ranker=True)
    (folder / names.trees_part(0)).unlink()
    with pytest.raises(BundleError, match="incomplete"):
        Bundle.load(folder)


def test_loading_needs_neither_torch_nor_pandas_nor_mlflow(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path, ranker=True)
    code = f"""
import sys
from pathlib import Path

class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("torch", "pandas", "mlflow", "onnx", "sentence_transformers", "sklearn"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from bookworks.models.bundle import Bundle, ReaderState
bundle = Bundle.load(Path({str(folder)!r}))
print(bundle.recommend(ReaderState("r000", [0]), 3).tier, bundle.ranker is not None, "lightgbm" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "warm True False"
