"""Each loader on small dirty files and on the real ones."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookworks.errors import TerminalError
from ingestion.rows import Lookup
from ingestion.sources import book_crossing, goodbooks_10k, registry
from tests.support.fake_stream import file_report, load

BX_BOOKS = book_crossing.SOURCE.kinds[0].header[0] + b"\r\n"
BX_USERS = b'"User-ID";"Location";"Age"\r\n'
BX_RATINGS = b'"User-ID";"ISBN";"Book-Rating"\r\n'
IMAGES = b'"http://s";"http://m";"http://l"\r\n'


def book_crossing_folder(folder, books=b"", users=b"", ratings=b""):
    (folder / "BX-Books.csv").write_bytes(BX_BOOKS + books)
    (folder / "BX-Users.csv").write_bytes(BX_USERS + users)
    with gzip.open(folder / "BX-Book-Ratings.csv.gz", "wb") as file:
        file.write(BX_RATINGS + ratings)
    return folder


def test_classic_title_that_ends_in_a_backslash_does_not_swallow_the_separator(tmp_path):
    row = b'"1852278951";"By \\Vecors\\";"S. Milligan";"2000";"Virgin";' + IMAGES
    sender, _ = load(book_crossing_folder(tmp_path, row))
    (book,) = sender.records["catalogue"]
    assert (book["title"], book["author"], book["year"]) == ("By \\Vecors\\", "S. Milligan", "2000")
    assert book["edition_id"] == "9781852278953"


def test_classic_escaped_quotes_latin1_and_unknowns(tmp_path):
    row = b'"0449003787";"\\"O\\" f\xfcr M\xe4nner; Bd. 1";"";"0";"NULL";' + IMAGES
    sender, _ = load(book_crossing_folder(tmp_path, row))
    (book,) = sender.records["catalogue"]
    assert book["title"] == '"O" für Männer; Bd. 1'
    assert (book["author"], book["year"], book["publisher"]) == (None, None, None)


def test_classic_separator_inside_a_field_is_read_with_escapes(tmp_path):
    row = b'"0449003787";"A \\";\\" B";"C";"1999";"P";' + IMAGES
    sender, _ = load(book_crossing_folder(tmp_path, row))
    assert sender.records["catalogue"][0]["title"] == 'A ";" B'


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'"0449003787";"A";"B";"1999";"P";"s";"m"\r\n', "wrong_field_count"),
        (b'"0449003787";"A";"B";"1999";"P";"s";"m";"l";"x"\r\n', "wrong_field_count"),
        (b"0449003787,A,B\r\n", "wrong_field_count"),
        (b'"0449003787";"  ";"B";"1999";"P";' + IMAGES, "no_title"),
        (b'"";"A";"B";"1999";"P";' + IMAGES, "no_isbn"),
        (b'"0449003787";"A\x00";"B";"1999";"P";' + IMAGES, "nul_character"),
    ],
)
def test_classic_book_that_is_refused_keeps_its_bytes_line_and_reason(tmp_path, row, reason):
    good = b'"0393316041";"G";"H";"1999";"P";' + IMAGES
    sender, report = load(book_crossing_folder(tmp_path, good + row + good.replace(b"0393316041", b"0060927488")))
    ((topic, raw, headers),) = sender.letters
    assert (topic, raw, headers["reason"]) == ("catalogue", row.rstrip(b"\r\n"), reason)
    assert (headers["source_file"], headers["source_line"]) == ("book-crossing/BX-Books", 3)
    assert file_report(report, "BX-Books").sent == 2


def test_classic_line_break_in_a_location_is_one_row(tmp_path):
    users = b'"1";"nyc, new york, usa";NULL\r\n"275081";"cernusco s\n, milan, italy";NULL\r\n"3";"x, n/a";"18"\r\n'
    sender, report = load(book_crossing_folder(tmp_path, users=users))
    assert file_report(report, "BX-Users").rows_in == 3
    assert [r["country"] for r in sender.records["readers"]] == ["usa", "italy", None]


def test_classic_open_quote_does_not_swallow_the_good_rows_after_it(tmp_path):
    users = b'"1";"open\r\n"2";"a, usa";"18"\r\n"3";"b, usa";"19"\r\n"4";"torn'
    sender, _ = load(book_crossing_folder(tmp_path, users=users))
    assert [r["user_id"] for r in sender.records["readers"]] == ["bx:2", "bx:3"]
    assert [headers["source_line"] for _, _, headers in sender.letters] == [2, 5]


@pytest.mark.parametrize(
    ("age", "years", "written"),
    [(b'"36"', 36, None), (b"NULL", None, None), (b'"0"', None, "0"), (b'"244"', None, "244"), (b'"x"', None, "x")],
)
def test_implausible_age_is_set_aside_not_invented(tmp_path, age, years, written):
    sender, _ = load(book_crossing_folder(tmp_path, users=b'"1";"a, usa";' + age + b"\r\n"))
    (reader,) = sender.records["readers"]
    assert (reader["age"], reader.get("age_as_written")) == (years, written)


@pytest.mark.parametrize(
    ("isbn", "edition_id"),
    [
        (b"034545104X", "9780345451040"),
        (b"034545104x", "9780345451040"),
        (b"0-345-45104-X", "9780345451040"),
        (b"9780345451040", "9780345451040"),
        (b"155061224", "9780155061224"),  # lost its zero
        (b"B0000DAPP1", "bx:B0000DAPP1"),
        (b"142.001.740", "bx:142.001.740"),
        (b"194114/03", "bx:194114/03"),
        (b"0345451041", "bx:0345451041"),  # wrong check digit
    ],
)
def test_rating_of_an_unknown_or_broken_isbn_survives(tmp_path, isbn, edition_id):
    sender, _ = load(book_crossing_folder(tmp_path, ratings=b'"276725";"' + isbn + b'";"0"\r\n'))
    (event,) = sender.records["interactions"]
    assert (event["edition_id"], event["value"], event["user_id"]) == (edition_id, 0.0, "bx:276725")


def test_repeated_rating_is_a_duplicate_and_a_contradicting_one_is_refused(tmp_path):
    row = b'"1";"034545104X";"5"\r\n'
    sender, report = load(book_crossing_folder(tmp_path, ratings=row + row + row.replace(b'"5"', b'"9"')))
    ratings = file_report(report, "BX-Book-Ratings")
    assert (ratings.rows_in, ratings.sent, ratings.duplicates) == (3, 1, 1)
    assert sender.reasons() == {"contradicts_earlier_row": 1}


def test_both_layouts_and_repeated_imports_give_the_same_ids(tmp_path):
    classic, comma = tmp_path / "a", tmp_path / "b"
    classic.mkdir(), comma.mkdir()
    book_crossing_folder(classic, ratings=b'"276744";"038550120X";"7"\r\n')
    (comma / "BX-Books.csv").write_bytes(
        b"ISBN,Book-Title,Book-Author,Year-Of-Publication,Book-Publisher\n"
        b'0449003787,"\\O\\"" Is for Outlaw""",SUE GRAFTON,2001,Ballantine Books\n'
    )
    (comma / "BX-Users.csv").write_bytes(
        b'User-ID,User-City,User-State,User-Country,User-Age\n44,a," b"," usa""","51"""\n19,weston, ,,"14"""\n'
    )
    (comma / "BX-Ratings.csv").write_bytes(b"User-ID,ISBN,Book-Rating\n276744,038550120X,7\n")
    one, two = load(classic)[0], load(comma)[0]
    assert one.records["interactions"][0]["event_id"] == two.records["interactions"][0]["event_id"]
    assert [(r["age"], r["country"]) for r in two.records["readers"]] == [(51, "usa"), (14, None)]
    assert two.records["catalogue"][0]["title"] == '\\O\\" Is for Outlaw"'


def test_goodbooks_isbn13_written_as_a_float_is_restored_by_its_check_digit():
    assert goodbooks_10k.isbn_of("439023483", "9.78043902348e+12") == "9780439023481"
    assert goodbooks_10k.isbn_of("", "9.78043902348e+12") == "9780439023481"
    assert goodbooks_10k.isbn_of("", "") is None


def goodbooks_folder(folder, tags=None, uses=None, title=b"A"):
    columns = goodbooks_10k.SOURCE.kinds[0].header[0]
    row = b"1,77,,5,,,,B,2008.0,," + title + b",en" + b"," * 11
    (folder / "books.csv").write_bytes(columns + b"\n" + row + b"\n")
    if tags is not None:
        (folder / "tags.csv").write_bytes(b"tag_id,tag_name\n" + tags)
    if uses is not None:
        (folder / "book_tags.csv").write_bytes(b"goodreads_book_id,tag_id,count\n" + uses)
    return folder


def test_goodbooks_subjects_are_the_most_used_tags(tmp_path):
    tags = b"".join(b"%d,tag-%02d\n" % (i, i) for i in range(12))
    uses = b"".join(b"77,%d,%d\n" % (i, 100 * (i % 3) + i) for i in range(12)) + b"78,0,9999\n"
    sender, report = load(goodbooks_folder(tmp_path, tags, uses))
    (book,) = sender.records["catalogue"]
    assert book["subjects"] == [f"tag-{i:02d}" for i in (11, 8, 5, 2, 10, 7, 4, 1, 9, 6)]
    assert [(f.kind, f.rows_in, f.used, f.sent) for f in report.files] == [
        ("tags", 12, 12, 0), ("book_tags", 13, 13, 0), ("books", 1, 0, 1),
    ]  # fmt: skip
    assert report.not_loaded == []


@pytest.mark.parametrize(
    ("file", "row", "reason"),
    [
        ("tags", b"x,fantasy", "bad_tag_id"),
        ("tags", b"3,", "no_tag_name"),
        ("tags", b"3,a,b", "wrong_field_count"),
        ("tags", b"1,horror", "contradicts_earlier_row"),
        ("tags", b"3,\xff", "not_utf8"),
        ("book_tags", b"77,1,many", "bad_count"),
        ("book_tags", b"77,1,-1", "bad_count"),
        ("book_tags", b"77,9,5", "unknown_tag"),
        ("book_tags", b"77,1", "wrong_field_count"),
        ("book_tags", b"x,1,5", "bad_goodreads_book_id"),
        ("book_tags", b"77,1,8", "contradicts_earlier_row"),
    ],
)
def test_goodbooks_broken_row_of_a_look_up_is_a_dead_letter_with_its_line(tmp_path, file, row, reason):
    rows = {"tags": b"1,fantasy\n", "book_tags": b"77,1,7\n"}
    rows[file] += rows[file] + row + b"\n"
    sender, report = load(goodbooks_folder(tmp_path, rows["tags"], rows["book_tags"]))
    ((topic, raw, headers),) = sender.letters
    assert (topic, raw, headers["reason"]) == ("catalogue", row, reason)
    assert (headers["source_file"], headers["source_line"]) == (f"goodbooks-10k/{file}", 4)
    counted = file_report(report, file)
    assert (counted.rows_in, counted.used, counted.duplicates, counted.rejected) == (3, 1, 1, {reason: 1})
    assert sender.records["catalogue"][0]["subjects"] == ["fantasy"]


def test_goodbooks_one_look_up_without_the_other_is_named_as_not_loaded(tmp_path):
    sender, report = load(goodbooks_folder(tmp_path, uses=b"77,1,5\n"))
    assert report.not_loaded == ["book_tags.csv"]
    assert sender.letters == []
    assert sender.records["catalogue"][0]["subjects"] == []


def test_goodbooks_look_up_that_cannot_be_read_stops_before_a_book_without_subjects_is_sent(tmp_path):
    goodbooks_folder(tmp_path, b"1,fantasy\n", b"77,1,7\n")
    (tmp_path / "tags.csv").write_bytes(b"tag;name\n1;fantasy\n")
    with pytest.raises(TerminalError, match=r"tags\.csv has not the layout of tags.*Allowed: b'tag_id,tag_name'"):
        load(tmp_path)


def test_loans_of_the_same_item_at_other_times_are_events_of_their_own(tmp_path):
    (tmp_path / "items.csv").write_text(
        'Title,Author,ISBN Valid,Publisher,Subjects,i\n"L\'été /",,9782871303336; 2871303339; 9782343190198,,A; B,7\n',
        encoding="utf-8",
    )
    (tmp_path / "interactions.csv").write_text(
        "u,i,t\n1,7,1687541086.0\n1,7,1687541999.0\n1,7,1687541086.0\n1,7,soon\n"
    )
    sender, report = load(tmp_path)
    loans = file_report(report, "interactions")
    assert (loans.sent, loans.duplicates, loans.rejected) == (2, 1, {"bad_time": 1})
    assert sender.records["interactions"][0]["occurred_at"] == "2023-06-23T17:24:46Z"
    (item,) = sender.records["catalogue"]
    assert (item["title"], item["isbn"], item["subjects"]) == ("L'été", "9782871303336", ["A", "B"])
    assert item["isbns"] == ["9782871303336", "9782343190198"]


def test_unknown_folder_is_refused_with_what_is_allowed(tmp_path):
    (tmp_path / "letters.txt").write_text("x")
    with pytest.raises(TerminalError, match=r"letters\.txt.*Allowed: simulate: catalogue\.jsonl"):
        registry.choose(tmp_path, "auto")
    with pytest.raises(TerminalError, match=r"no such source.*Allowed: auto, simulate"):
        registry.choose(tmp_path, "goodreads")
    with pytest.raises(TerminalError, match=r"missing.*items\.csv, interactions\.csv"):
        registry.choose(tmp_path, "library-loans")


def test_spreadsheet_copy_under_the_real_name_is_refused_by_its_header(tmp_path):
    book_crossing_folder(tmp_path)
    (tmp_path / "BX-Book-Ratings.csv").write_bytes(b"UserID;ISBN;BookRating\r\n276725;034545104X;0\r\n")
    _, report = load(tmp_path, "book-crossing")
    assert "spreadsheet" in file_report(report, "BX-Book-Ratings").error


def test_damaged_gzip_is_reported_and_the_rows_before_it_kept(tmp_path):
    rows = b"".join(b'"%d";"034545104X";"5"\r\n' % i for i in range(20_000))
    book_crossing_folder(tmp_path, ratings=rows)
    path = tmp_path / "BX-Book-Ratings.csv.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    _, report = load(tmp_path, "book-crossing")
    ratings = file_report(report, "BX-Book-Ratings")
    assert 0 < ratings.sent < 20_000
    assert "cannot be read to its end" in ratings.error


KINDS = [(source, kind) for source in registry.SOURCES.values() for kind in (*source.lookups, *source.kinds)]
fragments = st.sampled_from(
    [b'"', b'\\"', b";", b",", b'";"', b"\n", b"\r\n", b"NULL", b"\x00", b"\xff", b"\xe9", b"9" * 25, b"7", b"\t",
     b"{}", b'{"a":', b"0345451041", b"1687541086.0", b"nan", b'{"schema_version":1e999}', b'"1";"034545104X";"5"']
)  # fmt: skip
content = st.one_of(st.binary(max_size=400), st.lists(fragments, max_size=60).map(b"".join))


@pytest.mark.parametrize(("source", "kind"), KINDS, ids=[f"{s.name}-{k.name}" for s, k in KINDS])
@given(body=content, with_header=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_counted_and_never_crash(tmp_path, source, kind, body, with_header):
    with_header = with_header or isinstance(kind, Lookup)  # one without is an error of the whole load
    header = kind.header[0] + b"\n" if kind.header and with_header else b""
    for other in (*source.lookups, *source.kinds):
        (tmp_path / other.names[0]).parent.mkdir(exist_ok=True)
        (tmp_path / other.names[0]).write_bytes((other.header[0] if other.header else b"") + b"\n" * bool(other.header))
    (tmp_path / kind.names[0]).write_bytes(header + body)
    load(tmp_path, source.name)


@pytest.mark.parametrize(
    ("folder", "source", "rows"),
    [
        ("book-crossing-classic", "book-crossing",
         {"BX-Books": 42_111, "BX-Users": 278_858, "BX-Book-Ratings": 455_754}),
        ("book-crossing-explicit", "book-crossing-comma",
         {"BX-Books": 18_185, "BX-Users": 48_299, "BX-Ratings": 204_164}),
        ("library-loans", "library-loans", {"items": 15_291, "interactions": 69_637}),
        ("goodbooks-10k", "goodbooks-10k",
         {"tags": 34_252, "book_tags": 99, "books": 10_000, "interactions_3k": 261_634, "ratings": 99, "to_read": 99}),
    ],
)  # fmt: skip
def test_slice_of_the_real_files(data_dir, folder, source, rows):
    """The first rows of each real file; which source it is comes from the files alone."""
    limit = 3_000
    sender, report = load(data_dir / folder, "auto", limit)
    assert report.source == source
    for file in report.files:
        assert file.error is None
        assert file.rows_in == (rows[file.kind] if file.used else min(limit, rows[file.kind]))
        assert sum(file.rejected.values()) <= 0.01 * file.rows_in
    assert sender.records["catalogue"][0]["title"].strip()


def test_every_book_and_user_of_the_classic_dump_is_accounted_for(data_dir, monkeypatch):
    """Whole BX-Books: only books without a title, and second spellings of one ISBN, are refused."""
    folder = data_dir / "book-crossing-classic"
    books = book_crossing.SOURCE.kinds[0]
    monkeypatch.setitem(registry.SOURCES, "book-crossing", type(book_crossing.SOURCE)("book-crossing", (books,)))
    sender, report = load(folder, "book-crossing")
    (file,) = report.files
    assert file.rows_in == 42_111
    assert set(file.rejected) <= {"no_title", "contradicts_earlier_row"}
    assert file.sent >= 42_000
    assert sum(book["title"].endswith("\\") for book in sender.records["catalogue"]) >= 15
