"""Slates of the whole pipeline: what is promised for any reader, rules, filters and pages."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bookworks.adapters.redis import OnlineReader
from serving import pipeline
from serving.facets import Filters
from serving.pipeline import Trace
from serving.policy import Policy
from serving.rules import Rules
from tests.serving.fakes import served

WORKS = [f"w{i:03d}" for i in range(120)]
SUBJECTS = ["crime", "romance", "science fiction", "history", "poetry"]
LIMITED = ("subject", "publisher", "series", "author")
EVERY = (*LIMITED, "series_in_order")


@pytest.fixture(scope="module")
def one(tiny_bundle):
    return served(tiny_bundle)


def under(one, **policy):
    """The same bundle under other rules."""
    return replace(one, rules=Rules.of(Policy.model_validate(policy), one.bundle, one.catalogue))


def reader(*history, **fields):
    return OnlineReader(history=list(history), weights=dict.fromkeys(history, 1.0), **fields)


def ask(one, online=None, n=10, trace=None, user_id="new", exclude=(), **more):
    items, _ = pipeline.recommend(one, user_id, online or reader(), n, exclude, trace or Trace(), **more)
    return items


def indices(items):
    return [item.index for item in items]


@dataclass
class Request:
    user_id: str
    online: OnlineReader
    n: int
    exclude: list
    filters: Filters
    policy: dict
    seed: str


def some(values, most):
    return st.lists(st.sampled_from(values), max_size=most, unique=True)


books = st.sampled_from([*WORKS, *(f"{work}-e1" for work in WORKS), "nothing"])
REQUESTS = st.builds(
    Request,
    user_id=st.sampled_from(["r001", "new"]),
    online=st.builds(
        OnlineReader,
        history=st.lists(books, max_size=4, unique=True),
        seen=st.sets(books, max_size=60),
        dismissed=st.sets(books, max_size=20),
        profile=st.fixed_dictionaries(
            {}, optional={"country": st.sampled_from(["DE", "US"]), "birth_year": st.just("1990")}
        ),
        shown=st.dictionaries(st.sampled_from(WORKS), st.just(1.7e12), max_size=5),
    ),
    n=st.integers(1, 30),
    exclude=st.lists(books, max_size=5),
    filters=st.builds(
        Filters,
        subjects=some([*SUBJECTS, "nothing"], 2),
        authors=st.one_of(st.just([]), some([f"Author {i}" for i in range(15)], 10)),
        year_from=st.one_of(st.none(), st.integers(1940, 2080)),
    ),
    policy=st.fixed_dictionaries(
        {
            "limits": st.fixed_dictionaries(dict.fromkeys(LIMITED, st.integers(0, 2))),
            "series_in_order": st.booleans(),
            "recently_shown": st.just({"places": 10}),
            "freshness": st.sampled_from([{"places": 0}, {"places": 5}]),
            "blocked": st.sampled_from(
                [
                    [],
                    [{"name": "a", "authors": ["Author 2"], "countries": ["DE"]}],
                    [{"name": "b", "books": ["w011"], "subjects": ["poetry"], "under_age": 40, "when_unknown": "show"}],
                ]
            ),
            "promoted": st.just({"books": ["w100", "w101", "w102"], "share": 0.2}),
            "exploration": st.sampled_from([{"share": 0.0}, {"share": 0.3}]),
            "relax": st.permutations(EVERY),
        }
    ),
    seed=st.text(max_size=4),
)  # fmt: skip


def allowed(one, request):
    """Works that no hard rule keeps out, looked at one by one."""
    known, online = one.catalogue, request.online
    out = {known.index(book) for book in [*online.history, *online.seen, *online.dismissed, *request.exclude]}
    filters, profile = request.filters, online.profile
    age = 2026 - 1990 if "birth_year" in profile else None

    def lets_through(i):
        subjects, author = known.columns["subjects"][i], known.authors[i]
        lists = {one["name"] for one in request.policy["blocked"]}
        return (
            (not filters.subjects or set(subjects) & set(filters.subjects))
            and (not filters.authors or author in filters.authors)
            and (filters.year_from is None or known.columns["year"][i] >= filters.year_from)
            and not ("a" in lists and author == "Author 2" and profile.get("country", "DE") == "DE")
            and not ("b" in lists and age is not None and (i == 11 or "poetry" in subjects))
        )

    return {i for i in range(len(WORKS)) if i not in out and lets_through(i)}


@settings(max_examples=60, deadline=None)
@given(request=REQUESTS)
def test_no_slate_breaks_a_hard_rule_and_each_is_full_and_the_same_again(one, request):
    ruled, trace = under(one, **request.policy), Trace()

    def slate(trace):
        return ask(
            ruled, request.online, request.n, trace, request.user_id, request.exclude,
            filters=request.filters, seed=request.seed,
        )  # fmt: skip

    items, may = slate(trace), allowed(one, request)
    shown = indices(items)
    assert set(shown) <= may
    assert len(shown) == len(set(shown)) == min(request.n, len(may)), "every soft rule may be broken"
    assert set(trace.relaxed) <= set(request.policy["relax"])
    assert slate(Trace()) == items
    assert not set(trace.rest) & set(shown)
    assert all((item.chance < 1) <= ("exploration" in item.reasons) for item in items)


def test_the_shipped_rules_change_no_ranking(one):
    for online in (reader(), reader("w003", "w008"), reader("w003", shown={"w010": 1.7e12})):
        state = pipeline.history_step(one, "new", online).state
        assert indices(ask(one, online)) == one.bundle.recommend(state, 10).indices


def test_a_series_is_shown_in_order(one):
    """Works 12 and 18 are volumes 1 and 2 of series 1, and so on."""
    ordered = under(one, series_in_order=True)
    seconds = {i + 6 for i in range(0, 120, 12)}
    assert seconds <= set(indices(ask(one, n=120)))
    assert not seconds & set(indices(ask(ordered, n=120)))
    assert not seconds & set(indices(ask(ordered, reader("w012-e0"), n=120))), "it was only looked at"
    has_read = replace(reader("w012-e0"), seen={"w012-e0"})
    assert seconds & set(indices(ask(ordered, has_read, n=120))) == {18}
    sent_away = reader(dismissed={"w012"})
    assert not seconds & set(indices(ask(ordered, sent_away, n=120))), "what was sent away was not read"
    trace = Trace()
    only = Filters(year_from=1962, year_to=1968)
    assert 18 not in indices(ask(ordered, n=10, trace=trace, filters=only))
    assert trace.relaxed == []
    loose = under(one, series_in_order=True, relax=["series_in_order"])
    assert 18 in indices(ask(loose, n=10, trace=trace, filters=only))
    assert trace.relaxed == ["series_in_order"]


def test_blocked_lists_hold_for_those_whom_they_mean(one):
    lists = [{"name": "grown-ups", "subjects": ["crime"], "under_age": 18, "when_unknown": "show"}]
    blocked = under(one, blocked=lists)
    crime = set(range(0, 120, 5))

    def shown(**profile):
        trace = Trace()
        return crime & set(indices(ask(blocked, reader(profile=profile), n=100, trace=trace))), trace.blocked

    assert shown(birth_year="2015") == (set(), ["grown-ups"])
    assert shown(age_bin="0-17") == (set(), ["grown-ups"])
    for grown in ({"birth_year": "1980"}, {"age_bin": "25-34"}, {}):
        assert shown(**grown)[0]
        assert shown(**grown)[1] == []


@pytest.mark.parametrize(("country", "shown"), [("DE", False), ("germany", False), ("usa", True), (None, False)])
def test_a_territory_is_told_by_code_or_in_words(one, country, shown):
    blocked = under(one, blocked=[{"name": "rights", "books": ["w001"], "countries_except": ["US"]}])
    profile = {} if country is None else {"country": country}
    assert (1 in indices(ask(blocked, reader(profile=profile), n=120))) is shown


def test_a_book_shown_lately_makes_room_and_comes_back(one, monkeypatch):
    first, *_ = plain = indices(ask(one))
    ruled, now = under(one, recently_shown={"places": 5, "half_life_hours": 24}), pipeline.clock.now()
    shown = {one.catalogue.work_ids[first]: now.timestamp() * 1000}
    assert indices(ask(ruled, reader(shown=shown)))[:5] != plain[:5]
    assert first in indices(ask(ruled, reader(shown=shown)))[3:]
    long_ago = {one.catalogue.work_ids[first]: now.timestamp() * 1000 - 30 * 86_400_000}
    assert indices(ask(ruled, reader(shown=long_ago))) == plain


def test_promoted_and_drawn_books_are_marked(one):
    books = [f"{WORKS[i]}-e0" for i in indices(ask(one, n=100))[90:93]]
    ruled = under(one, promoted={"books": books, "share": 0.2}, exploration={"share": 0.2, "pool": 20})
    items = ask(ruled, n=10, seed="a")
    assert [item.index for item in items if "promoted" in item.reasons] == indices(ask(one, n=100))[90:92]
    drawn = [item for item in items if "exploration" in item.reasons]
    assert [item.chance for item in drawn] == [0.1, 0.1]
    assert drawn == items[8:]
    others = {tuple(indices(ask(ruled, n=10, seed=seed))) for seed in "abcdef"}
    assert len(others) > 1
    assert len({slate[:8] for slate in others}) == 1


def test_a_shortlist_that_the_rules_empty_is_made_longer(one):
    """One author's works come first: with a limit that is never broken the rest of the catalogue is looked through."""
    ruled = under(one, limits={"author": 1}, relax=[])
    items = ask(ruled, reader("w003"), n=15)
    assert len(items) == 15
    assert len({item.index % 15 for item in items}) == 15


class Pages:
    """A reader who turns pages."""

    def __init__(self, one, n, user_id="new"):
        self.one, self.n, self.user_id = one, n, user_id

    def all(self, *readers):
        """Every page; each is asked with the next of `readers`, the last then stays."""
        page, shown = None, []
        for turn in range(200):
            trace = Trace()
            online = readers[min(turn, len(readers) - 1)]
            items = ask(self.one, online, self.n, trace, self.user_id, page=page, seed=str(turn))
            shown += indices(items)
            page = trace.rest
            if not items or not page:
                return shown
        raise AssertionError("pages never end")


@pytest.mark.parametrize("n", [1, 7, 30])
def test_pages_are_the_first_order_whatever_the_reader_does_meanwhile(one, n):
    free = under(one, limits={"author": 0, "series": 0})
    order = indices(ask(free, reader("w003"), n=100))
    unmoved = Pages(free, n).all(reader("w003"))
    assert unmoved[:100] == order
    assert sorted(unmoved) == [i for i in range(120) if i != 3]
    busy = Pages(free, n).all(reader("w003"), reader("w006", "w003"), reader("w117", "w006", "w003"))
    meanwhile = {6, 117} - set(unmoved[: 2 * n])
    gone = {i for i in (6, 117) if i not in busy}
    assert busy == [i for i in unmoved if i not in gone]
    assert gone <= meanwhile | {6, 117}


@settings(max_examples=15, deadline=None)
@given(n=st.integers(8, 40), limit=st.integers(0, 3), explored=st.sampled_from([0.0, 0.4]), clicks=some(WORKS, 5))
def test_pages_repeat_nothing_and_pass_over_nothing_but_what_was_read_meanwhile(one, n, limit, explored, clicks):
    ruled = under(one, limits={"author": limit}, exploration={"share": explored, "pool": 10})
    turns = [reader(*clicks[:count]) for count in range(len(clicks) + 1)]
    shown = Pages(ruled, n).all(*turns)
    assert len(shown) == len(set(shown))
    read = {one.catalogue.index(work) for work in clicks}
    assert set(range(120)) - set(shown) <= read


def test_a_page_is_a_slate_of_its_own_and_never_longer_than_the_depth(one, monkeypatch):
    monkeypatch.setattr(pipeline, "DEPTH", 50)
    ruled = under(one, limits={"author": 1}, relax=[])
    trace = Trace()
    first = ask(ruled, n=5, trace=trace)
    second = ask(ruled, n=5, page=trace.rest)
    for page in (first, second):
        assert len({item.index % 15 for item in page}) == 5
    assert len(Pages(under(one), 10).all(reader())) == 50


def test_works_of_a_page_and_promoted_ones_are_looked_at_wherever_they_stand(one, monkeypatch):
    """As if no more than the first 30 works may come first."""
    monkeypatch.setattr(type(one.bundle), "pool", lambda *_: np.arange(30))
    assert indices(ask(one, n=3, page=[100, 50, 2])) == [100, 50, 2]
    assert 110 in indices(ask(under(one, promoted={"books": ["w110"], "share": 0.1}), n=10))
    assert set(indices(ask(one, n=10))) <= set(range(30))
    assert len(ask(one, n=100)) == 100, "where these are too few, all are looked at"
    assert indices(ask(one, n=10, filters=Filters(year_from=2060))) == indices(
        ask(one, n=100, filters=Filters(year_from=2060))
    )


@pytest.mark.parametrize("online", [reader(), reader("w003", "w008")], ids=["cold", "session"])
def test_a_filter_that_lets_few_through_is_looked_at_once(one, monkeypatch, online):
    bundle, looked = type(one.bundle), []
    score = bundle.score
    monkeypatch.setattr(
        bundle, "score", lambda self, *rest, works: looked.append(works) or score(self, *rest, works=works)
    )
    assert len(ask(one, online, n=100, filters=Filters(authors=["Author 4"]))) == 8
    assert len(looked) == 1
    ask(one, reader(*WORKS[:60]), n=100)
    assert looked[-1] is None, "without a filter all are looked at before a slate is short"
