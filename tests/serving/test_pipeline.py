import time

import numpy as np
import pyarrow as pa
import pytest

from bookworks import clock
from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.online import book_of
from bookworks.errors import BundleError
from bookworks.models.online_state import age_bin
from bookworks.models.reader import ReaderState
from serving import pipeline
from serving.facets import Facets, Filters
from serving.pipeline import Trace
from tests.serving.fakes import served
from tests.support.bundles import make_tiny_bundle


@pytest.fixture
def one(tiny_bundle):
    return served(tiny_bundle)


def ids(one, items):
    return [one.catalogue.work_ids[item.index] for item in items]


def reader(*history, **fields):
    return OnlineReader(history=list(history), weights=dict.fromkeys(history, 1.0), **fields)


@pytest.mark.parametrize(
    ("user_id", "online", "tier"),
    [
        ("r001", reader(), "warm"),
        ("r001", reader("w003", "w008"), "warm"),
        ("new", reader("w003", "w008"), "session"),
        ("new", reader(profile={"tastes": ["crime"]}), "tastes"),
        ("new", reader(), "cold"),
    ],
)
def test_the_service_ranks_as_the_bundle_does(one, user_id, online, tier):
    """Candidates from the vector index, scores on them alone: the same list as the whole catalogue scored."""
    items, got = pipeline.recommend(one, user_id, online, 10, (), Trace())
    state = pipeline.history_step(one, user_id, online).state
    expected = one.bundle.recommend(state, 10)
    assert got == expected.tier == tier
    assert [item.index for item in items] == expected.indices
    assert [item.score for item in items] == pytest.approx(expected.scores, abs=1e-5)


def test_the_vector_index_is_asked_and_when_it_is_away_the_answer_says_so(one):
    before = one.vectors.asked
    with_index, _ = pipeline.recommend(one, "r002", reader("w001"), 10, (), trace := Trace())
    assert one.vectors.asked == before + 1
    assert trace.fallbacks == []
    one.vectors.away = True
    try:
        without, _ = pipeline.recommend(one, "r002", reader("w001"), 10, (), trace := Trace())
    finally:
        one.vectors.away = False
    assert trace.fallbacks == ["vector_index"]
    assert ids(one, without) == ids(one, with_index)


@pytest.fixture(autouse=True)
def nothing_said_yet():
    pipeline._SAID.clear()


def test_a_vector_index_that_leads_out_of_the_catalogue_is_not_believed(one, monkeypatch, caplog):
    n = len(one.bundle)
    monkeypatch.setattr(one.vectors, "search", lambda *_: (np.array([0, n]), np.array([1.0, 0.5], np.float32)))
    items, _ = pipeline.recommend(one, "r002", reader("w001"), 10, (), trace := Trace())
    assert (len(items), trace.fallbacks) == (10, ["vector_index"])
    assert "works that the bundle does not have" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), MemoryError(), SystemError()])
def test_whatever_befalls_an_optional_part_the_answer_goes_on(one, monkeypatch, error, caplog):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(one.vectors, "search", broken)
    monkeypatch.setattr(type(one.bundle.ranker.trees), "scores", broken)
    monkeypatch.setattr(type(one.bundle.ranker.trees), "explained", broken)
    items, _ = pipeline.recommend(one, "r002", reader("w001"), 10, (), trace := Trace(), explain=True)
    assert (len(items), trace.fallbacks) == (10, ["vector_index", "ranker"])
    pipeline.recommend(one, "r002", reader("w001"), 10, (), Trace())
    assert caplog.text.count("the ranker failed") == 1, "not again within a minute"


def test_without_the_ranker_the_blend_orders_and_the_answer_says_so(one, monkeypatch):
    with_ranker, _ = pipeline.recommend(one, "r002", reader("w001"), 10, (), Trace())

    def broken(rows, threads=1):
        raise BundleError("LightGBM refuses the trees")

    monkeypatch.setattr(type(one.bundle.ranker.trees), "scores", lambda self, *rows: broken(*rows))
    without, _ = pipeline.recommend(one, "r002", reader("w001"), 10, (), trace := Trace())
    assert trace.fallbacks == ["ranker"]
    blend = one.bundle.with_blend(one.bundle.blend)
    assert [item.index for item in without] == blend.recommend(ReaderState("r002", [1]), 10).indices
    assert ids(one, with_ranker) != ids(one, without)


def test_nothing_read_sent_away_or_excluded_is_shown_and_no_edition_of_it(one):
    every = {f"w{i:03d}" for i in range(120)}
    online = reader("w000", "w001-e1", seen={"w002", "w003-e0"}, dismissed={"w004"})
    items, _ = pipeline.recommend(one, "r001", online, 100, ("w005-e0", "nothing"), Trace())
    assert set(ids(one, items)) & {"w000", "w001", "w002", "w003", "w004", "w005"} == set()
    assert len(items) == 100
    for most in ({"seen": every - {"w009"}}, {"dismissed": every - {"w009"}}):
        items, _ = pipeline.recommend(one, "r001", reader(**most), 10, (), Trace())
        assert ids(one, items) == ["w009"]


def test_history_is_oldest_first_with_its_weights_and_resolves_editions_once(one):
    history = ["w002-e0", "w001", "w002", "gone"]
    online = OnlineReader(history=history, weights={"w002-e0": 0.4, "w001": 0.9, "w002": 0.6})
    known = pipeline.history_step(one, "u", online)
    assert known.state.history == [1, 2]
    assert known.state.weights == [0.9, 0.6]


def test_a_book_is_its_edition_where_that_is_known_and_else_its_work_of_then(tmp_path):
    """Work 5 was merged into work 10."""
    merged = served(make_tiny_bundle(tmp_path, merged={5: 10}))
    books = [book_of("w007-e1", "w008"), book_of("no such edition", "w005"), "w010", book_of(None, "nothing")]
    state = pipeline.history_step(merged, "u", reader(*books)).state
    assert [merged.catalogue.work_ids[i] for i in state.history] == ["w010", "w007"]
    assert merged.catalogue.index("w005") == merged.catalogue.index("w005-e0") == merged.catalogue.index("w010")


def test_a_click_changes_the_next_slate(one):
    before, _ = pipeline.recommend(one, "new", reader(), 10, (), Trace())
    after, tier = pipeline.recommend(one, "new", reader("w006"), 10, (), Trace())
    assert tier == "session"
    assert ids(one, before) != ids(one, after)
    assert after[0].reasons[0] in {"item_filter", "vectors"}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"age_bin": "25-34"}, "25-34"),
        ({"birth_year": "1900"}, "65+"),
        ({"birth_year": "none"}, None),
        ({}, None),
    ],
)
def test_age_bin(one, profile, expected):
    assert age_bin(one.bundle, profile, clock.now().year) == expected


def among(one, **filters):
    """Works that the filters let through, asked one by one of the columns."""
    columns = one.catalogue.columns
    return {
        i
        for i in range(len(one.bundle))
        if columns["author"][i] in filters.get("authors", [columns["author"][i]])
        and set(columns["subjects"][i]) & set(filters.get("subjects", columns["subjects"][i]))
        and filters.get("year_from", 0) <= columns["year"][i] <= filters.get("year_to", 3000)
    }


@pytest.mark.parametrize(
    "filters",
    [
        {"authors": ["Author 3"]},
        {"subjects": ["crime", "poetry"]},
        {"year_from": 2000, "year_to": 2010},
        {"subjects": ["history"], "year_from": 1990},
    ],
    ids=str,
)
@pytest.mark.parametrize("online", [reader(), reader("w003", "w008", "w013")], ids=["cold", "session"])
def test_a_filtered_slate_is_full_and_has_the_scores_of_the_unfiltered(one, filters, online):
    wanted = among(one, **filters) - ({3, 8, 13} if online.history else set())
    items, _ = pipeline.recommend(one, "new", online, 100, (), Trace(), filters=Filters(**filters))
    assert {item.index for item in items} == wanted
    if not online.history:
        every, _ = pipeline.recommend(one, "new", online, 100, (), Trace())
        scores = {item.index: item.score for item in every}
        assert all(item.score == scores.get(item.index, item.score) for item in items)


@pytest.mark.parametrize(
    ("gone", "away"),
    [
        (0.0, []),
        (pipeline.RANK_BY - 0.1, []),
        (pipeline.RANK_BY, ["ranker"]),
    ],
)
def test_a_step_that_comes_too_late_is_left_out(tmp_path, gone, away):
    """Of a minute so much is gone when the request is begun."""
    ranked = served(make_tiny_bundle(tmp_path, ranker=True))
    trace = Trace(budget=pipeline.Budget(time.perf_counter() - 60 * gone, 60))
    items, _ = pipeline.recommend(ranked, "r000", reader("w003"), 10, [], trace, explain=True)
    assert len(items) == 10
    assert trace.fallbacks == away
    assert any(item.explained for item in items) == ("ranker" not in away)


def test_what_comes_too_late_to_be_explained_is_shown_all_the_same(tmp_path, monkeypatch):
    ranked = served(make_tiny_bundle(tmp_path, ranker=True))
    monkeypatch.setattr(Trace, "late", lambda _, share: share == pipeline.EXPLAIN_BY)
    plain, _ = pipeline.recommend(ranked, "r000", reader("w003"), 10, [], Trace())
    items, _ = pipeline.recommend(ranked, "r000", reader("w003"), 10, [], trace := Trace(), explain=True)
    assert [item.index for item in items] == [item.index for item in plain]
    assert trace.fallbacks == ["ranker"]
    assert not any(item.explained for item in items)


def test_filters_hide_before_the_ranker_chooses_its_candidates(one):
    """The ranker orders 20 candidates: under a filter all of these come from what it lets through."""
    online, filters = reader("w003", "w008"), Filters(year_from=2000, year_to=2030)
    items, _ = pipeline.recommend(one, "r001", online, 10, (), Trace(), explain=True, filters=filters)
    assert all(item.explained is not None for item in items)


def test_an_unknown_value_lets_nothing_through_and_a_known_one_beside_it_still_does(one):
    both = Filters(authors=["Nobody", " author  3 "])
    assert pipeline.recommend(one, "new", reader(), 10, (), Trace(), filters=Filters(authors=["Nobody"]))[0] == []
    items, _ = pipeline.recommend(one, "new", reader(), 10, (), Trace(), filters=both)
    assert {item.index % 15 for item in items} == {3}
    assert one.catalogue.facets.unknown(both) == [("authors", 0, "Nobody")]


def test_other_names_of_authors_and_languages_in_any_case(one):
    facets = one.catalogue.facets
    assert set(facets.works_of("authors", "pen NAME")) == set(facets.works_of("authors", "a06"))
    assert facets.mask(Filters(languages=["EN"])).all()
    assert facets.mask(Filters()) is None


def test_a_year_that_is_not_known_passes_no_filter_on_years():
    works = pa.table({"work_id": ["a", "b", "c"], "year": pa.array([1990, None, 2000], pa.int32())})
    facets = Facets(works)
    assert facets.mask(Filters(year_from=1995)).tolist() == [False, False, True]
    assert facets.mask(Filters(year_to=1995)).tolist() == [True, False, False]
    assert facets.broken(Filters(year_from=1995, languages=["en"]), 1) == ["languages", "year_from"]


def test_fusion_adds_reciprocal_ranks():
    items = pipeline.fuse({"a": [1, 2], "b": [2]}, banned=set())
    assert [item.index for item in items] == [2, 1]
    assert items[0].score == pytest.approx(1 / 62 + 1 / 61)


def test_an_empty_state_is_no_fault(one):
    assert one.bundle.tier_of(ReaderState()) == "cold"
