"""The contract of a vector store, held by Qdrant's engine in this process and by its client."""

import os
import threading
import time

import numpy as np
import pytest
from qdrant_client import QdrantClient

from bookworks.adapters import qdrant
from bookworks.adapters.qdrant import EdgeStore, ServerStore, drop_old
from bookworks.contracts.bundle import VECTOR_ALIAS, vector_collection
from bookworks.errors import TerminalError, TransientError
from bookworks.models.bundle import Bundle
from bookworks.settings import Settings
from indexing.bundle_to_qdrant import payloads, publish
from tests.support.bundles import make_tiny_bundle

# A client of `:memory:` searches exactly, and says that it heeds no parameters of a search.
pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
N, DIM = 300, 16


@pytest.fixture
def vectors():
    raw = np.random.default_rng(1).normal(size=(N, DIM)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


@pytest.fixture(params=["edge", "server"])
def store(request, tmp_path):
    return EdgeStore(tmp_path / "vectors") if request.param == "edge" else ServerStore(QdrantClient(":memory:"))


def fill(store, name, vectors):
    store.create(name, vectors, [{"work_id": f"w{i}"} for i in range(len(vectors))])


def test_the_nearest_are_found_best_first_by_row(store, vectors):
    fill(store, "works_1", vectors)
    collection = store.open("works_1")
    assert collection.size == N
    ids, scores = collection.search(vectors[7], 10)
    exact = vectors @ vectors[7]
    assert ids.tolist() == np.argsort(-exact)[:10].tolist()
    assert scores == pytest.approx(exact[ids], abs=1e-5)
    assert collection.search(vectors[7], 10 * N)[0].size == N
    collection.close()


def test_an_alias_moves_in_one_step_and_opens_like_a_name(store, vectors):
    fill(store, "works_1", vectors[:10])
    fill(store, "works_2", vectors[:20])
    assert store.target("works") is None
    assert store.open("works") is None
    store.alias("works", "works_1")
    assert store.open("works").size == 10
    store.alias("works", "works_2")
    assert store.target("works") == "works_2"
    assert store.open("works").size == 20


def test_a_collection_of_the_same_name_is_replaced(store, vectors):
    fill(store, "works_1", vectors[:10])
    fill(store, "works_1", vectors[:20])
    assert store.open("works_1").size == 20
    assert store.names() == ["works_1"]


def test_the_oldest_are_dropped_but_never_what_is_spared(store, vectors):
    for name in ("works_b", "works_a", "works_c", "other"):
        fill(store, name, vectors[:5])
        time.sleep(0.002)
    assert store.names() == ["works_b", "works_a", "works_c", "other"]
    assert drop_old(store, "works_", 2, spare={"works_b"}) == []
    assert drop_old(store, "works_", 2, spare=set()) == ["works_b"]
    assert store.names() == ["works_a", "works_c", "other"]
    store.drop("works_b")


def test_what_is_not_there(store):
    assert store.open("nothing") is None
    assert store.names() == []
    with pytest.raises(TerminalError):
        store.create("../up", np.zeros((1, DIM), np.float32), [{}])


def test_a_bundle_is_published_repeatedly_and_the_last_two_stay(store, tmp_path):
    bundles = [Bundle.load(make_tiny_bundle(tmp_path, seed=seed)) for seed in (1, 2, 3)]
    names = [vector_collection(bundle.manifest.version) for bundle in bundles]
    assert publish(store, bundles[0], set()) == []
    assert publish(store, bundles[0], set()) == []
    assert publish(store, bundles[1], set()) == []
    assert publish(store, bundles[2], {names[0]}) == []
    assert publish(store, bundles[2], set()) == [names[0]]
    assert store.target(VECTOR_ALIAS) == names[2]
    assert store.names() == names[1:]
    ids, _ = store.open(VECTOR_ALIAS).search(bundles[2].item_vectors[3], 1)
    assert ids.tolist() == [3]
    assert payloads(bundles[2])[3] == {"work_id": "w003", "title": "Title 3"}


def test_a_collection_cut_short_is_written_again(tmp_path):
    store, bundle = EdgeStore(tmp_path / "v"), Bundle.load(make_tiny_bundle(tmp_path / "b"))
    fill(store, vector_collection(bundle.manifest.version), bundle.item_vectors[:10])
    publish(store, bundle, set())
    assert store.open(VECTOR_ALIAS).size == len(bundle)


def test_hnsw_is_built_above_the_threshold_and_finds_nearly_all(tmp_path):
    vectors = np.random.default_rng(2).normal(size=(4200, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = EdgeStore(tmp_path)
    fill(store, "works_1", vectors)
    collection = store.open("works_1")
    assert collection._shard.info().indexed_vectors_count == len(vectors)
    hits = 0
    for row in range(20):
        exact = np.argsort(-(vectors @ vectors[row]))[:50]
        hits += np.isin(collection.search(vectors[row], 50)[0], exact).sum()
    assert hits / (20 * 50) > 0.7


def test_many_threads_and_several_openings_read_one_folder(tmp_path, vectors):
    store = EdgeStore(tmp_path)
    fill(store, "works_1", vectors)
    collections, wrong = [store.open("works_1") for _ in range(2)], []

    def read(collection):
        for i in range(100):
            if collection.search(vectors[i], 1)[0].tolist() != [i]:
                wrong.append(i)

    threads = [threading.Thread(target=read, args=(collections[i % 2],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_open_collection_outlives_its_folder(tmp_path, vectors):
    store = EdgeStore(tmp_path)
    fill(store, "works_1", vectors)
    collection = store.open("works_1")
    store.drop("works_1")
    assert store.open("works_1") is None
    assert collection.search(vectors[5], 1)[0].tolist() == [5]


def test_a_writer_that_was_killed_leaves_nothing_that_is_read(tmp_path, vectors, monkeypatch):
    store = EdgeStore(tmp_path)
    monkeypatch.setattr(qdrant, "_write_shard", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
    with pytest.raises(RuntimeError):
        fill(store, "works_1", vectors)
    monkeypatch.undo()
    left = tmp_path / ".works_1.left"
    left.mkdir()
    os.utime(left, (1, 1))
    assert store.names() == []
    fill(store, "works_1", vectors)
    assert not left.exists()


def test_damage_is_said_in_words(tmp_path, vectors):
    store = EdgeStore(tmp_path)
    fill(store, "works_1", vectors)
    (tmp_path / "works.alias.json").write_text("{")
    with pytest.raises(TerminalError, match=r"works\.alias\.json is damaged"):
        store.open("works")
    (tmp_path / "works_1" / "edge_config.json").write_text("{")
    with pytest.raises(TerminalError, match="cannot be opened"):
        store.open("works_1")
    with pytest.raises(TerminalError, match="a collection that is there"):
        store.alias("works", "nothing")


def test_a_server_that_is_away_is_worth_a_retry():
    store = qdrant.connect(Settings(qdrant_url="http://127.0.0.1:9"))
    assert isinstance(store, ServerStore)
    with pytest.raises(TransientError, match="Qdrant does not answer"):
        store.open("works")


def test_the_settings_choose_the_store(tmp_path):
    assert isinstance(qdrant.connect(Settings(vectors_dir=tmp_path)), EdgeStore)
