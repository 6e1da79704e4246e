"""Paths are true: each names a book of the history that has the relation in the catalogue or the item filter."""

import numpy as np
import pytest

from bookworks.models.reader import ReaderState
from serving.paths import MOST, Path, paths_to
from tests.serving.fakes import served


@pytest.fixture(scope="module")
def one(tiny_bundle):
    return served(tiny_bundle)


def told(one, history, works, weights=()):
    return paths_to(one.bundle, one.catalogue, ReaderState("u", history, list(weights)), works)


def relations(one, book, work):
    """All that hold, by the table of works and the matrix alone, the most telling first."""
    rows = one.bundle.works.select(["series_id", "series_number", "author_id"]).to_pylist()
    mine, other = rows[work], rows[book]
    same_series = mine["series_id"] is not None and mine["series_id"] == other["series_id"]
    places = {row["series_number"] for row in rows if row["series_id"] == mine["series_id"]}
    holds = {
        "next_in_series": same_series
        and other["series_number"] < mine["series_number"]
        and not [place for place in places if other["series_number"] < place < mine["series_number"]],
        "same_series": same_series,
        "same_author": mine["author_id"] == other["author_id"],
        "read_by_the_same_readers": one.bundle.item_item["item_filter"].matrix[book, work] > 0,
    }
    return [name for name, true in holds.items() if true]


@pytest.mark.parametrize("seed", range(5))
def test_every_path_holds(one, seed):
    rng = np.random.default_rng(seed)
    history = rng.choice(len(one.bundle), 30, replace=False).tolist()
    weights = dict(zip(history, rng.uniform(0.1, 1.0, 30).tolist(), strict=True))
    works = [work for work in range(len(one.bundle)) if work not in weights]
    found = told(one, history, works, list(weights.values()))
    assert {path.relation for paths in found for path in paths} >= {"same_author", "read_by_the_same_readers"}
    for work, paths in zip(works, found, strict=True):
        holding = [book for book in history if relations(one, book, work)]
        assert len(paths) == min(len(holding), MOST)
        assert len({path.index for path in paths}) == len(paths)
        for path in paths:
            assert path.relation == relations(one, path.index, work)[0]
            assert path.weight == weights[path.index]


def test_the_next_volume_is_told_apart_from_the_others_of_its_series(one):
    assert [path for path in told(one, [12], [18])[0] if path.index == 12] == [Path("next_in_series", 12, 1.0)]
    assert [path for path in told(one, [18], [12])[0] if path.index == 18] == [Path("same_series", 18, 1.0)]


def test_a_volume_further_back_is_not_the_one_before(one, monkeypatch):
    """Three volumes and one without a number."""
    places = one.catalogue.columns["series_number"]
    volumes = {0: 1.0, 6: 2.0, 12: 3.0, 18: None}
    monkeypatch.setattr(one.catalogue, "same_series", lambda work: [i for i in volumes if i != work])
    monkeypatch.setitem(one.catalogue.columns, "series_number", [volumes.get(i, p) for i, p in enumerate(places)])
    relation = {path.index: path.relation for path in told(one, [0, 6, 18], [12])[0]}
    assert (relation[6], relation[0], relation[18]) == ("next_in_series", "same_series", "same_series")
    (alone,) = told(one, [0], [18])
    assert alone[0].relation == "same_series"


def test_the_strongest_come_first_and_each_relation_has_its_turn(one):
    authors = [3, 18, 33, 48]
    (paths,) = told(one, authors, [63], [0.2, 0.9, 0.5, 0.4])
    assert [path.index for path in paths if path.relation == "same_author"] == [18, 33, 48]
    entries = one.bundle.item_item["item_filter"].matrix[:, [63]].toarray().ravel()
    near = next(i for i in np.argsort(-entries).tolist() if i % 15 != 3 and i % 6)
    assert entries[near] > 0
    assert [path.relation for path in told(one, [*authors, near], [63])[0]][:2] == [
        "same_author", "read_by_the_same_readers",
    ]  # fmt: skip


def test_without_a_history_or_books_there_are_none(one):
    assert told(one, [], [1, 2]) == [[], []]
    assert told(one, [1], []) == []


def test_an_answer_tells_them_when_asked(client, key):
    rated = {"user_id": "u", "kind": "rating", "value": 9, "work_id": "w003"}
    client.post("/v1/interactions", json={"events": [rated]}, headers=key)
    body = {"user_id": "u", "n": 20, "filters": {"authors": ["Author 3"]}}
    plain, asked = (client.post("/v1/recommend", json=body | {"explain": e}, headers=key).json() for e in (False, True))
    assert [item["paths"] for item in plain["items"]] == [[]] * len(plain["items"])
    expected = {"relation": "same_author", "work_id": "w003", "title": "Title 3", "weight": 0.9, "rating": 9.0}
    assert asked["items"]
    assert [item["paths"] for item in asked["items"]] == [[expected]] * len(asked["items"])
    shelved = {"user_id": "v", "kind": "shelve", "work_id": "w003"}
    client.post("/v1/interactions", json={"events": [shelved]}, headers=key)
    asked = client.post("/v1/recommend", json=body | {"user_id": "v", "explain": True}, headers=key).json()
    assert {item["paths"][0]["rating"] for item in asked["items"]} == {None}
    history = client.get("/v1/users/u/history", headers=key).json()["items"]
    assert [(item["work_id"], item["rating"]) for item in history] == [("w003", 9.0)]
