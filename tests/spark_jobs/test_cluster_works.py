from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession

from bookworks.errors import ContractError
from spark_jobs import cluster_works
from spark_jobs.cluster_works import check_lossless, cluster, count_cut, describe_works
from spark_jobs.components import components
from spark_jobs.lake import Lake
from spark_jobs.work_matching import MatchConfig, edition_keys, scored_pairs, title_nodes

Make = Callable[..., DataFrame]
CONFIG = MatchConfig()


def editions(*rows: tuple[str, str | None]) -> list[dict[str, object]]:
    """Editions e00, e01, … of (title, author)."""
    return [
        {"edition_id": f"e{n:02}", "source": "test", "title": title, "author": author, "subjects": []}
        for n, (title, author) in enumerate(rows)
    ]


def groups(assigned: DataFrame) -> set[frozenset[str]]:
    works: dict[str, set[str]] = {}
    for row in assigned.collect():
        works.setdefault(row.work_id, set()).add(row.edition_id)
    return {frozenset(group) for group in works.values()}


SAME = [
    ("The Hobbit", "HOBBIT"),
    ("The Hobbit", "The Hobbit: A Novel"),
    ("The Hobbit", "The Hobbit (Middle-earth, #1)"),
    ("The Hobbit", "The Hobbit; or There and Back Again"),
    ("Der Schwarm. Roman.", "Der Schwarm"),
    ("Harry Potter and the Goblet of Fire", "Harry Potter and the Gobelt of Fire"),
    ("Café & Bar", "Cafe and Bar"),
    ("Rocky II", "Rocky 2"),
]
DIFFERENT = [
    ("Sandman, Vol. 1", "Sandman, Vol. 2"),
    ("Fables (Vol. 3)", "Fables (Vol. 4)"),
    ("1984", "1985"),
    ("Star Wars: A New Hope", "Star Wars: The Empire Strikes Back"),
    ("The Cat Who Saw Red", "The Cat Who Saw Stars"),
    ("Harry Potter and the Goblet of Fire", "Harry Potter and the Chamber of Secrets"),
    ("It", "If"),
]


def test_spellings_of_one_work_meet_and_different_works_of_one_author_stay_apart(clean: Make) -> None:
    """Each pair of titles has an author of its own, once spelled with an initial."""
    pairs = [*SAME, *DIFFERENT]
    rows = [(title, f"{name}. Author{chr(97 + n)}") for n, pair in enumerate(pairs)
            for title, name in zip(pair, ("Anna", "A"), strict=True)]  # fmt: skip
    work_of = {row.edition_id: row.work_id for row in cluster(clean("editions", *editions(*rows)), CONFIG).collect()}
    met = [pair for n, pair in enumerate(pairs) if work_of[f"e{2 * n:02}"] == work_of[f"e{2 * n + 1:02}"]]
    assert met == SAME
    assert len(set(work_of.values())) == len(SAME) + 2 * len(DIFFERENT)


def test_a_bare_title_does_not_bridge_two_subtitles(clean: Make) -> None:
    rows = editions(("Star Wars", "A B"), ("Star Wars: A New Hope", "A B"), ("Star Wars: The Phantom Menace", "A B"))
    assert len(groups(cluster(clean("editions", *rows), CONFIG))) == 3


def test_without_an_author_only_the_isbn_ties(clean: Make) -> None:
    rows = editions(("Dune", None), ("Dune", None), ("Dune", "Frank Herbert"), ("Le Cycle", "F. Herbert"), ("X", None))
    rows[1]["isbn13"] = rows[3]["isbn13"] = rows[4]["isbn13"] = "9780441013593"
    assigned = cluster(clean("editions", *rows), CONFIG)
    assert groups(assigned) == {frozenset({"e00"}), frozenset({"e01", "e03", "e04"}), frozenset({"e02"})}


def test_same_surname_and_initial_but_another_given_name(clean: Make) -> None:
    rows = editions(("Poems", "John Smith"), ("Poems", "Jane Smith"), ("Poems", "J. Smith"))
    assert len(groups(cluster(clean("editions", *rows[:2]), CONFIG))) == 2


def test_work_ids_do_not_depend_on_order_and_each_edition_comes_once(clean: Make) -> None:
    rows = editions(("Dune", "Frank Herbert"), ("Dune!", "F. Herbert"), ("Emma", "Jane Austen"))
    there, back = (
        {row.edition_id: row.work_id for row in cluster(clean("editions", *order), CONFIG).collect()}
        for order in (rows, rows[::-1])
    )
    assert there == back
    assert len(there) == 3
    assert there["e00"] == there["e01"] != there["e02"]


def test_confidence_is_the_score_of_the_best_tie(clean: Make) -> None:
    rows = editions(("The Goblet of Fire", "J Rowling"), ("The Gobelt of Fire", "J Rowling"), ("Emma", "Jane Austen"))
    confidence = {row.edition_id: row.confidence for row in cluster(clean("editions", *rows), CONFIG).collect()}
    assert 0.92 < confidence["e00"] == confidence["e01"] < 1
    assert confidence["e02"] == 1


def test_blocks_over_the_bound_are_cut_and_nothing_is_lost(clean: Make) -> None:
    frame = clean("editions", *editions(*[(f"Title {chr(97 + n) * 8}", "A B") for n in range(20)]))
    nodes = title_nodes(edition_keys(frame), MatchConfig(block_size=3))
    sizes = [row["count"] for row in nodes.groupBy("part").count().collect()]
    assert sum(sizes) == 20
    assert max(sizes) <= 3
    assert scored_pairs(nodes, CONFIG).where("a >= b").count() == 0
    assert cluster(frame, MatchConfig(block_size=3)).count() == 20


def test_cut_blocks_and_their_editions_are_counted(clean: Make) -> None:
    many = [(f"Title {chr(97 + n) * 8}", "A B") for n in range(5)]
    frame = clean("editions", *editions(*many, many[0], ("Dune", "Frank Herbert"), ("Emma", None)))
    cut = cluster(frame, MatchConfig(block_size=3))
    assert count_cut(cut) == {"blocks_cut": 1, "editions_in_cut_blocks": 6}
    assert count_cut(cluster(frame, CONFIG)) == {"blocks_cut": 0, "editions_in_cut_blocks": 0}


def test_a_missing_column_is_named(clean: Make) -> None:
    with pytest.raises(ContractError, match="isbn13"):
        cluster(clean("editions", *editions(("A", "B"))).drop("isbn13"), CONFIG)


def test_components_of_a_chain_a_star_and_a_pair(spark: SparkSession) -> None:
    chain = [(f"c{n:02}", f"c{n + 1:02}") for n in range(30)]
    star = [("s00", f"s{n:02}") for n in range(1, 10)]
    edges = spark.createDataFrame([*chain, *star, ("p2", "p1"), ("p1", "p2")], "a string, b string")
    roots = {row.node: row.root for row in components(edges).collect()}
    assert len(roots) == 31 + 10 + 2
    assert all(
        root == f"{node[0]}{'01' if node[0] == 'p' else '00'}".replace("p01", "p1") for node, root in roots.items()
    )


def test_a_work_is_described_by_its_editions(clean: Make) -> None:
    rows = editions(("THE HOBBIT", "J Tolkien"), ("The Hobbit: A Novel", "J Tolkien"), ("The Hobbit", "J Tolkien"))
    for row, year, publisher in zip(rows, (1999, 1937, None), ("Unwin", "Unwin", "Allen"), strict=True):
        row |= {"year": year, "publisher": publisher, "subjects": [f"s{year}", "fantasy"]}
    frame = clean("editions", *rows)
    (work,) = describe_works(frame, cluster(frame, CONFIG)).collect()
    assert (work.title, work.year, work.publisher, work.editions) == ("The Hobbit", 1937, "Unwin", 3)
    assert work.subjects == ["fantasy", "s1937", "s1999", "sNone"]
    assert work.author_id == "tolkien j"


def test_losing_an_edition_stops_the_job() -> None:
    counts = {"editions_in": 3, "edition_works_out": 2, "editions_of_works": 2, "editions_distinct": 2}
    with pytest.raises(ContractError, match="not lossless"):
        check_lossless(counts)


def test_the_job_writes_both_tables(lake: Lake, clean: Make) -> None:
    rows = editions(("Dune", "Frank Herbert"), ("DUNE", "Frank Herbert"), ("Emma", None))
    lake.replace_clean("editions", clean("editions", *rows))
    for _ in range(2):  # a repeat replaces
        counts = cluster_works.run(lake, None)
    assert (counts["edition_works_out"], counts["works_out"], counts["with_several"]) == (3, 2, 1)
    assert (counts["blocks_cut"], counts["editions_in_cut_blocks"], counts["block_size"]) == (0, 0, 2000)
    assert lake.read_clean("edition_works").count() == 3
