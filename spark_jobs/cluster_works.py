"""Clean editions to works: `python -m spark_jobs.cluster_works`.

In: clean/editions. Out: clean/edition_works (each edition in exactly one work), clean/works.

A work is a connected component of editions that share an ISBN-13, or whose authors and titles
match (`spark_jobs.work_matching`). An edition without an author matches by ISBN only.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bookworks.contracts.lake import CLEAN_SCHEMAS
from bookworks.errors import ContractError
from bookworks.settings import Settings
from spark_jobs.components import components
from spark_jobs.job import Counter, run_job
from spark_jobs.lake import Lake, require_columns
from spark_jobs.work_matching import MatchConfig, edition_keys, scored_pairs, title_nodes

MAX_SUBJECTS = 20


def cluster(editions: DataFrame, config: MatchConfig) -> DataFrame:
    """The work of each edition: pure, decides alone what belongs together.

    Args:
        editions: columns of clean/editions.
        config: the bounds of the match.

    Returns:
        `edition_id`, `work_id`, `confidence` (1 for an edition alone or matched exactly, else the
        best title score that ties it to its work), `author_id`, `cut_block` (the edition's block
        where that is larger than `config.block_size` and was cut, so that not all of its titles
        were compared; else null).

    Raises:
        ContractError: a column is missing.
    """
    require_columns(editions, ("edition_id", "isbn13", "title", "author"), "clean/editions")
    keys = edition_keys(editions).localCheckpoint()
    nodes = title_nodes(keys, config).localCheckpoint()
    pairs = scored_pairs(nodes, config).localCheckpoint()
    of_node = _node_of_edition(keys, nodes)
    roots = components(pairs.select("a", "b").union(_isbn_edges(of_node)))
    root = F.coalesce("root", "node")
    return (
        of_node.join(roots, "node", "left")
        .join(_best_scores(pairs), "node", "left")
        .select(
            "edition_id",
            work_id(root).alias("work_id"),
            F.coalesce("score", F.lit(1.0)).alias("confidence"),
            "author_id",
            "cut_block",
        )
    )


def work_id(root: Column) -> Column:
    """A work's id: made from its smallest edition_id, so that the next run gives the same.

    It changes only when a smaller edition_id joins the work.
    """
    return F.concat(F.lit("w"), F.substring(F.sha2(root, 256), 1, 15))


def _node_of_edition(keys: DataFrame, nodes: DataFrame) -> DataFrame:
    """`edition_id`, `node`, `isbn13`, `author_id`, `cut_block`; an edition without an author is a node alone."""
    spelling = ["block", "given", "main", "subtitle", "volume", "numbers"]
    cut_block = F.when(F.col("part") != F.col("block"), F.col("block")).alias("cut_block")
    joined = keys.join(nodes.select(*spelling, "node", cut_block), spelling, "left")
    node = F.coalesce("node", "edition_id").alias("node")
    return joined.select("edition_id", node, "isbn13", "author_id", "cut_block")


def _isbn_edges(of_node: DataFrame) -> DataFrame:
    """Edges between each node of an ISBN-13 and the smallest of them."""
    with_isbn = of_node.where(F.col("isbn13").isNotNull()).select("isbn13", "node").distinct()
    hubs = with_isbn.groupBy("isbn13").agg(F.min("node").alias("b"))
    return with_isbn.join(hubs, "isbn13").where("node <> b").select(F.col("node").alias("a"), "b")


def _best_scores(pairs: DataFrame) -> DataFrame:
    """The best score of each node that has a pair."""
    both = pairs.select(F.col("a").alias("node"), "score").union(pairs.select("b", "score"))
    return both.groupBy("node").agg(F.max("score").alias("score"))


def describe_works(editions: DataFrame, assigned: DataFrame) -> DataFrame:
    """One row per work, from its editions.

    The title is the most frequent one, of several the shortest that is not all capitals; the
    year the earliest.

    Args:
        editions: columns of clean/editions.
        assigned: from `cluster`.
    """
    rows = editions.join(assigned.select("edition_id", "work_id", "author_id"), "edition_id")
    titled = F.struct(F.upper("title") == F.col("title"), F.length("title"), F.col("title").alias("title"))
    subjects = F.array_sort(F.array_distinct(F.flatten(F.collect_list(F.slice("subjects", 1, MAX_SUBJECTS)))))
    frequent = [F.mode(name, True).alias(name) for name in ("author", "author_id", "series", "publisher", "language")]
    works = rows.groupBy("work_id").agg(
        F.mode(titled, True).getField("title").alias("title"),
        *frequent,
        F.min("year").alias("year"),
        F.slice(subjects, 1, MAX_SUBJECTS).alias("subjects"),
        F.min("image_url").alias("image_url"),
        F.count("*").cast("int").alias("editions"),
    )
    return works.select(*CLEAN_SCHEMAS["works"].names)


def check_lossless(counts: dict[str, int]) -> None:
    """Check that every edition ended in exactly one work.

    Raises:
        ContractError: one was lost or doubled.
    """
    same = {counts["editions_in"], counts["edition_works_out"], counts["editions_of_works"]}
    if len(same) != 1 or counts["editions_distinct"] != counts["editions_in"]:
        raise ContractError(
            "Clustering is not lossless", received=counts, allowed="each edition once", todo="please report it."
        )


def run(lake: Lake, _settings: Settings) -> dict[str, int]:
    """Read, transform, write; returns the counts of rows."""
    config = MatchConfig()
    counter = Counter()
    editions = lake.read_clean("editions")
    assigned = cluster(editions, config).localCheckpoint()
    lake.replace_clean("edition_works", counter.watch(assigned, edition_works_out=True))
    works = describe_works(editions, assigned)
    lake.replace_clean("works", counter.watch(works, works_out=True, with_several=F.col("editions") > 1))
    counts = counter.counts() | _whole(lake, editions)
    check_lossless(counts)
    return counts | count_cut(assigned) | {"block_size": config.block_size}


def count_cut(assigned: DataFrame) -> dict[str, int]:
    """How many blocks were over the bound, and how many editions are in them: some of their pairs were not compared.

    Args:
        assigned: from `cluster`.
    """
    blocks = F.count_distinct("cut_block").alias("blocks_cut")
    row = assigned.agg(blocks, F.count("cut_block").alias("editions_in_cut_blocks")).collect()[0]
    return {name: int(n) for name, n in row.asDict().items()}


def _whole(lake: Lake, editions: DataFrame) -> dict[str, int]:
    """Counts of what was read and what was written, to compare."""
    stored = lake.read_clean("edition_works").agg(F.count_distinct("edition_id").alias("editions_distinct"))
    return {
        "editions_in": editions.count(),
        "editions_distinct": int(stored.collect()[0][0]),
        "editions_of_works": int(lake.read_clean("works").agg(F.sum("editions")).collect()[0][0] or 0),
    }


def main() -> None:
    """Entry point of the job."""
    run_job("cluster_works", run)


if __name__ == "__main__":
    main()
