"""What a change of the catalogue changes of its works, worked out in one process.

Of what the run before left only the neighbourhood of the rows that moved is taken: the other nodes of their authors,
the blocks and components these stand in. A session of Spark would plan and start longer than all of this takes; where
more has changed than one process should bear, everything is worked out again on Spark.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.works import blocks
from spark_jobs.works.comparing import COMPARED, ROW, SAID, STANDING, bonds, bound_of, named, score_bucket, stand
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.decisions import Constraints
from spark_jobs.works.linking import link_tables
from spark_jobs.works.nodes import COUNTED, GATHERED, count_nodes, gather_nodes, reading, set_apart
from spark_jobs.works.records import PARSED, parse_batches

_ROWS = 100_000  # of blocks that are compared at once; the more, the fewer nodes are prepared twice
MOST_MOVED = 100_000  # rows, whose neighbourhood one process can hold

Block = tuple[str, str]


class Kept(Protocol):
    """What the run before left (`state.State`), and the catalogue as it is now."""

    def sources(self) -> dict[str, tuple[int, int]]:
        """Of each source, the sum of `vote` and the number of rows that the run before had."""

    def moved(self, apart: frozenset[str], most: int) -> tuple[pa.Table, list[str]] | None:
        """The rows that are new, changed or set apart as they were not, now (`FIELDS`, `source`, `fingerprint`), and
        the ids of those that are gone or were otherwise; None for more than `most`."""

    def take(self, table: str, values: Iterable[str], *columns: str) -> pa.Table:
        """The rows of a table of the state in which one of the columns is among the values."""


@dataclass(frozen=True)
class Moved:
    """Nodes that moved: those that were otherwise or are no more, and those that are new or otherwise now (`NODES`)."""

    old: pa.Table
    new: pa.Table

    @property
    def ids(self) -> set[str]:
        """Their names."""
        return {*self.old["node"].to_pylist(), *self.new["node"].to_pylist()}


@dataclass(frozen=True)
class Changes:
    """What to put in place of what in the state of the run before.

    Attributes:
        came: `records.PARSED` of the rows that moved.
        went: the editions that are gone or were otherwise.
        nodes: those that moved.
        anew: blocks compared anew as a whole.
        pairs: `comparing.COMPARED`, in place of those of moved nodes, of the blocks `anew`, and of what persons said.
        affected: the nodes that `linked` (`linking.LINKED`) says anew.
        share: of the rows that the run before had, how many moved.
    """

    came: pa.Table
    went: list[str]
    nodes: Moved
    anew: set[Block]
    pairs: pa.Table
    affected: set[str]
    linked: pa.Table
    share: float


def changes(kept: Kept, config: MatchConfig, decided: Constraints) -> Changes | None:
    """What changes; None where so much has moved that everything is to be worked out again.

    The works that come of it are those of a whole run: tests hold both side by side.
    """
    sources = kept.sources()
    votes = Counter({name: vote for name, (vote, _) in sources.items()})
    size = sum(rows for _, rows in sources.values())
    found = kept.moved(set_apart(decided), min(int(config.most_changed * size), MOST_MOVED))
    if found is None:
        return None
    rows, went = found
    how = reading(votes, config, decided)
    came = pa.Table.from_batches(parse_batches(rows.to_batches(), how), PARSED)
    gone = kept.take("parsed", went, "edition_id")
    for side, sign in ((came, 1), (gone, -1)):
        for source, vote in zip(side["source"].to_pylist(), side["vote"].to_pylist(), strict=True):
            votes[source] += sign * vote
    if reading(votes, config, decided).inverted != how.inverted:  # all names of a source are to be read in another way
        return None
    nodes = _moved_nodes(kept, came, gone, config)
    anew, scored = _scored(kept, nodes, config)
    pairs = pa.concat_tables([scored, bonds(decided, _nodes_named(kept, decided, came, went, nodes))])
    affected, linked = _linked(kept, nodes, anew, pairs, config)
    moved = len({*came["edition_id"].to_pylist(), *went})
    return Changes(came, went, nodes, anew, pairs, affected, linked, moved / max(size, 1))


def _moved_nodes(kept: Kept, came: pa.Table, gone: pa.Table, config: MatchConfig) -> Moved:
    spellings, surnames = ({*came[name].to_pylist(), *gone[name].to_pylist()} for name in ("spelled", "surname"))
    known = kept.take("nodes", surnames - {""}, "surname")
    nameless = kept.take("nodes", spellings, "spelled")
    before = pa.concat_tables([known, nameless.filter(pc.field("surname") == "")])
    touched = pc.is_in(before["spelled"], pa.array(spellings, pa.string()))
    staying, was = before.filter(pc.invert(touched)), before.filter(touched)
    editions = without(kept.take("parsed", spellings, "spelled"), "edition_id", gone["edition_id"].to_pylist())
    made = gather_nodes(pa.concat_tables([editions, came]))
    now = count_nodes(pa.concat_tables([staying.select(GATHERED.names), made]), config)
    stayed, made = now.slice(0, staying.num_rows), now.slice(staying.num_rows)
    counted = [pc.not_equal(stayed[name], staying[name]) for name in COUNTED]
    otherwise = pc.or_(pc.or_(counted[0], counted[1]), counted[2])
    gone_so, come_so = _differing(was, made)
    return Moved(
        pa.concat_tables([was.filter(gone_so), staying.filter(otherwise)]),
        pa.concat_tables([made.filter(come_so), stayed.filter(otherwise)]),
    )


def _differing(one: pa.Table, other: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Which rows of each have no equal in the other."""
    digests = [[repr(row) for row in table.to_pylist()] for table in (one, other)]
    first, second = (
        pa.array([row not in there for row in here], pa.bool_())
        for here, there in zip(digests, map(set, reversed(digests)), strict=True)
    )
    return first, second


def _scored(kept: Kept, nodes: Moved, config: MatchConfig) -> tuple[set[Block], pa.Table]:
    """The blocks that are compared anew as a whole, and the pairs that are to be scored."""
    left, came = (_blocks(stand(side)) for side in (nodes.old, nodes.new))
    touched = left.keys() | came.keys()
    standing = kept.take("standing", {key for _, key in touched}, "key")
    before = {block: ids for block, ids in _blocks(standing).items() if block in touched}
    now = {block: (before.get(block, set()) - left.get(block, set())) | came.get(block, set()) for block in touched}
    # Which pairs a block over its bound has, depends on all of its titles.
    anew = {block for block in touched
            if max(len(before.get(block, ())), len(now[block])) > bound_of(block[0], config)}  # fmt: skip
    members = [
        (*block, block in anew or node in came.get(block, ()), node)
        for block in sorted(touched)
        if len(now[block]) > 1 and (block in came or block in anew)
        if block[0] == blocks.AUTHOR or len(now[block]) <= config.key_block_size
        for node in sorted(now[block])
    ]
    rows = _node_rows(kept, nodes, {member[3] for member in members})
    at = {node: k for k, node in enumerate(rows["node"].to_pylist())}
    threads = len(os.sched_getaffinity(0))
    tables = [score_bucket(_bucket(rows, at, bucket), config, threads) for bucket in _buckets(members, _ROWS)]
    return anew, pa.concat_tables([COMPARED.empty_table(), *tables])


def _blocks(standing: pa.Table) -> dict[Block, set[str]]:
    found: dict[Block, set[str]] = defaultdict(set)
    for rule, key, node in zip(*(standing[name].to_pylist() for name in STANDING.names), strict=True):
        found[rule, key].add(node)
    return dict(found)


def _buckets(members: list[Any], rows: int) -> Iterator[list[Any]]:
    """Some `rows` members at a time, whole blocks."""
    start = 0
    for at in range(1, len(members) + 1):
        if at == len(members) or (at - start >= rows and members[at][:2] != members[at - 1][:2]):
            yield members[start:at]
            start = at


def _bucket(rows: pa.Table, at: dict[str, int], members: list[Any]) -> pa.Table:
    """The columns of `comparing.block_rows`."""
    rules, keys, fresh, ids = zip(*members, strict=True)
    table = rows.take([at[node] for node in ids])
    for name, values in (("rule", rules), ("key", keys), ("fresh", fresh)):
        table = table.append_column(name, pa.array(values))
    return table.select(ROW)


def _node_rows(kept: Kept, nodes: Moved, ids: set[str]) -> pa.Table:
    """`NODES` of these nodes, as they are now."""
    there = nodes.new.filter(pc.is_in(nodes.new["node"], pa.array(ids, pa.string())))
    return pa.concat_tables([there, kept.take("nodes", ids - nodes.ids, "node")])


def _nodes_named(kept: Kept, decided: Constraints, came: pa.Table, went: list[str], nodes: Moved) -> dict[str, str]:
    """The node of each edition of which persons decided something."""
    asked = named(decided)
    if not asked:
        return {}
    spelled = {row["edition_id"]: row["spelled"] for row in kept.take("parsed", asked - set(went), "edition_id")
               .select(["edition_id", "spelled"]).to_pylist()}  # fmt: skip
    spelled |= {edition: one for edition, one in _pairs_of(came, "edition_id", "spelled") if edition in asked}
    node_of = dict(_pairs_of(kept.take("nodes", set(spelled.values()), "spelled"), "spelled", "node"))
    node_of |= dict(_pairs_of(nodes.new, "spelled", "node"))
    return {edition: node_of[one] for edition, one in spelled.items()}


def _pairs_of(table: pa.Table, *columns: str) -> Iterator[tuple[str, str]]:
    return zip(*(table[name].to_pylist() for name in columns), strict=True)


def _linked(
    kept: Kept, nodes: Moved, anew: set[Block], pairs: pa.Table, config: MatchConfig
) -> tuple[set[str], pa.Table]:
    """The nodes whose component gained or lost a pair, and `linking.LINKED` of them."""
    moved = nodes.ids
    gone = [kept.take("pairs", moved, "a", "b"), kept.take("pairs", [SAID], "rule")]
    gone.append(_of_blocks(kept.take("pairs", {key for _, key in anew}, "key"), anew))
    changed = moved.union(*(set(table[side].to_pylist()) for table in (pairs, *gone) for side in ("a", "b")))
    components = set(kept.take("linked", changed, "node")["component"].to_pylist())
    affected = changed | set(kept.take("linked", components, "component")["node"].to_pylist())
    near = still(kept.take("pairs", affected, "a", "b"), moved, anew)
    rows = _node_rows(kept, nodes, affected)
    linked = link_tables(rows, pa.concat_tables([near, pairs]), config)
    return affected, linked.filter(pc.is_in(linked["node"], pa.array(affected, pa.string())))


def _of_blocks(pairs: pa.Table, chosen: set[Block]) -> pa.Table:
    inside = [block in chosen for block in _pairs_of(pairs, "rule", "key")]
    return pairs.filter(pa.array(inside, pa.bool_()))


def still(pairs: pa.Table, moved: set[str], anew: set[Block]) -> pa.Table:
    """The pairs that hold: both nodes did not move, the block is not compared anew, and no person said it."""
    ids = pa.array(moved, pa.string())
    held = pairs.filter(pc.invert(pc.or_(pc.is_in(pairs["a"], ids), pc.is_in(pairs["b"], ids))))
    held = held.filter(pc.field("rule") != SAID)
    return held.filter(pa.array([block not in anew for block in _pairs_of(held, "rule", "key")], pa.bool_()))


def without(table: pa.Table, column: str, values: Iterable[str]) -> pa.Table:
    """The rows whose column is none of the values."""
    return table.filter(pc.invert(pc.is_in(table[column], pa.array(values, pa.string()))))
