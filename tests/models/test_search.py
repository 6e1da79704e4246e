"""Search in the kernel: folding, slips of the pen, ISBNs, filters, lists and their fusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from bookworks.isbn import meant_isbns
from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import BundleContent
from bookworks.models.fusion import fused
from bookworks.models.search import Search, typed_isbn
from bookworks.models.text_index import WORDS_MAX, Field, TextIndex, fold, folded, with_initials, words_of
from tests.support.bundles import make_tiny_bundle

WORKS = [
    ("The Lord of the Rings", "J.R.R. Tolkien", "Middle-earth", 1954, "en", ["fantasy"]),
    ("The Art of the Lord of the Rings", "Gary Russell", None, 2004, "en", ["art"]),
    ("The Hobbit", "J.R.R. Tolkien", "Middle-earth", 1937, "en", ["fantasy", "children"]),
    ("Der Hobbit", "J.R.R. Tolkien", None, 1957, "de", ["fantasy"]),
    ("L'Étranger", "Albert Camus", None, 1942, "fr", ["philosophy"]),
    ("Les Misérables", "Victor Hugo", None, 1862, "fr", None),
    ("It", "Stephen King", None, 1986, "en", ["horror"]),
    ("Kingdom of Fear", "Stephen Hunter", None, None, "en", []),
    ("Smørrebrød & Größe", "Søren Ågård", None, 2001, "da", ["cooking"]),
    (None, None, None, None, None, None),
    ("Crime and Punishment", "Fyodor Dostoevsky", None, 1866, "en", ["crime"]),
    ("Silence", "Ko Quiet", None, 1990, "en", ["quiet"]),
]
LOTR, ART, HOBBIT, DER_HOBBIT, ETRANGER, MISERABLES, IT, FEAR, SMORREBROD, _, CRIME, SILENCE = range(12)


def catalogue(content: BundleContent) -> BundleContent:
    columns = dict(
        zip(("title", "author", "series", "year", "language", "subjects"), zip(*WORKS, strict=True), strict=True)
    )
    works = content.works
    for name, values in columns.items():
        place = works.column_names.index(name)
        works = works.set_column(place, name, pa.array(list(values), works.schema.field(name).type))
    vectors = np.eye(12, 8, dtype=np.float32)
    vectors[8:, 7] = 1.0
    vectors[SILENCE] = vectors[ETRANGER]
    alike = sparse.lil_matrix((12, 12), dtype=np.float32)
    alike[CRIME, FEAR] = 0.8
    return replace(content, works=works, item_vectors=vectors,
                   item_item=content.item_item | {"title_text": sparse.csr_matrix(alike)})  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("found"), n_works=12, n_readers=20, change=catalogue))


@pytest.fixture(scope="module")
def find(bundle: Bundle) -> Callable[..., list[int]]:
    search = Search.of(bundle)
    return lambda query, n=10: [hit.index for hit in search.find(query, n)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("The Lord of the Rings", LOTR),
        ("lord of teh rings", LOTR),
        ("LORD RINGS tolkein", LOTR),
        ("Tolkien, J. R. R. hobbit", HOBBIT),
        ("jrr tolkien the hobit", HOBBIT),
        ("hobbit der", DER_HOBBIT),
        ("etranger", ETRANGER),
        ("l’etranger camus albert", ETRANGER),
        ("letranger", ETRANGER),
        ("miserables", MISERABLES),
        ("LES MISÉRABLES", MISERABLES),
        ("it", IT),
        ("king stephen", IT),
        ("smorrebrod", SMORREBROD),
        ("grosse", SMORREBROD),
        ("dostoyevsky", CRIME),
        ("punishmnet and crmie", CRIME),
    ],
)
def test_the_book_that_is_meant_comes_first(find: Callable[..., list[int]], query: str, first: int) -> None:
    assert find(query)[0] == first


@pytest.mark.parametrize("query", ["", "!!!", "\0", "xyzzyx", "☃", "q" * 200, "zz " * 60])
def test_what_says_nothing_finds_nothing(find: Callable[..., list[int]], query: str) -> None:
    assert find(query) == []


def test_what_may_not_be_found_has_no_words_and_is_near_to_nothing(bundle: Bundle) -> None:
    search, allowed = Search.of(bundle), np.zeros(12, dtype=bool)
    assert search.find("hobbit", 10, allowed) == []
    allowed[[DER_HOBBIT, SILENCE, IT]] = True
    hits = search.find("hobbit", 10, allowed)
    assert hits[0].index == DER_HOBBIT
    assert {hit.index for hit in hits} <= {DER_HOBBIT, SILENCE, IT}


@pytest.mark.parametrize(
    ("author", "works"),
    [
        ("tolkien J R R", {LOTR, HOBBIT, DER_HOBBIT}),
        ("JRR", {LOTR, HOBBIT, DER_HOBBIT}),
        ("hobbit", set()),
        ("Stephen", {IT, FEAR}),
        ("Agard", {SMORREBROD}),
        ("nobody", set()),
    ],
)
def test_words_of_a_field(bundle: Bundle, author: str, works: set[int]) -> None:
    found = Search.of(bundle).index.having(words_of(author), "author")
    assert set(np.flatnonzero(found).tolist()) == works


def test_what_is_near_follows_behind_what_has_the_words(bundle: Bundle) -> None:
    hits = {hit.index: hit.sources for hit in Search.of(bundle).find("etranger", 12)}
    assert next(iter(hits)) == ETRANGER
    assert SILENCE in list(hits)[1:3]
    assert set(hits[SILENCE]) == {"vectors"}
    found = {hit.index: hit.sources for hit in Search.of(bundle).find("crime punishment", 12)}
    assert "title_text" in found[FEAR]


def test_the_vector_index_is_asked_and_may_be_away(bundle: Bundle) -> None:
    search, asked = Search.of(bundle), []

    def index(vector: np.ndarray, limit: int) -> list[int]:
        asked.append((float(np.linalg.norm(vector)), limit))
        return [SILENCE]

    assert [hit.index for hit in search.find("etranger", 2, None, index)] == [ETRANGER, SILENCE]
    assert asked == [(pytest.approx(1.0), 50)]
    away = search.find("etranger", 12, None, lambda vector, limit: None)
    assert away == search.find("etranger", 12)


def test_what_the_reader_likes_comes_sooner_but_never_before_a_much_better_hit(bundle: Bundle) -> None:
    search, likes = Search.of(bundle), np.zeros(12, dtype=np.float32)
    assert [hit.index for hit in search.find("hobbit", 2)] == [HOBBIT, DER_HOBBIT]
    likes[DER_HOBBIT] = 9.0
    assert [hit.index for hit in search.find("hobbit", 2, reader=likes)] == [DER_HOBBIT, HOBBIT]
    likes[HOBBIT] = 99.0
    assert search.find("lord of the rings tolkien", 2, reader=likes)[0].index == LOTR


def test_fusion_weighs_its_lists_and_leaves_out_what_is_banned() -> None:
    assert fused({"a": [1, 2], "b": [2, 3]}, banned={1}, weights={"b": 0.5}) == [
        (2, {"a": pytest.approx(1 / 61), "b": pytest.approx(0.5 / 61)}),
        (3, {"b": pytest.approx(0.5 / 62)}),
    ]


KNOWN = st.characters(max_codepoint=0x2FFF, categories=["L", "M", "N", "P", "S", "Z", "Cc"])


@settings(max_examples=100, deadline=None)
@given(st.text(KNOWN, max_size=40))
def test_a_query_is_folded_as_the_catalogue_is(text: str) -> None:
    assert " ".join(fold(text).split()) == folded(pa.array([text]))[0].as_py()


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=300))
def test_any_text_may_be_asked(text: str) -> None:
    index = TextIndex({"title": Field(folded(pa.array([w[0] for w in WORKS], pa.string())), 1.0)})
    assert len(words_of(text)) <= WORDS_MAX
    assert np.isfinite(index.scores(words_of(text))).all()
    typed = typed_isbn(text)
    assert typed is None or len(typed.digits) in {10, 13}


def test_an_empty_catalogue_and_one_without_texts_find_nothing() -> None:
    for texts in ([], [None], ["", None]):
        index = TextIndex({"title": Field(folded(pa.array(texts, pa.string())), 1.0)})
        assert index.scores(["word"]).tolist() == [0.0] * len(texts)


def test_a_known_word_is_a_slip_only_of_a_much_commoner_one() -> None:
    texts = ["tolkein"] + ["tolkien"] * 20 + ["tolkier"]
    index = TextIndex({"author": Field(folded(pa.array(texts)), 1.0)})
    assert [index.words[n] for n, _ in index.meant("tolkein")] == ["tolkein", "tolkien"]
    assert [index.words[n] for n, _ in index.meant("tolkien")] == ["tolkien"]
    assert [index.words[n] for n, _ in index.meant("tolkienn")] == ["tolkien", "tolkein", "tolkier"]
    assert index.meant("to") == []


def test_initials_are_one_word_too() -> None:
    names = with_initials(folded(pa.array(["J. R. R. Tolkien", "C.S. Lewis", "Ann B. Cole"])))
    assert [set(name.split()) - set("jrcsb") for name in names.to_pylist()] == [
        {"jrr", "tolkien"},
        {"cs", "lewis"},
        {"ann", "cole"},
    ]


@pytest.mark.parametrize(
    ("query", "isbn13", "meant"),
    [
        ("0441478123", "9780441478125", None),
        ("0-441-47812-3", "9780441478125", None),
        ("978-0-441-47812-5", "9780441478125", None),
        ("978 0 441 47812 5", "9780441478125", None),
        ("ISBN: 9780441478125", "9780441478125", None),
        ("isbn-13 978–0441478125", "9780441478125", None),
        ("080442957X", "9780804429573", None),
        ("9780441478124", None, "9780441478125"),
        ("0-441-47812-X", None, "9780441478125"),
        ("978-0-441-74812-5", None, "9780441478125"),
    ],
)
def test_an_isbn_is_known_and_so_is_one_with_a_slip(query: str, isbn13: str | None, meant: str | None) -> None:
    typed = typed_isbn(query)
    assert typed is not None
    assert (typed.isbn13, typed.valid) == (isbn13, isbn13 is not None)
    assert (meant in typed.meant) if meant else typed.meant == []


@pytest.mark.parametrize(
    "query", ["1984", "2001: a space odyssey", "044147812", "97804414781255", "X441478123", "isbn", ""]
)
def test_other_numbers_are_words(query: str) -> None:
    assert typed_isbn(query) is None


def test_slips_in_an_isbn_are_valid_ones_and_the_last_digit_comes_first() -> None:
    meant = meant_isbns("9780441478124")
    assert meant[0] == "9780441478125"
    assert len(meant) == len(set(meant))
    assert "9780441478124" not in meant
