from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession

from spark_jobs.works.entities import describe_works

Make = Callable[..., DataFrame]


def test_a_work_is_described_by_its_editions(spark: SparkSession, clean: Make) -> None:
    rows = [
        {"edition_id": f"e{n:02}", "source": "test", "title": title, "author": "J Tolkien"}
        for n, title in enumerate(("THE HOBBIT", "The Hobbit: A Novel", "The Hobbit"))
    ]
    for row, year, publisher in zip(rows, (1999, 1937, None), ("Unwin", "Unwin", "Allen"), strict=True):
        row |= {"year": year, "publisher": publisher, "subjects": [f"s{year}", "fantasy"]}
    assigned = [(row["edition_id"], "w1", "tolkien j") for row in rows]
    columns = "edition_id string, work_id string, author_id string"
    (work,) = describe_works(clean("editions", *rows), spark.createDataFrame(assigned, columns)).collect()
    assert (work.title, work.year, work.publisher, work.editions) == ("The Hobbit", 1937, "Unwin", 3)
    assert work.subjects == ["fantasy", "s1937", "s1999", "sNone"]
    assert work.author_id == "tolkien j"
