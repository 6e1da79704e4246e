"""Books like a book, in a catalogue in which the right answer of each kind is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from scipy import sparse

from serving.app import make_app
from serving.pipeline import Trace
from serving.policy import Policy
from serving.rules import Rules
from serving.similar import Kind, similar
from tests.serving.fakes import FakePlatform, served
from tests.support.bundles import make_tiny_bundle

N = 12
SEA, SECOND, THIRD, STORIES, TWIN, RICE, OCEANS, TIDES, MIDDLE = range(9)
TITLES = ["The First Sea", "The Second Sea", "The Third Sea", "Sea Stories", "the first sea!", "Cooking Rice", "Oceans"]
TITLES += ["Tides", "The Sea Between", "Trains", "Planes", "Cars"]
AUTHORS = ["Ann Water"] * 5 + ["Bo Cook", "Cy Blue", "Cy Blue", "Di Ghost", *["Ed Rail"] * 3]
PLACES = {SEA: 1.0, TWIN: 1.0, MIDDLE: 1.5, SECOND: 2.0, THIRD: 3.0, STORIES: None}


def known(content):
    """The Sea: read with a cook book, like the Oceans in its title and like the Tides in its vector."""
    works = content.works
    for name, values in {
        "title": TITLES,
        "author": AUTHORS,
        "author_id": [None] * N,
        "series": ["Sea" if i in PLACES else None for i in range(N)],
        "series_id": [None] * N,
        "series_number": pa.array([PLACES.get(i) for i in range(N)], pa.float64()),
    }.items():
        works = works.set_column(works.column_names.index(name), name, pa.array(values))
    text = sparse.lil_matrix((N, N), dtype=np.float32)
    text[SEA, TWIN], text[SEA, OCEANS] = 0.9, 0.5
    vectors = np.eye(N, 8, dtype=np.float32)
    vectors[8:, 7] = 1.0
    vectors[TIDES] = vectors[TWIN] = vectors[SEA]
    return replace(
        content,
        works=works,
        item_vectors=vectors,
        item_item=content.item_item
        | {"title_text": sparse.csr_matrix(text), "content_ease": content.item_item["item_filter"]},
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    rows = [[SEA, RICE, TWIN]] * 6 + [[OCEANS, TIDES]] * 3 + [[9, 10, 11]] * 2 + [[SECOND, THIRD]]
    ratings = sparse.lil_matrix((len(rows), N))
    for reader, works in enumerate(rows):
        ratings[reader, works] = 1.0
    folder = tmp_path_factory.mktemp("known")
    made = make_tiny_bundle(folder, n_works=N, n_readers=len(rows), ratings=ratings.tocsr(), change=known)
    return served(made)


def found(one, kind, index=SEA, n=20):
    return [item.index for item in similar(one, index, n, Trace(), kind)]


def test_behaviour_is_what_the_same_readers_read(one):
    items = similar(one, SEA, 20, Trace(), Kind.BEHAVIOUR)
    assert items[0].index == RICE
    assert set(items[0].reasons) == {"item_filter", "content_ease"}
    assert not {OCEANS, TIDES, SECOND} & {item.index for item in items}


def test_content_is_what_is_alike_in_title_and_vectors(one):
    items = {item.index: item.reasons for item in similar(one, SEA, 2, Trace(), Kind.CONTENT)}
    assert items == {OCEANS: ["title_text", "vectors"], TIDES: ["vectors"]}


def test_author_is_the_same_author_the_most_read_first(one):
    assert set(found(one, Kind.AUTHOR)) == {SECOND, THIRD, STORIES}
    assert found(one, Kind.AUTHOR)[-1] == STORIES, "nobody has read it"
    assert found(one, Kind.AUTHOR, MIDDLE) == []


def test_series_goes_on_then_back_then_to_what_has_no_number(one):
    assert found(one, Kind.SERIES) == [MIDDLE, SECOND, THIRD, STORIES]
    assert found(one, Kind.SERIES, MIDDLE) == [SECOND, THIRD, SEA, TWIN, STORIES]
    assert found(one, Kind.SERIES, THIRD) == [SEA, TWIN, MIDDLE, SECOND, STORIES]
    assert found(one, Kind.SERIES, STORIES) == [SEA, TWIN, MIDDLE, SECOND, THIRD]
    assert found(one, Kind.SERIES, RICE) == []


def test_all_has_three_sources(one):
    items = similar(one, SEA, 20, Trace())
    assert {reason for item in items for reason in item.reasons} == {"item_filter", "vectors", "author"}
    by_rank = {item.index: item.sources for item in items}
    assert by_rank[RICE]["item_filter"] == pytest.approx(1 / 61)


@pytest.mark.parametrize("kind", list(Kind))
def test_never_the_book_itself_nor_an_edition_nor_a_twin_of_it(one, kind):
    for index in (SEA, TWIN):
        assert not {SEA, TWIN} & set(found(one, kind, index))


@pytest.mark.parametrize("under_age", [None, 18])
def test_what_is_blocked_for_strangers_is_nobodys_neighbour(one, under_age):
    book = one.catalogue.work_ids[OCEANS]
    rules = Policy.model_validate({"blocked": [{"name": "x", "books": [book], "under_age": under_age}]})
    ruled = replace(one, rules=Rules.of(rules, one.bundle, one.catalogue))
    assert OCEANS in found(one, Kind.CONTENT)
    assert found(ruled, Kind.CONTENT) == [i for i in found(one, Kind.CONTENT) if i != OCEANS]


@pytest.mark.parametrize("kind", [Kind.ALL, Kind.CONTENT])
def test_without_the_vector_index_it_is_the_same_and_says_so(one, kind):
    with_index = found(one, kind)
    one.vectors.away = True
    try:
        items = similar(one, SEA, 20, trace := Trace(), kind)
    finally:
        one.vectors.away = False
    assert trace.fallbacks == ["vector_index"]
    assert [item.index for item in items] == with_index


def test_a_bundle_without_content_models_has_what_it_can(tiny_bundle):
    plain = served(tiny_bundle)
    assert {r for i in similar(plain, 1, 9, Trace(), Kind.BEHAVIOUR) for r in i.reasons} == {"item_filter"}
    assert {r for i in similar(plain, 1, 9, Trace(), Kind.CONTENT) for r in i.reasons} == {"vectors"}


def test_over_http_the_kind_is_said_and_another_one_is_refused(one):
    client = TestClient(make_app(FakePlatform(one)))
    body = client.get("/v1/books/w000/similar?kind=series&n=2").json()
    assert (body["kind"], [item["work_id"] for item in body["items"]]) == ("series", ["w008", "w001"])
    assert body["items"][0]["reasons"] == ["series"]
    assert client.get("/v1/books/w000/similar").json()["kind"] == "all"
    assert client.get("/v1/books/w002").json()["series_number"] == 3.0
    refused = client.get("/v1/books/w000/similar?kind=colour")
    assert (refused.status_code, refused.json()["field"]) == (422, "query.kind")
    assert "behaviour" in refused.json()["allowed"]
