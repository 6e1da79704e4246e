"""Which editions are one work, on Spark, with the trained scorer."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import random
import time
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F
from rich.console import Console
from typer.testing import CliRunner

from bookworks.errors import ContractError, SettingError, TerminalError
from spark_jobs.works import cli
from spark_jobs.works.clustering import cluster
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.delta import changes
from spark_jobs.works.evaluation import evaluate, read_works
from spark_jobs.works.files import Catalogue, Columns, read_catalogue, write_csv
from spark_jobs.works.kept import KeptFiles
from spark_jobs.works.matching import match
from spark_jobs.works.records import FIELDS
from spark_jobs.works.state import load, save

CONFIG = MatchConfig()
SAME = [
    ("The Hobbit", "HOBBIT"),
    ("The Hobbit", "The Hobbit: A Novel"),
    ("The Hobbit", "The Hobbit (Middle-earth, #1)"),
    ("The Hobbit", "The Hobbit; or There and Back Again"),
    ("Der Schwarm. Roman.", "Der Schwarm"),
    ("Harry Potter and the Goblet of Fire", "Harry Potter and the Gobelt of Fire"),
    ("Café & Bar", "Cafe and Bar"),
    ("The Two Towers (The Lord of the Rings, #2)", "Two Towers, The"),
    ("Moby-Dick; or, The Whale", "Moby Dick"),
    (
        "Harry Potter and the Sorcerer's Stone (Harry Potter, #1)",
        "Harry Potter und der Stein der Weisen (Harry Potter, #1)",
    ),
]
DIFFERENT = [
    ("Sandman, Vol. 1", "Sandman, Vol. 2"),
    ("Fables (Vol. 3)", "Fables (Vol. 4)"),
    ("1984", "1985"),
    ("Star Wars: A New Hope", "Star Wars: The Empire Strikes Back"),
    ("The Cat Who Saw Red", "The Cat Who Saw Stars"),
    ("Harry Potter and the Prisoner of Azkaban", "Harry Potter and the Chamber of Secrets"),
    ("Henry IV, Part 1", "Henry IV, Part 2"),
    ("One Piece. 1, À l'aube d'une grande aventure", "One Piece. 2, Luffy versus la bande à Baggy"),
    ("The Second Book of Swords", "The Third Book of Swords"),
    ("Comptabilité financière 1", "Comptabilité financière 3"),
    ("Faust I", "Faust II"),
    ("Programming in C", "Programming in C++"),
    ("Learning C++ by Example", "Learning C# by Example"),
    ("World War I", "World War II"),
    ("Star Trek: Log Two", "Star Trek: Log Nine"),
    ("PLUTO: Urasawa x Tezuka 001", "PLUTO: Urasawa x Tezuka 004"),
    ("Mémoires de guerre. I, L'appel", "Mémoires de guerre. II, L'unité"),
    ("Mémoires / Anna Author ; tome 1", "Mémoires / Anna Author. Tome 2"),
    ("Rouge : histoire d'une couleur", "Vert : histoire d'une couleur"),
    ("The Harry Potter Collection 1-4 (Harry Potter, #1-4)", "Harry Potter Boxset (Harry Potter, #1-7)"),
]


@pytest.fixture(scope="module")
def editions(request):
    """`editions((title, author), …)`: ids e00, e01, …"""
    spark = request.getfixturevalue("spark")

    def make(*rows, **more):
        full = [
            {"edition_id": f"e{n:02}", "title": title, "author": author} | {k: v[n] for k, v in more.items()}
            for n, (title, author) in enumerate(rows)
        ]
        schema = ", ".join(f"{name} string" for name in FIELDS)
        return spark.createDataFrame([tuple(row.get(name) for name in FIELDS) for row in full], schema)

    return make


def groups(frame):
    found = defaultdict(set)
    for row in frame.collect():
        found[row.cluster].add(row.edition_id)
    return {frozenset(group) for group in found.values()}


def test_spellings_of_one_work_meet_and_different_works_of_one_author_stay_apart(editions):
    """Each pair of titles has an author of its own."""
    pairs = [*SAME, *DIFFERENT]
    rows = [(title, f"Anna Author{chr(97 + n)}") for n, pair in enumerate(pairs) for title in pair]
    work_of = {row.edition_id: row.cluster for row in cluster(editions(*rows), CONFIG).editions.collect()}
    met = [pair for n, pair in enumerate(pairs) if work_of[f"e{2 * n:02}"] == work_of[f"e{2 * n + 1:02}"]]
    assert met == SAME


def test_a_missing_author_matches_nobody_by_itself_but_an_isbn_ties(editions):
    rows = editions(
        ("Dune", None), ("Dune", None), ("Dune", "Frank Herbert"), ("Dune Messiah", "Herbert, Frank"),
        isbn=[None, "0441013597; 9780441013593", "9780441013593", None],
    )  # fmt: skip
    assert groups(cluster(rows, CONFIG).editions) == {frozenset({"e00"}), frozenset({"e01", "e02"}), frozenset({"e03"})}
    bare = editions((None, None), ("", None), isbn=["0439023483", "9780439023481"])
    assert min(row.confidence for row in cluster(bare, CONFIG).editions.collect()) >= CONFIG.isbn_probability
    poems = editions(("Poems", None), ("Poems", None), publisher=["Unwin", "Unwin"], year=["1937", "1937"])
    assert len(groups(cluster(poems, CONFIG).editions)) == 1


def test_a_short_title_of_authors_who_share_nobody_is_a_work_for_each(editions):
    rows = [("Œuvres complètes", name) for name in ("Aristote", "André Breton", "Colette", "Homère", "Molière")]
    assert len(groups(cluster(editions(*rows), CONFIG).editions)) == len(rows)


def test_a_record_without_an_author_is_no_book_of_another_house_nor_with_a_strange_subtitle(editions):
    rows = [
        ("Droit du travail", "Aurélien Witzig", "Schulthess"), ("Droit du travail", None, "Helbing Lichtenhahn"),
        ("Le bail à loyer suisse", "David Lachat", "Editions Asloca"), ("Le bail à loyer suisse", None, "Asloca"),
        ("L'apprentissage coopératif : origines", "Alain Baudrit", None),
        ("L'apprentissage coopératif : jeux", None, None),
    ]  # fmt: skip
    found = cluster(editions(*(row[:2] for row in rows), publisher=[row[2] for row in rows]), CONFIG).editions
    assert groups(found) == {frozenset({"e02", "e03"}), *(frozenset({one}) for one in ("e00", "e01", "e04", "e05"))}


def test_one_house_has_one_title_for_a_book(editions):
    titles = ("Les théories de la motivation", "Les sources de la motivation")
    for houses, works in ((["Dunod", "Dunod"], 2), (["Dunod", "Eyrolles"], 1)):
        rows = editions(*((title, "Fabien Fenouillet") for title in titles), publisher=houses)
        assert len(groups(cluster(rows, CONFIG).editions)) == works


def test_one_title_is_one_work_though_one_record_names_no_series(editions):
    rows = [("Tripwire (Jack Reacher, #3)", "Lee Child"), ("Tripwire", "Lee Child"), ("Tripwire", "Lars Child")]
    assert frozenset({"e00", "e01"}) in groups(cluster(editions(*rows), CONFIG).editions)


def test_volumes_stay_apart_also_beside_a_record_that_names_none(editions):
    rows = [("Les misérables", "Victor Hugo")] * 6 + [(f"Les misérables, {part}", "Victor Hugo")
            for part in ("tome 1", "tome I", "tome 2", "tome II")]  # fmt: skip
    of = {row.edition_id: row.cluster for row in cluster(editions(*rows), CONFIG).editions.collect()}
    assert (of["e06"], of["e08"]) == (of["e07"], of["e09"])
    assert of["e06"] != of["e08"]


def test_a_shared_isbn_ties_no_strange_titles_and_no_volumes(editions):
    rows = editions(
        ("Less Than Zero", "Bret Easton Ellis"), ("The Rules of Attraction", "Bret Easton Ellis"),
        ("Faust, Teil 1", "Goethe"), ("Faust, Teil 2", "Goethe"), ("Dune", "Frank Herbert"), ("Emma", "Jane Austen"),
        isbn=["9780679781493"] * 2 + ["9783150000014"] * 2 + ["1111111111"] * 2,
    )  # fmt: skip
    assert len(groups(cluster(rows, CONFIG).editions)) == 6


def test_what_persons_decided_binds_and_reaches_editions_of_one_spelling(editions):
    rows = [("Emma", "Jane Austen")] * 3 + [("Persuasion", "Jane Austen")]
    decided = Constraints(together=[("d99", "e00", "e03")], apart=[(("e00",), ("e01", "e02"))])  # d99 has left
    assert groups(cluster(editions(*rows), CONFIG, decided).editions) == {
        frozenset({"e00", "e03"}), frozenset({"e01", "e02"}),
    }  # fmt: skip


def test_odd_records_come_out_once_and_unsure(editions):
    rows = [(None, None), ("", ""), ("Untitled", None), ("Untitled", "Unknown"), ("a" * 5000, "b"),
            ("עברית", "מחבר"), ("🐉", None), ("()", "Various")]  # fmt: skip
    found = {row.edition_id: row for row in cluster(editions(*rows), CONFIG).editions.collect()}
    assert len(found) == len({row.cluster for row in found.values()}) == len(rows)
    assert [found[f"e{n:02}"].confidence for n in range(4)] == [0, 0, 0, 0]


def test_order_and_partitions_change_nothing(editions):
    rows = [(title, "Anna Author") for pair in SAME + DIFFERENT for title in pair]
    frame = editions(*rows)
    first = sorted(cluster(frame, CONFIG).editions.collect())
    again = sorted(cluster(frame.orderBy("title").repartition(5), CONFIG).editions.collect())
    assert first == again
    by_workers = dataclasses.replace(CONFIG, bucket_rows=1)  # so few rows are the driver's otherwise
    assert first == sorted(cluster(frame, by_workers).editions.collect())


def test_a_block_over_its_bound_is_named_and_loses_nothing(editions):
    small = MatchConfig(key_block_size=3)
    found = cluster(editions(*[("Holy Bible", None)] * 5), small)
    assert [tuple(row) for row in found.cut.collect()] == [("title", "holy bible", 5)]
    assert found.cut_counts() == {"blocks_cut": 1, "nodes_in_cut_blocks": 5}
    assert len(groups(found.editions)) == 5


def test_a_run_that_starts_from_an_earlier_one_finds_the_same_works(spark, editions, tmp_path):
    """Rows come, go and change; blocks pass their bound both ways; a source turns its names round; a person decides."""
    small, folder = MatchConfig(block_size=6, key_block_size=3, most_changed=1), f"file://{tmp_path}/kept"
    rows = [(title, "Anna Author") for pair in SAME for title in pair] + [("Dune", f"Frank Herbert{n}") for n in "abc"]
    rows += [(f"Tale of {w}", "Bo Few") for w in ("stone", "fire", "fires")] + [("Emma", "Jane Austen"), ("Emma", None)]
    base = editions(*rows).withColumn("source", F.lit("x"))
    turned = editions(("Stories", "Far, Liv"), ("Stories (Vol. 2)", "Liv Far")).withColumn("source", F.lit("y"))
    turned = turned.withColumn("edition_id", F.concat(F.lit("y"), "edition_id"))
    first = cluster(base.unionByName(turned), small)
    save(first.state, folder, small)

    came = editions(
        *[(f"Tale of {w}", "Bo Few") for w in ("ice", "iron", "wood", "stones", "fire: a novel")],
        ("Dune", "Frank Herbertd"), ("Emma", "Jane Austen"), ("Stories, Volume 2", "Far, Liv"), ("Tales", "Far, Liv"),
    ).withColumns({"edition_id": F.concat(F.lit("n"), "edition_id"), "source": F.lit("y")})  # fmt: skip
    gone = F.col("edition_id").isin("e00", "e05", "e13", "e18")
    title = F.when(F.col("edition_id") == "e02", "Silmarillion").otherwise(F.col("title"))
    then = base.where(~gone).withColumn("title", title).unionByName(turned).unionByName(came)
    decided = Constraints(together=[("e01", "e09")], apart=[(("e06",), ("e07",))])
    before = load(spark, folder, small)
    found = cluster(then, small, decided, before)
    assert sorted(found.editions.collect()) == sorted(cluster(then, small, decided).editions.collect())
    assert load(spark, folder, MatchConfig(block_size=7)) is None
    (tmp_path / "kept" / "mine").mkdir()
    save(found.state, folder, small)
    assert found.cut.count() > 0  # what it was made of is still there
    assert found.pairs.count() > 0
    save(load(spark, folder, small), folder, small)
    kept = {path.name for path in (tmp_path / "kept").iterdir() if path.is_dir()}
    told = json.loads((tmp_path / "kept" / "current.json").read_text())
    assert kept == {"mine", told["version"], told["before"]}

    # What has not changed is taken as it was left, even where that was wrong.
    before = first.state
    wrong = before.linked.withColumn("sure", F.lit(0.125))
    again = cluster(base.unionByName(turned), small, before=dataclasses.replace(before, linked=wrong))
    assert {row.confidence for row in again.editions.collect()} >= {0.125}
    assert groups(again.editions) == groups(first.editions)

    for broken in (told | {"rows": told["rows"] | {"pairs": 10**6}}, told | {"version": "gone"}, [], {}):
        (tmp_path / "kept" / ".current.json.crc").unlink(missing_ok=True)
        (tmp_path / "kept" / "current.json").write_text(json.dumps(broken))
        assert load(spark, folder, small) is None


def drawn(seed):
    """A catalogue and what became of it: rows of few authors and titles, of which some went, changed and came."""
    draw = random.Random(seed)
    titles = [title for pair in SAME + DIFFERENT for title in pair] + ["", "Poems", "Complete Works"]
    authors = ["Anna Author", "A. Author", "Author, Anna; Few, Bo", "Bo Few", "Jane Austen", "", None]
    isbns = [None, None, None, "9780000000002", "9780141439518"]
    row = lambda: (draw.choice(titles), draw.choice(authors), draw.choice(isbns))  # noqa: E731
    rows = {f"e{n:03}": row() for n in range(160)}
    then = {one: row() if draw.random() < 0.1 else rows[one] for one in rows if draw.random() > 0.1}
    return rows, then | {f"{'ez'[n % 2]}{n:03}": row() for n in range(200, 216)}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_has_changed_is_worked_out_without_spark_as_a_whole_run_does(spark, tmp_path, seed):
    config = MatchConfig(block_size=12, key_block_size=6, most_changed=1)
    schema = "edition_id string, title string, author string, isbn string"
    none = {name: F.lit(None).cast("string") for name in FIELDS if name not in schema}
    frames = [spark.createDataFrame([(one, *row) for one, row in rows.items()], schema).withColumns(none)
              for rows in drawn(seed)]  # fmt: skip
    save(cluster(frames[0], config).state, f"file://{tmp_path}/kept", config)
    KeptFiles.seal(tmp_path / "kept")
    files = tmp_path / "rows.parquet"
    pq.write_table(frames[1].toArrow(), files)
    decided = Constraints(together=[("e001", "e002", "gone")], apart=[(("e003",), ("e004", "e005"))])
    whole = cluster(frames[1], config, decided)

    def seen(kept, changed):
        return sorted(zip(*kept.works(changed).to_pydict().values(), strict=True))

    before = KeptFiles.of(tmp_path / "kept", files, config)
    changed = changes(before, config, decided)
    assert 0.1 < changed.share < 0.5
    assert seen(before, changed) == sorted(map(tuple, whole.editions.collect()))
    assert sorted(before.cut(changed, config)) == sorted(map(tuple, whole.cut.collect()))
    assert before.cut(changed, config)

    # What it keeps is what a whole run would have kept, for Spark too.
    before.keep(changed)
    again = KeptFiles.of(tmp_path / "kept", files, config)
    nothing = changes(again, config, decided)
    assert nothing.share == 0
    assert seen(again, nothing) == seen(before, changed)
    loaded = load(spark, f"file://{tmp_path}/kept", config)
    for name in ("parsed", "nodes", "standing", "pairs"):
        kept, fresh = getattr(loaded, name), getattr(whole.state, name)
        assert sorted(map(str, kept.select(*fresh.columns).collect())) == sorted(map(str, fresh.collect())), name
    assert KeptFiles.of(tmp_path / "kept", files, MatchConfig()) is None


def test_a_damaged_file_of_a_run_or_a_full_disk_is_no_ones_loss(spark, tmp_path, monkeypatch):
    config = MatchConfig(most_changed=1)
    rows, then = drawn(3)
    schema = "edition_id string, title string, author string, isbn string"
    none = {name: F.lit(None).cast("string") for name in FIELDS if name not in schema}
    frame = spark.createDataFrame([(one, *row) for one, row in rows.items()], schema).withColumns(none)
    save(cluster(frame, config).state, f"file://{tmp_path}/kept", config)
    KeptFiles.seal(tmp_path / "kept")
    changed = spark.createDataFrame([(one, *row) for one, row in then.items()], schema).withColumns(none)
    pq.write_table(changed.toArrow(), tmp_path / "rows.parquet")
    catalogue = Catalogue(tmp_path / "rows.parquet", len(then), False, [])
    console = Console(file=io.StringIO())

    def again():
        return cli._again(console, catalogue, tmp_path / "kept", tmp_path / "out.csv", config)

    def no_room(*_):
        raise OSError(28, "No space left on device")

    pointer = (tmp_path / "kept" / "current.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", no_room)
        with pytest.raises(SettingError, match="cannot be kept"):
            again()
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + len(then)
    assert (tmp_path / "kept" / "current.json").read_text() == pointer
    assert [path.name for path in (tmp_path / "kept").iterdir() if path.is_dir()] == [json.loads(pointer)["version"]]

    file = next((tmp_path / "kept" / json.loads(pointer)["version"] / "parsed").glob("*.parquet"))
    content = file.read_bytes()
    for damaged in (content[:99] + bytes([content[99] ^ 1]) + content[100:], content[:-99], b""):
        file.write_bytes(damaged)
        assert again() is None
    file.unlink()
    assert again() is None
    file.write_bytes(content)
    assert again() is not None


def test_a_missing_column_is_named(editions):
    with pytest.raises(ContractError, match="publisher"):
        cluster(editions(("A", "B")).drop("publisher"), CONFIG)


def test_two_catalogues_that_write_names_differently_match(editions):
    left = editions(("The Hobbit", "J. R. R. Tolkien"), ("Emma", "Jane Austen"), ("Dune", "Frank Herbert, A. N. Other"))
    right = editions(
        ("Emma : a novel /", "Austen, Jane, 1775-1817"), ("Persuasion", "Austen, Jane"), ("Hobbit", "Tolkien, J. R. R.")
    )
    assert {(row.left_id, row.right_id) for row in match(left, right, CONFIG).collect()} == {
        ("e00", "e02"),
        ("e01", "e00"),
    }


CSV = (
    'id;titel;"autor"\n1;Dune;Herbert\n2;"A ""quoted"" one";X\n3;short\n'
    '4;"escaped \\"; too";Y\n;no id;Z\n5;Gra\xdfl;\xc4\n'
)


def test_a_file_is_read_and_what_cannot_be_is_reported_with_its_line(spark, tmp_path):
    path = tmp_path / "books.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode("latin-1")))
    read = read_catalogue(path, Columns.of_text("id=id,title=titel,author=autor"), tmp_path, ";", "latin-1")
    assert [(row.row, row.edition_id, row.title) for row in read.frame(spark).orderBy("row").collect()] == [
        (0, "1", "Dune"), (1, "2", 'A "quoted" one'), (2, "4", 'escaped "; too'), (3, "5", "Graßl"),
    ]  # fmt: skip
    assert [(line, reason) for line, reason, _ in read.rejected] == [
        (4, "2 fields where the header has 3"),
        (6, "no id"),
    ]
    wrong = read_catalogue(path, Columns.of_text("id=id,title=titel"), tmp_path, ";", "utf-8")
    assert [(line, reason) for line, reason, _ in wrong.rejected if "utf-8" in reason] == [(7, "not utf-8")]


@pytest.mark.parametrize(
    ("columns", "separator", "encoding", "error", "words"),
    [
        ("id=nope", ";", "latin-1", ContractError, "nope"),
        ("id=id", ";;", "latin-1", SettingError, "one character"),
        ("id=id", ";", "klingon", SettingError, "encoding"),
        ("title=titel", ";", "latin-1", SettingError, "no id"),
        ("id=id,colour=x", ";", "latin-1", SettingError, "cannot be read"),
    ],
)
def test_a_users_mistake_is_said_in_words(spark, tmp_path, columns, separator, encoding, error, words):
    path = tmp_path / "books.csv"
    path.write_bytes(CSV.encode("latin-1"))
    with pytest.raises(error, match=words):
        read_catalogue(path, Columns.of_text(columns), tmp_path, separator, encoding)


def test_a_stray_quote_swallows_no_rows_and_line_breaks_in_texts_are_kept(spark, tmp_path):
    path = tmp_path / "books.csv"
    rows = ["1,A", '2,"open quote', *(f"{n},T{n}" for n in range(3, 60)), '60,"two', 'lines"', '61,5" disk', "62,last"]
    path.write_bytes(b'\xef\xbb\xbf"id","title"\n' + "\n".join(rows).encode())
    read = read_catalogue(path, Columns.of_text("id=id,title=title"), tmp_path)
    titles = {row.edition_id: row.title for row in read.frame(spark).collect()}
    assert list(titles) == [str(n) for n in range(1, 63)]
    assert (titles["59"], titles["60"], titles["61"], titles["62"]) == ("T59", "two\nlines", '5" disk', "last")
    assert read.rejected == []


def test_a_text_of_many_lines_is_one_record(spark, tmp_path):
    long = "\n".join(f"Paragraph {n}, and more" for n in range(25))
    path = tmp_path / "books.csv"
    path.write_text(f'id,title,author,about\n1,A,X,"{long}"\n2,B,Y,short\n3,C,Z,"{long}"\n')
    read = read_catalogue(path, Columns.of_text("id=id,title=title,author=author"), tmp_path)
    rows = [(row.edition_id, row.title, row.author) for row in read.frame(spark).collect()]
    assert (rows, read.rejected) == ([("1", "A", "X"), ("2", "B", "Y"), ("3", "C", "Z")], [])


def test_two_stray_quotes_close_together_swallow_no_row(spark, tmp_path):
    path = tmp_path / "books[1].csv"
    path.write_text('id,title,author\n1,"Foo,X\n2,"Bar,Y\n3,Baz,Z\n')
    read = read_catalogue(path, Columns.of_text("id=id,title=title,author=author"), tmp_path)
    told = {row.edition_id for row in read.frame(spark).collect()} | {row[2].partition(",")[0] for row in read.rejected}
    assert told == {"1", "2", "3"}


@pytest.mark.parametrize(
    ("name", "content", "encoding"), [("a.csv.gz", b"no gzip", "utf-8"), ("a.csv", b"\x00\xd8x", "utf-16")]
)
def test_a_file_that_is_not_what_it_says(spark, tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TerminalError, match=r"a\.csv"):
        read_catalogue(tmp_path / name, Columns.of_text("id=id"), tmp_path, ",", encoding)
    if name.endswith("gz"):
        with pytest.raises(TerminalError, match="cannot be read"):
            read_works(tmp_path / name, ("work",))


def test_a_broken_row_in_another_encoding_is_reported_and_its_fields_counted_whole(spark, tmp_path):
    path = tmp_path / "books.csv"
    path.write_bytes(b"id,t\n1,A\n2,Caf\xe9,x,y\n3," + b"n" * 900 + b",x,y,z\n")
    read = read_catalogue(path, Columns.of_text("id=id,title=t"), tmp_path)
    assert [(line, reason) for line, reason, _ in read.rejected] == [
        (3, "4 fields where the header has 2"), (4, "5 fields where the header has 2"),
    ]  # fmt: skip
    assert "".join(text for _, _, text in read.rejected).encode()


def test_an_output_that_would_overwrite_or_has_no_folder_is_refused_before_any_work(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id\n1\n")
    for output, words in ((path, "overwrite"), (tmp_path / "none" / "out.csv", "cannot be written")):
        done = CliRunner().invoke(
            cli.app, ["cluster", "--input", str(path), "--columns", "id=id", "--output", str(output)]
        )
        assert isinstance(done.exception, SettingError)
        assert words in str(done.exception)
    assert path.read_text() == "id\n1\n"
    for keep in (path, tmp_path / "a*"):
        arguments = ["--input", str(path), "--columns", "id=id", "--output", f"{tmp_path}/o.csv", "--keep", str(keep)]
        done = CliRunner().invoke(cli.app, ["cluster", *arguments])
        assert isinstance(done.exception, SettingError)
        assert "--keep" in str(done.exception)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.left.rejected.csv", "pairs.right.rejected.csv"])
def test_a_match_that_would_overwrite_a_catalogue_is_refused_before_any_work(tmp_path, name):
    path = tmp_path / name
    path.write_text("id\n1\n")
    arguments = ["--left", str(path), "--right", str(path), "--columns", "id=id", "--output", f"{tmp_path}/pairs.csv"]
    done = CliRunner().invoke(cli.app, ["match", *arguments])
    assert isinstance(done.exception, SettingError)
    assert "overwrite" in str(done.exception)


def test_a_tab_may_be_named_as_shells_hand_it_over(tmp_path):
    (tmp_path / "books.tsv").write_text("id\ttitle\n1\tDune, Messiah\n")
    read = read_catalogue(tmp_path / "books.tsv", Columns.of_text("id=id,title=title"), tmp_path, "\\t")
    assert pq.read_table(read.file)["title"].to_pylist() == ["Dune, Messiah"]


def test_a_run_that_dies_while_it_writes_leaves_what_was_there(tmp_path):
    out = tmp_path / "works.csv"
    out.write_text("before")

    def rows():
        yield "a", "w1", 1.0
        assert out.read_text() == "before"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_csv(out, ("record_id", "work_id", "confidence"), rows())
    assert out.read_text() == "before"
    assert write_csv(out, ("record_id",), [("a",)]) == 1
    assert out.read_text() == "record_id\na\n"
    assert [path.name for path in tmp_path.iterdir()] == ["works.csv"]
    write_csv(Path("/dev/null"), ("record_id",), [])
    assert Path("/dev/null").is_char_device()


def test_what_a_run_left_that_died_while_it_saved_is_removed(tmp_path):
    version, before, died, others = (letter * 32 for letter in "abcd")
    for name in (version, before, died):
        (tmp_path / name / "parsed").mkdir(parents=True)
    (tmp_path / others / "photos").mkdir(parents=True)
    (tmp_path / f"current.json.{died}").write_text("{}")
    pointer = {"version": version, "before": before}
    (tmp_path / "current.json").write_text(json.dumps(pointer))
    KeptFiles.clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"current.json", version, before, others}
    (tmp_path / "current.json").unlink()  # it was the first run that died
    KeptFiles.clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {others}


@pytest.mark.parametrize("authors", [0, 3])
def test_a_title_that_tells_nothing_ties_nothing_however_often_it_stands_there(spark, authors):
    author = F.format_string("Anna%d Author", F.col("id") % authors) if authors else F.lit(None).cast("string")
    none = {name: F.lit(None).cast("string") for name in FIELDS}
    rows = spark.range(20_000).withColumns(
        none | {"edition_id": F.col("id").cast("string"), "title": F.lit("Untitled"), "author": author}
    )
    found = cluster(rows.select(*FIELDS), CONFIG)
    told = found.editions.agg(F.count("*"), F.count_distinct("edition_id"), F.count_distinct("cluster"),
                              F.max("confidence")).collect()[0]  # fmt: skip
    assert tuple(told) == (20_000, 20_000, 20_000, 0.0)


def test_a_file_that_is_not_there(spark, tmp_path):
    with pytest.raises(TerminalError, match="cannot be opened"):
        read_catalogue(tmp_path / "none.csv", Columns.of_text("id=id"), tmp_path)


def test_one_line_for_each_row_in_its_order(spark, tmp_path):
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("id,t,a\nb,,\na,DUNE,Frank Herbert\nb,Dune,Frank Herbert\nc,Emma,\n")  # of two b the fuller
    read = read_catalogue(path, Columns.of_text("id=id,title=t,author=a"), tmp_path)
    works = cli.write(read, cluster(cli.once(spark, read), CONFIG).editions, out)
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["record_id"] for row in rows] == ["b", "a", "b", "c"]
    assert works == 2
    assert rows[0]["work_id"] == rows[1]["work_id"] == rows[2]["work_id"] != rows[3]["work_id"]


def test_evaluation_counts_what_is_missing_and_shows_the_worst(tmp_path):
    found = {"1": "a", "2": "a", "3": "a", "4": "b", "9": "z"}
    result = evaluate(found, {"1": "x", "2": "x", "3": "y", "4": "y", "5": "y"})
    assert (result.missing, result.unknown, result.records) == (1, 1, 5)
    assert (result.worst[0].work_id, result.worst[0].works, result.worst[0].false_pairs) == ("a", 2, 2)
    assert result.scores["pairwise_precision"] == pytest.approx(1 / 3)
    assert result.sizes["found"] == {
        "1": 2,
        "2": 0,
        "3-5": 1,
        "6-10": 0,
        "11-20": 0,
        "21-50": 0,
        "51-100": 0,
        "101+": 0,
    }
    with pytest.raises(ContractError, match="no record in common"):
        evaluate({"1": "a"}, {"2": "b"})
    (tmp_path / "w.csv").write_text("record_id,work_id\n1,a\n1,b\n")
    with pytest.raises(ContractError, match="twice"):
        read_works(tmp_path / "w.csv", ("work_id",))
    for line in ("2,", "2", ",b"):
        (tmp_path / "w.csv").write_text(f"record_id,work_id\n1,a\n{line}\n")
        with pytest.raises(ContractError, match=r"Line 3 of w\.csv"):
            read_works(tmp_path / "w.csv", ("work_id",))


def test_labelled_editions_are_found_again(spark, data_dir, tmp_path):
    """No measure of quality, which needs records that the scorer has not seen, but of the whole way through Spark."""
    folder = data_dir / "goodreads-editions"
    truth = read_works(folder / "truth.csv.gz", ("work",))
    few = set(random.Random(1).sample(sorted(set(truth.values())), 600))
    columns = Columns.of_text("id=record_id,title=Title,author=Author,language=Language,series=Series")
    read = read_catalogue(folder / "records.csv.gz", columns, tmp_path)
    kept = [one for one, work in truth.items() if work in few]
    some = read.frame(spark).join(spark.createDataFrame([(one,) for one in kept], "edition_id string"), "edition_id")
    began = time.monotonic()
    found = {row.edition_id: row.cluster for row in cluster(some, CONFIG).editions.collect()}
    assert set(found) == set(kept)
    assert evaluate(found, {one: truth[one] for one in kept}).scores["bcubed_f1"] > 0.9, time.monotonic() - began
