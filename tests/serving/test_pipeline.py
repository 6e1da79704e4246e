import pytest

from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.online import book_of
from bookworks.errors import BundleError
from bookworks.models.reader import ReaderState
from serving import pipeline
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
    assert pipeline.age_bin(one.bundle, profile) == expected


def test_fusion_adds_reciprocal_ranks():
    items = pipeline.fuse({"a": [1, 2], "b": [2]}, banned=set())
    assert [item.index for item in items] == [2, 1]
    assert items[0].score == pytest.approx(1 / 62 + 1 / 61)


def test_an_empty_state_is_no_fault(one):
    assert one.bundle.tier_of(ReaderState()) == "cold"
