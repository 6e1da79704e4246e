"""Nodes to scored pairs: in which blocks each node stands, and how likely those of a block are one work.

On Spark, and of tables by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from rapidfuzz import fuzz

from spark_jobs.frames import in_buckets, table_of
from spark_jobs.lake import spark_schema
from spark_jobs.works import blocks
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.linkage import APART, TOGETHER, UNSEEN, VETO
from spark_jobs.works.nodes import set_apart
from spark_jobs.works.pairs import NODE_NUMBERS, NODE_TEXTS, Nodes, codes
from spark_jobs.works.persons import given_agree
from spark_jobs.works.scorer import letters, rarity, score
from spark_jobs.works.words import number

COMPARED = pa.schema([
    *(pa.field(name, pa.string()) for name in ("rule", "key", "a", "b")), pa.field("p", pa.float64()),
])  # fmt: skip
STANDING = pa.schema([(name, pa.string()) for name in ("rule", "key", "node")])
ROW = ("rule", "key", "fresh", "node", "author_key", "publishers", "isbns", "years", *NODE_TEXTS, *NODE_NUMBERS)
_PAIRED = ("rule", "key", "fresh", "main", "author_key", "given")  # of it, what tells which pairs are compared
SAID = "said"  # in place of a block's rule: a person is sure
_TELLING_WORDS = 3  # of a title that may match without an author
_TITLE_ALONE = 0.3
_OWN_WORD, _LIKE_WORDS = 4, 60  # letters of a word that tells titles apart; likeness of such words, 0 to 100
_LIKE_SUBTITLE = 50
_TITLE_AND_AUTHOR = 0.6  # least probability of one title of one author
_LIKE_SURNAME = 75  # least likeness of two spellings of a surname, 0 to 100
_SAME_SERIES = 80  # least likeness of two names of one series, 0 to 100
_LIKE_TITLE, _SAME_TITLE = 50, 80  # of two titles with one ISBN; the latter where the surnames differ
_DIGITS = re.compile(r"\d+")
_PREFIX = 7  # digits of an ISBN-13 that tell country and house: 978, one to three of the group, the publisher's first
_MOST_PREFIXES = 6
_PORTION = 150_000  # pairs that are scored at once


def stand(nodes: pa.Table) -> pa.Table:
    """`STANDING`: in which blocks each of the nodes (`NODES`) stands."""
    rules, keys, ids = [], [], []
    columns = (nodes[name].to_pylist() for name in ("node", "surname", "main", "author_key", "others", "isbns"))
    for node, surname, main, author_key, others, isbns in zip(*columns, strict=True):
        found = [(blocks.ISBN, isbn) for isbn in isbns]
        if main:
            found.append((blocks.TITLE, main))
        if main and surname:
            found.append((blocks.AUTHOR, author_key))
        if main and surname and others:
            first = main.split(" ", 1)[0]
            found += [(blocks.PERSON, f"{one}|{first}") for one in dict.fromkeys([*surname.split(), *others.split()])]
        for rule, key in found:
            rules.append(rule)
            keys.append(key)
            ids.append(node)
    return pa.table([rules, keys, ids], schema=STANDING)


def standing(nodes: DataFrame) -> DataFrame:
    """`STANDING` of the nodes (`NODES`)."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from stand(pa.Table.from_batches([batch])).to_batches()

    told = nodes.select("node", "surname", "main", "author_key", "others", "isbns")
    return told.mapInArrow(run, spark_schema(STANDING))


def over_bound(standing: DataFrame, config: MatchConfig) -> DataFrame:
    """The blocks (`STANDING`) of which not all pairs are compared: `rule`, `key`, `nodes`."""
    sizes = standing.groupBy("rule", "key").agg(F.count("*").alias("nodes"))
    over = (((F.col("rule") == rule) & (F.col("nodes") > bound_of(rule, config))) for rule in blocks.RULES)
    return sizes.where(reduce(Column.__or__, over))


def bound_of(rule: str, config: MatchConfig) -> int:
    """How many nodes a block may have, all pairs of which are compared."""
    return config.block_size if rule == blocks.AUTHOR else config.key_block_size


def named(decided: Constraints) -> frozenset[str]:
    """The editions of which persons decided something."""
    return set_apart(decided).union(*decided.together)


def bonds(decided: Constraints, node_of: Mapping[str, str]) -> pa.Table:
    """What persons decided, as `COMPARED` with `TOGETHER` or `APART` for a probability.

    Args:
        decided: what.
        node_of: the node of each edition of which something was decided, those that are there.
    """
    found: set[tuple[str, str, float]] = set()
    for group in decided.together:
        first, *others = sorted({node_of[one] for one in group if one in node_of}) or [""]
        found |= {(first, other, TOGETHER) for other in others}
    for sides in decided.apart:
        x, y = ({node_of[one] for one in side if one in node_of} for side in sides)
        found |= {(min(a, b), max(a, b), APART) for a in x for b in y if a != b}
    return table_of([(SAID, "", *pair) for pair in sorted(found)], COMPARED)


def compare(nodes: DataFrame, standing: DataFrame, said: DataFrame, config: MatchConfig) -> DataFrame:
    """`COMPARED`: the scored pairs of each block (`STANDING`), and those of which persons are sure (`said`)."""
    return score_pairs(block_rows(nodes, standing, config), config).unionByName(said).localCheckpoint()


def block_rows(nodes: DataFrame, standing: DataFrame, config: MatchConfig) -> DataFrame:
    """The columns of a node that comparing needs, once for each block (`STANDING`) of which pairs are compared."""
    size = F.count("*").over(Window.partitionBy("rule", "key"))
    members = standing.withColumns({"size": size, "fresh": F.lit(True)}).where("size > 1")
    compared = members.where((F.col("rule") == blocks.AUTHOR) | (F.col("size") <= config.key_block_size))
    return compared.select("rule", "key", "node", "fresh").join(nodes, "node").select(*ROW)


def score_pairs(rows: DataFrame, config: MatchConfig) -> DataFrame:
    """`COMPARED` of the rows of `block_rows`: the pairs (a < b) with a probability over the floor."""
    # Comparing texts of many pairs at once needs numpy; one call gets whole blocks, and as many as it can hold.
    return in_buckets(rows, ("rule", "key"), config.bucket_rows, lambda table: score_bucket(table, config), COMPARED)


def score_bucket(table: pa.Table, config: MatchConfig, threads: int = 1) -> pa.Table:
    """`COMPARED` of the blocks of one bucket."""
    table = table.sort_by([("rule", "ascending"), ("key", "ascending"), ("node", "ascending")])
    portions = list(in_portions({name: table[name].to_pylist() for name in _PAIRED}, config))
    number_of = codes(table["node"].to_pylist())  # a node stands in several blocks, but is prepared once
    nothing = np.empty(0, np.int64)
    used = np.unique(np.concatenate([nothing, *(number_of[side] for pair in portions for side in pair)]))
    columns = _prepared(table.take(np.unique(number_of, return_index=True)[1][used]))
    nodes, ids = Nodes(columns, rarity(), letters(), threads), np.array(columns["node"], object)
    rule, key = (np.array(table[name].to_pylist(), object) for name in ("rule", "key"))
    found = []
    for pair in portions:
        rows = pair[0]
        a, b = (np.searchsorted(used, number_of[side]) for side in pair)
        p = _with_evidence(nodes, columns, rule[rows] == blocks.ISBN, a, b, score(nodes, a, b).astype(float), config)
        kept = np.flatnonzero((p >= config.floor) | (p == VETO))
        # Sorted by node within a block, so a < b.
        values = [rule[rows[kept]], key[rows[kept]], ids[a[kept]], ids[b[kept]], p[kept]]
        arrays = [pa.array(column, field.type) for column, field in zip(values, COMPARED, strict=True)]
        found.append(pa.table(arrays, schema=COMPARED))
    return pa.concat_tables(found) if found else COMPARED.empty_table()


def _prepared(nodes: pa.Table) -> dict[str, list[Any]]:
    """Columns of nodes for `Nodes` and `_with_evidence`."""
    columns: dict[str, list[Any]] = {name: nodes[name].to_pylist() for name in ROW}
    columns["prefixes"] = [list(dict.fromkeys(isbn[:_PREFIX] for isbn in isbns))[:_MOST_PREFIXES]
                           for isbns in columns["isbns"]]  # fmt: skip
    full = zip(columns["main"], columns["subtitle"], strict=True)
    columns["main_numbers"] = [_numbers(main) for main in columns["main"]]
    columns["full_numbers"] = [_numbers(f"{main} {subtitle}") for main, subtitle in full]
    return columns


def in_portions(columns: dict[str, list[Any]], config: MatchConfig) -> Iterator[tuple[Any, Any]]:
    """Index pairs to compare, at most `_PORTION` at a time; columns sorted by rule and key."""
    waiting: list[tuple[Any, Any]] = []
    count = 0
    fresh = np.array(columns["fresh"], bool)
    for rows in blocks.runs(list(zip(columns["rule"], columns["key"], strict=True))):
        if not fresh[rows].any():
            continue
        rule = columns["rule"][rows[0]]
        pairs = blocks.block_pairs(rule, rows, columns, fresh, bound_of(rule, config))
        count += len(pairs[0])
        waiting.append(pairs)
        if count >= _PORTION:
            yield from _portions(waiting)
            waiting, count = [], 0
    if waiting:
        yield from _portions(waiting)


def _portions(parts: list[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    a, b = np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])
    for at in range(0, max(len(a), 1), _PORTION):
        yield a[at : at + _PORTION], b[at : at + _PORTION]


def _with_evidence(
    nodes: Nodes, columns: dict[str, list[Any]], by_isbn: Any, a: Any, b: Any, p: Any, config: MatchConfig
) -> Any:
    """What the labelled editions could not teach: two volumes of one book, two places in one series, or two numbers for
    titles, are two works; a shared ISBN speaks for one, and so do publisher and year together where an author is
    missing. A short title alone tells nothing; one title of one author is one book, whether a series is named or not.
    """
    p = p.copy()
    told = _open_to_evidence(nodes, by_isbn, a, b, p, config)
    for k, i, j in zip(told.tolist(), a[told].tolist(), b[told].tolist(), strict=True):
        if _other_volume(columns, i, j) or _other_number(columns, i, j):
            # Kept where something may stand between them: the title without a number, or what the scorer takes for one.
            p[k] = VETO if p[k] >= config.floor or columns["main"][i] == columns["main"][j] else UNSEEN
        elif by_isbn[k]:
            p[k] = max(p[k], config.isbn_probability) if _one_book(columns, i, j) else p[k]
        elif not columns["surname"][i] or not columns["surname"][j]:
            p[k] = _without_author(columns, i, j, p[k])
        elif _by_strangers(columns, i, j):
            p[k] = min(p[k], _TITLE_ALONE)
        elif _one_title(columns, i, j) or _one_place(columns, i, j):
            p[k] = max(p[k], _TITLE_AND_AUTHOR)
        elif p[k] > _TITLE_ALONE and _one_of_many(columns, i, j):
            p[k] = _TITLE_ALONE
    return p


def _open_to_evidence(nodes: Nodes, by_isbn: Any, a: Any, b: Any, p: Any, config: MatchConfig) -> Any:
    """Which pairs evidence can keep: nothing lifts one under the floor, as most are, that has two titles and shares
    neither an ISBN nor a place in a series.
    """
    same = {name: nodes.code[name][a] == nodes.code[name][b] for name in ("main", "series", "series_number")}
    one_place = same["series"] & same["series_number"] & nodes.has["series"][a] & nodes.has["series_number"][a]
    return np.flatnonzero((p >= config.floor) | same["main"] | one_place | by_isbn)


def _by_strangers(columns: dict[str, list[Any]], i: int, j: int) -> bool:
    """One short title ("Complete Works") of two authors who share nobody, nor are one in two spellings."""
    main, surname, others = columns["main"], columns["surname"], columns["others"]
    if main[i] != main[j] or surname[i] == surname[j] or len(main[i].split()) > _TELLING_WORDS:
        return False
    if {surname[i], *others[i].split()} & {surname[j], *others[j].split()}:
        return False
    return bool(fuzz.ratio(surname[i], surname[j]) < _LIKE_SURNAME)


def _one_title(columns: dict[str, list[Any]], i: int, j: int) -> bool:
    """One title of one author: that one record alone names a series or a subtitle, as shops do, makes no other book."""
    if any(columns[name][i] != columns[name][j] for name in ("main", "surname", "kind", "volume")):
        return False
    return not _differ(columns["subtitle"], i, j) and given_agree(columns["given"][i], columns["given"][j]) > 0


def _one_place(columns: dict[str, list[Any]], i: int, j: int) -> bool:
    """One place in one series of one author: "Der Stein der Weisen (Harry Potter, #1)"; a box has several ("#1-4")."""
    place, series = columns["series_number"], columns["series"]
    if not place[i] or place[i] != place[j] or not series[i] or series[i] != series[j]:
        return False
    if columns["kind"][i] or any(columns[name][i] != columns[name][j] for name in ("surname", "kind", "volume")):
        return False
    return given_agree(columns["given"][i], columns["given"][j]) > 0


def _one_of_many(columns: dict[str, list[Any]], i: int, j: int) -> bool:
    """Two titles of one author and, it seems, one language that each have a word of their own, where one house has
    both or the subtitle is the same: "Blanc : histoire d'une couleur", "Bleu : histoire d'une couleur"."""
    main, subtitle = columns["main"], columns["subtitle"]
    if columns["guess"][i] != columns["guess"][j] or not _each_its_own(main[i], subtitle[i], main[j], subtitle[j]):
        return False
    if subtitle[i] == subtitle[j] and " " in subtitle[i]:
        return True
    return columns["guess"][i] != "" and _meet(columns["publishers"], i, j)


def _each_its_own(a: str, a_subtitle: str, b: str, b_subtitle: str) -> bool:
    """Whether each main title has words that the other title lacks, and that are no other spelling of these."""
    own = [" ".join(word for word in main.split() if len(word) >= _OWN_WORD and word not in other.split())
           for main, other in ((a, f"{b} {b_subtitle}"), (b, f"{a} {a_subtitle}"))]  # fmt: skip
    return all(own) and bool(fuzz.ratio(*own) < _LIKE_WORDS)


def _without_author(columns: dict[str, list[Any]], i: int, j: int, p: float) -> float:
    """Where an author is missing, a short title alone ("Poems") tells nothing; nor does any title if the subtitles are
    strange to each other, or if one record names an author and another house."""
    same = columns["main"][i] == columns["main"][j]
    house = _meet(columns["publishers"], i, j) or _meet(columns["prefixes"], i, j)
    if same and house and _meet(columns["years"], i, j):
        return max(p, 0.5 * (1 + p))
    if not house and columns["surname"][i] != columns["surname"][j] and _other_house(columns["publishers"], i, j):
        return min(p, _TITLE_ALONE)
    if _differ(columns["subtitle"], i, j) and fuzz.ratio(*(columns["subtitle"][k] for k in (i, j))) < _LIKE_SUBTITLE:
        return min(p, _TITLE_ALONE)
    words = min(len(f"{columns['main'][k]} {columns['subtitle'][k]}".split()) for k in (i, j))
    return p if words >= _TELLING_WORDS else min(p, _TITLE_ALONE)


def _other_house(publishers: list[list[str]], i: int, j: int) -> bool:
    """Whether both name houses, which have no word in common: "R Laffont" may be "Robert Laffont"."""
    ours, theirs = ({word for name in publishers[k] for word in name.split() if len(word) >= _OWN_WORD} for k in (i, j))
    return bool(ours and theirs) and not ours & theirs


def _one_book(columns: dict[str, list[Any]], i: int, j: int) -> bool:
    """Whether a shared ISBN can be believed: publishers use some for a whole set, shops made-up ones for anything."""
    titles = [f"{columns['main'][k]} {columns['subtitle'][k]}".strip() for k in (i, j)]
    one, other = columns["surname"][i], columns["surname"][j]
    least = _LIKE_TITLE if not one or not other or one == other else _SAME_TITLE
    return not all(titles) or fuzz.token_set_ratio(*titles) >= least


def _other_volume(columns: dict[str, list[Any]], i: int, j: int) -> bool:
    """Two volumes of one title; or two places in one series, unless the title says that the number is a publisher's."""
    main, series = columns["main"], columns["series"]
    same = main[i] == main[j]
    if same and _differ(columns["volume"], i, j):
        return True
    if not _differ(columns["series_number"], i, j):
        return False
    if same and columns["subtitle"][i] == columns["subtitle"][j] and main[i] not in {series[i], series[j]}:
        return False
    return bool(fuzz.token_set_ratio(series[i], series[j]) >= _SAME_SERIES)


def _differ(values: list[Any], i: int, j: int) -> bool:
    return bool(values[i] and values[j] and values[i] != values[j])


def _other_number(columns: dict[str, list[Any]], i: int, j: int) -> bool:
    """Titles that differ in their numbers alone: "1984" and "1985", "Faust I" and "Faust II", "Log Two", "Log Nine"."""
    return any(columns[name][i][0] == columns[name][j][0] and columns[name][i][1] != columns[name][j][1]
               for name in ("main_numbers", "full_numbers"))  # fmt: skip


def _numbers(title: str) -> tuple[str, tuple[str, ...]]:
    """A title with its numbers taken out, and these, in digits."""
    words = [_number(word) for word in title.split()]
    return " ".join([bare for bare, _ in words]), tuple([said for _, found in words for said in found])


@lru_cache(maxsize=200_000)
def _number(word: str) -> tuple[str, tuple[str, ...]]:
    """A word with its numbers taken out, and these, in digits."""
    said = number(word)
    return ("#", (said,)) if said else (_DIGITS.sub("#", word), tuple(_DIGITS.findall(word)))


def _meet(values: list[Any], i: int, j: int) -> bool:
    return bool(set(values[i] or ()) & set(values[j] or ()))
