"""What the other ways find that ours is judged by."""

import sys

import pytest

from bookworks.errors import TerminalError
from spark_jobs.works.baselines import Works, exact_key, parse, splink, titles_alike


def rows(*of: tuple[str, str]) -> list[tuple[str | None, ...]]:
    """`records.FIELDS` of editions a, b, … of (title, author)."""
    return [(chr(97 + at), *told, None, None, None, None, None, None) for at, told in enumerate(of)]


def groups(works: Works) -> set[str]:
    """The editions of each work."""
    return {"".join(sorted(one for one in works if works[one] == work)) for work in works.values()}


def test_an_exact_key_joins_equal_titles_of_one_surname_and_nothing_else() -> None:
    editions = parse(rows(
        ("Dune", "Frank Herbert"), ("DUNE: a novel", "Herbert, Frank"), ("Dune", "Ann Other"), ("Dune", ""), ("", ""),
        ("Dunes", "Frank Herbert"),
    ))  # fmt: skip
    assert groups(exact_key(editions)) == {"ab", "c", "d", "e", "f"}


def test_titles_alike_are_joined_also_over_others() -> None:
    editions = parse(rows(
        ("The Great Gatsby", "F. Scott Fitzgerald"), ("The Great Gatsbi", "Francis Scott Fitzgerald"),
        ("The Great Gatsbie", "F. Scott Fitzgerald"), ("The Great Gatsby", "Zelda Fitzgerald"),
        ("The Great Gatsby", ""),
    ))  # fmt: skip
    assert groups(titles_alike(editions)) == {"abc", "d", "e"}
    assert titles_alike([]) == {}


def test_splink_that_is_not_there_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "splink", None)
    with pytest.raises(TerminalError, match="not installed"):
        list(splink(parse(rows(("Dune", "Frank Herbert")))))
