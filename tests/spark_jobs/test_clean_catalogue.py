from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame

from bookworks.errors import ContractError
from spark_jobs import clean_catalogue
from spark_jobs.clean_catalogue import clean_editions, clean_readers, edition_isbn13, plausible_year
from spark_jobs.codes import language_code
from spark_jobs.lake import Lake

Make = Callable[..., DataFrame]


def test_the_last_record_of_an_edition_wins_and_is_repaired(raw: Make) -> None:
    frame = raw(
        "catalogue",
        {"edition_id": "e1", "title": "Old", "isbn": "0439023483"},
        {"edition_id": "e1", "title": "Caf\xc3\xa9 &amp; Bar", "isbn": "439023483", "year": "2008.0", "author": "NULL"},
    )
    (row,) = clean_editions(frame).collect()
    assert (row.title, row.isbn13, row.year, row.author) == ("Café & Bar", "9780439023481", 2008, None)
    assert row.repairs == ["title_mojibake", "title_html_entity", "author_null_word", "isbn_leading_zero"]
    assert {tuple(change) for change in row.changes} >= {
        ("author", "null_word", "NULL", None), ("isbn", "isbn_leading_zero", "439023483", "9780439023481")}  # fmt: skip


def test_a_missing_column_is_named(raw: Make) -> None:
    with pytest.raises(ContractError, match="publisher"):
        clean_editions(raw("catalogue", {"edition_id": "e1", "title": "T"}).drop("publisher"))


@pytest.mark.parametrize(
    ("written", "isbn13", "rule"),
    [
        ("0439023483", "9780439023481", None),
        ("978–0–439–02348–1", "9780439023481", None),
        ("ISBN 0-439-02348-3 (pbk.)", "9780439023481", None),
        ("2070612368; 9782070612369; 0439023483", "9782070612369", None),
        ("439023483", "9780439023481", "isbn_leading_zero"),
        ("80442957x", "9780804429573", "isbn_leading_zero"),
        ("9.78043902348e+12", "9780439023481", "isbn_number"),
        # Of two that round to the same number, nobody knows which it was.
        ("9.78067978149e+12", None, "no_isbn"),
        ("9.7800609965e+12", None, "no_isbn"),
        ("1111111111", None, "isbn_check_digit"),
        ("9789999999991", None, "isbn_check_digit"),
        ("4,39023483E8", "9780439023481", "isbn_number"),
        ("9780439023481.0", "9780439023481", "isbn_number"),
        ("9.78044E+12", None, "no_isbn"),
        ("0439023484", None, "isbn_check_digit"),
        ("9780439023482", None, "isbn_check_digit"),
        ("3095561960242", None, "no_isbn"),
        ("B00005JMWL", None, "no_isbn"),
        (None, None, None),
    ],
)
def test_isbn(written: str | None, isbn13: str | None, rule: str | None) -> None:
    assert edition_isbn13(written) == (isbn13, rule)


@pytest.mark.parametrize(
    ("written", "year"),
    [("1999", 1999), ("2008.0", 2008), ("c1987", 1987), ("0", None), ("1376", None), ("2050", None), (None, None)],
)
def test_years_must_be_plausible(written: str | None, year: int | None) -> None:
    assert plausible_year(written, last_year=2027) == year


@pytest.mark.parametrize(
    ("written", "code"),
    [("eng", "en"), ("en-US", "en"), ("German", "de"), ("fr", "fr"), ("klingon", None), (None, None)],
)
def test_languages_become_codes(written: str | None, code: str | None) -> None:
    assert language_code(written) == code


def test_readers_have_a_country_code_and_a_plausible_age(raw: Make) -> None:
    frame = raw(
        "readers",
        {"user_id": "u1", "location": 'berlin, berlin, germany"', "age": 244},
        {"user_id": "u2", "location": "nowhere, n/a, ", "age": 5},
        {"user_id": "u3", "country": "United Kingdom", "age": None},
        {"user_id": "u4", "country": "de", "age": 100},
        {"user_id": "u5", "location": None, "age": 4},
        {"user_id": "u4", "country": "FR", "age": 101},
    )
    got = {row.user_id: (row.country, row.age) for row in clean_readers(frame).collect()}
    assert got == {"u1": ("DE", None), "u2": (None, 5), "u3": ("GB", None), "u4": ("FR", None), "u5": (None, None)}


def test_counts_add_up_and_no_readers_is_no_error(lake: Lake, store_raw: Callable[..., None]) -> None:
    store_raw(
        "catalogue",
        {"edition_id": "e1", "title": "One"},
        {"edition_id": "e1", "title": "One, again &amp; again", "publisher": "Tor, Inc.", "isbn": "439023483"},
        {"edition_id": "e2", "title": "NULL"},
    )
    counts = clean_catalogue.run(lake, None)
    assert {name: n for name, n in counts.items() if n or not name.startswith("repairs_")} == {
        "editions_in": 3, "editions_out": 1, "editions_rejected_no_title": 1, "editions_superseded": 1,
        "editions_repaired": 1, "readers_in": 0, "readers_out": 0, "readers_superseded": 0,
        "repairs": 3, "repairs_html_entity": 1, "repairs_company_form": 1, "repairs_isbn_leading_zero": 1,
    }  # fmt: skip
    assert [row.title for row in lake.read_clean("editions").collect()] == ["One, again & again"]
    assert sorted(tuple(row) for row in lake.read_clean("repairs").collect()) == [
        ("e1", "isbn", "isbn_leading_zero", "439023483", "9780439023481"),
        ("e1", "publisher", "company_form", "Tor, Inc.", "Tor"),
        ("e1", "title", "html_entity", "One, again &amp; again", "One, again & again"),
    ]
