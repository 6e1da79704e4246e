from hypothesis import given
from hypothesis import strategies as st

from serving.rules import Rules, choose, with_twins

NONE = [None] * 6


def test_limits_hold_back_an_author_and_a_series():
    authors = ["a", "a", "a", "b", "b", None]
    series = [None, None, None, "s", "s", None]
    assert choose(range(6), 4, Rules(2, 1), authors=authors, series=series, twins=NONE) == [0, 1, 3, 5]


def test_what_a_limit_held_back_fills_a_slate_that_is_too_short():
    assert choose(range(3), 3, Rules(1, 0), authors=["a"] * 3, series=NONE, twins=NONE) == [0, 1, 2]


def test_no_limit_is_zero():
    assert choose(range(3), 2, Rules(), authors=["a"] * 3, series=["s"] * 3, twins=NONE) == [0, 1]


def test_two_of_the_same_book_are_never_shown_even_to_fill():
    twins = ["x", "x", "y"]
    assert choose(range(3), 3, Rules(1), authors=["a"] * 3, series=NONE, twins=twins) == [0, 2]


def test_twins_of_what_is_banned_are_banned():
    assert with_twins({0}, ["x", "x", None], {"x": [0, 1]}) == {0, 1}
    assert with_twins({2}, ["x", "x", None], {"x": [0, 1]}) == {2}


def test_a_series_has_its_authors_limit_unless_it_has_its_own():
    assert Rules.from_json({"max_per_author": 3}) == Rules(3, 3)
    assert Rules.from_json({"max_per_author": 3, "max_per_series": 1}) == Rules(3, 1)
    assert Rules.from_json({}) == Rules(0, 0)


@given(
    authors=st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=30),
    n=st.integers(1, 10),
    limit=st.integers(0, 3),
)
def test_a_slate_is_as_long_as_it_can_be_and_has_no_repeat(authors, n, limit):
    nothing = [None] * len(authors)
    slate = choose(range(len(authors)), n, Rules(limit), authors=authors, series=nothing, twins=nothing)
    assert len(slate) == len(set(slate)) == min(n, len(authors))
    enough = sum(min(authors.count(a), limit) if a and limit else authors.count(a) for a in set(authors)) >= n
    if limit and enough:
        assert all(sum(authors[i] == a for i in slate) <= limit for a in "ab")
