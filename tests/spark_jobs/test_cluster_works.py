from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession

from bookworks.errors import ContractError, TransientError
from spark_jobs import cluster_works
from spark_jobs.cluster_works import check_lossless, rebuild
from spark_jobs.components import components
from spark_jobs.lake import Lake
from spark_jobs.works import review
from spark_jobs.works.decisions import Constraints

Make = Callable[..., DataFrame]


def editions(*rows: tuple[str, str | None]) -> list[dict[str, object]]:
    """Editions e00, e01, … of (title, author)."""
    return [
        {"edition_id": f"e{n:02}", "source": "test", "title": title, "author": author, "subjects": []}
        for n, (title, author) in enumerate(rows)
    ]


@pytest.mark.parametrize("in_one_task", [0, 1000])
def test_components_of_a_chain_a_star_and_a_pair(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, in_one_task: int
) -> None:
    monkeypatch.setattr("spark_jobs.components.IN_ONE_TASK", in_one_task)
    chain = [(f"c{n:02}", f"c{n + 1:02}") for n in range(30)]
    star = [("s00", f"s{n:02}") for n in range(1, 10)]
    edges = spark.createDataFrame([*chain, *star, ("p2", "p1"), ("p1", "p2")], "a string, b string")
    roots = {row.node: row.root for row in components(edges).collect()}
    assert len(roots) == 31 + 10 + 2
    assert components(edges.limit(0)).count() == 0
    assert all(
        root == f"{node[0]}{'01' if node[0] == 'p' else '00'}".replace("p01", "p1") for node, root in roots.items()
    )


def test_losing_an_edition_stops_the_job() -> None:
    counts = {"editions_in": 3, "edition_works_out": 2, "editions_of_works": 2, "editions_distinct": 2}
    with pytest.raises(ContractError, match="not lossless"):
        check_lossless(counts)


def test_a_merge_by_a_person_keeps_one_id_is_told_and_undone_exactly(
    lake: Lake, clean: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = editions(("Dune", "Frank Herbert"), ("DUNE", "Frank Herbert"), ("Emma", None), ("Emma", "Jane Austen"))
    lake.replace_clean("editions", clean("editions", *rows))
    nothing, merged = Constraints([], []), Constraints([("e02", "e03")], [])

    def works() -> dict[str, str]:
        return {row.edition_id: row.work_id for row in lake.read_clean("edition_works").collect()}

    counts, apart = rebuild(lake, nothing)
    assert (counts["edition_works_out"], counts["works_out"], counts["with_several"]) == (4, 3, 1)
    assert (counts["authors_out"], counts["series_out"]) == (2, 0)
    assert (counts["blocks_cut"], counts["nodes_in_cut_blocks"], counts["history_rows"]) == (0, 0, 0)
    first = works()
    rebuild(lake, merged)
    assert works()["e02"] == works()["e03"] in (first["e02"], first["e03"])
    (row,) = lake.read_clean("work_history").collect()
    assert (row.kind, {row.old_work_id, row.new_work_id}) == ("merge", {first["e02"], first["e03"]})
    assert row.score == lake.read_clean("edition_works").where("edition_id = 'e02'").first().confidence
    whole = Lake.replace_clean
    monkeypatch.setattr(cluster_works, "cluster", lambda *_: apart)  # what it would find without the merge, again

    def dies(self: Lake, table: str, frame: DataFrame) -> None:
        if table == "edition_works":
            raise TransientError("the store went away", todo="again.")
        whole(self, table, frame)

    # A run that dies before its works hold leaves no trace in the next.
    with monkeypatch.context() as patched:
        patched.setattr(Lake, "replace_clean", dies)
        with pytest.raises(TransientError):
            rebuild(lake, nothing)
    assert works()["e02"] == works()["e03"]
    rebuild(lake, nothing)
    assert works() == first
    assert [row.kind for row in lake.read_clean("work_history").orderBy("at").collect()] == ["merge", "restored"]


def test_pairs_in_doubt_come_with_their_readers_first(spark: SparkSession, lake: Lake, clean: Make) -> None:
    rows = editions(("Dune", "Frank Herbert"), ("Dune Messiah", "Frank Herbert"), ("Emma", "Jane Austen"))
    frame = clean("editions", *rows)
    of = spark.createDataFrame([(row["edition_id"], row["edition_id"], 1.0, None) for row in rows],
                               "edition_id string, cluster string, confidence double, author_id string")  # fmt: skip
    pairs = spark.createDataFrame([("e00", "e01", 0.5), ("e00", "e02", 0.4), ("e01", "e02", 0.1)],
                                  "a string, b string, p double")  # fmt: skip
    read = clean("interactions", {"edition_id": "e02", "user_id": "u"}, {"edition_id": "e02", "user_id": "v"})
    found = list(review.doubtful(of, pairs, frame, read))
    assert [(one.left_edition, one.right_edition, one.readers) for one in found] == [
        ("e00", "e02", 2),
        ("e00", "e01", 0),
    ]
    assert found[0].left["title"] == "Dune"
