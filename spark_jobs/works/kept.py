"""What a clustering left, as `delta` takes from it: frames of Spark, or the files themselves where no Spark runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_jobs.frames import local
from spark_jobs.works.comparing import COMPARED, SAID, STANDING, bound_of, stand
from spark_jobs.works.config import MatchConfig
from spark_jobs.works.delta import Changes, still, without
from spark_jobs.works.linking import LINKED, SAME_SPELLING, rounded
from spark_jobs.works.nodes import NODES
from spark_jobs.works.records import FIELDS, PARSED, fingerprints
from spark_jobs.works.state import POINTER, TABLES, State, is_version, made_by

_SCHEMAS = {"parsed": PARSED, "nodes": NODES, "standing": STANDING, "pairs": COMPARED, "linked": LINKED}
_SEAL = "_digest"
_SHOWN = {"parsed": ["edition_id", "spelled", "main"], "nodes": ["spelled", "node", "records"],
          "linked": ["node", "root", "sure"], "standing": STANDING.names}  # fmt: skip
_ROW = pa.schema([(name, pa.string()) for name in (*FIELDS, "source", "fingerprint")])


def _table(values: Iterable[str], name: str) -> pa.Table:
    return pa.table([pa.array(values, pa.string())], names=[name])


@dataclass(frozen=True)
class KeptFrames:
    """A `delta.Kept` of frames.

    Attributes:
        state: what the run before left.
        rows: the catalogue, from `nodes.with_fingerprint`.
    """

    state: State
    rows: DataFrame

    def sources(self) -> dict[str, tuple[int, int]]:
        """See `delta.Kept`."""
        counted = self.state.parsed.groupBy("source").agg(F.sum("vote").alias("vote"), F.count("*").alias("rows"))
        return {row["source"]: (row["vote"], row["rows"]) for row in counted.collect()}  # few, as sources are

    def moved(self, apart: frozenset[str], most: int) -> tuple[pa.Table, list[str]] | None:
        """See `delta.Kept`."""
        told = (F.col("surname") != "") & (F.col("main") != "")
        as_asked = F.col("spelled").startswith("\0") == F.col("edition_id").isin(sorted(apart))
        before = self.state.parsed.select(
            "edition_id", F.col("fingerprint").alias("was"), (~told | as_asked).alias("as_asked")
        )
        both = self.rows.select("edition_id", "fingerprint").join(before, "edition_id", "full")
        same = F.col("fingerprint").eqNullSafe(F.col("was")) & F.col("as_asked")
        came, went = (F.col(name).isNotNull().alias(of) for name, of in (("fingerprint", "came"), ("was", "went")))
        found = both.where(~same).select("edition_id", came, went).limit(most + 1).toArrow()
        if found.num_rows > most:
            return None
        ids = local(self.rows, found.filter(pc.field("came")).select(["edition_id"]))
        rows = self.rows.join(ids, "edition_id", "left_semi").select(*_ROW.names).toArrow().cast(_ROW)
        return rows, found.filter(pc.field("went"))["edition_id"].to_pylist()

    def take(self, table: str, values: Iterable[str], *columns: str) -> pa.Table:
        """See `delta.Kept`."""
        frame: DataFrame = getattr(self.state, table)
        for column in columns:
            marks = local(frame, _table(values, column)).withColumn(f"_{column}", F.lit(True))
            frame = frame.join(marks, column, "left")
        wanted = reduce(Column.__or__, (F.col(f"_{column}").isNotNull() for column in columns))
        schema = _SCHEMAS[table]
        return frame.where(wanted).select(*schema.names).toArrow().cast(schema)


def after(before: State, changed: Changes) -> State:
    """The state that the run before left, with what has changed since."""
    tables = {name: _replaced(getattr(before, name), *how) for name, how in _replacements(changed).items()}
    anew = [{"rule": rule, "key": key, "anew": True} for rule, key in sorted(changed.anew)]
    schema = pa.schema([("rule", pa.string()), ("key", pa.string()), ("anew", pa.bool_())])
    held = before.pairs.join(local(before.pairs, pa.Table.from_pylist(anew, schema)), ["rule", "key"], "left")
    held = held.where("anew IS NULL").where(F.col("rule") != SAID).select(*COMPARED.names)
    for side in ("a", "b"):
        held = held.join(local(held, _table(changed.nodes.ids, side)), side, "left_anti")
    pairs = held.select(*COMPARED.names).unionByName(local(held, changed.pairs))
    return State(pairs=pairs, **tables)


def _replaced(before: DataFrame, ids: Iterable[str], column: str, new: pa.Table) -> DataFrame:
    held = before.join(local(before, _table(ids, column)), column, "left_anti")
    return held.select(*new.column_names).unionByName(local(before, new))


def _replacements(changed: Changes) -> dict[str, tuple[Iterable[str], str, pa.Table]]:
    """Of each table but the pairs: the rows to leave out, by which column, and those in their place."""
    ids, new = changed.nodes.ids, changed.nodes.new
    return {
        "parsed": (changed.went, "edition_id", changed.came), "nodes": (ids, "node", new),
        "standing": (ids, "node", stand(new)), "linked": (changed.affected, "node", changed.linked),
    }  # fmt: skip


def _exchanged(table: pa.Table, ids: Iterable[str], column: str, new: pa.Table) -> pa.Table:
    return pa.concat_tables([without(table, column, ids), new])


@dataclass(frozen=True)
class KeptFiles:
    """A `delta.Kept` of the files of a folder.

    Attributes:
        folder: of the version that holds.
        catalogue: Parquet file of `FIELDS`, from `files.read_catalogue`.
    """

    folder: Path
    catalogue: Path

    @staticmethod
    def seal(folder: Path) -> None:
        """Note what the files hold that `state.save` wrote; damaged, or without such a note, they are not read."""
        version = folder / json.loads((folder / POINTER).read_text())["version"]
        (version / _SEAL).write_text(_digest(version))

    @classmethod
    def of(cls, folder: Path, catalogue: Path, config: MatchConfig) -> KeptFiles | None:
        """What a folder holds; None if it is nothing whole, or was made in another way (`state.load`)."""
        try:
            told = json.loads((folder / POINTER).read_text())
            if told["made_by"] != made_by(config):
                return None
            kept = cls(folder / told["version"], catalogue)
            return kept if (kept.folder / _SEAL).read_text() == _digest(kept.folder) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def clear(folder: Path) -> None:
        """Remove what a run left that died while it saved: versions, and their pointers, that nothing points to."""
        try:
            told = json.loads((folder / POINTER).read_text())
            named = {told["version"], told.get("before")}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            named = set()
        for path in folder.iterdir():
            if is_version(path.name) and path.name not in named and _is_ours(path):
                rmtree(path, ignore_errors=True)
            elif is_version(path.name.removeprefix(f"{POINTER}.")) and path.is_file():
                path.unlink(missing_ok=True)

    def keep(self, changed: Changes) -> None:
        """Write what holds after the changes into a new version and point to it; as `state.save`.

        Raises:
            OSError: it cannot be written; what was there holds.
        """
        root, version = self.folder.parent, uuid4().hex
        old = json.loads((root / POINTER).read_text())
        written = root / f"{POINTER}.{version}"
        try:
            rows = {name: self._write(root / version / name, self._after(name, changed)) for name in TABLES}
            (root / version / _SEAL).write_text(_digest(root / version))
            written.write_text(json.dumps(old | {"version": version, "before": old["version"], "rows": rows}))
        except OSError:
            written.unlink(missing_ok=True)
            rmtree(root / version, ignore_errors=True)
            raise
        (root / f".{POINTER}.crc").unlink(missing_ok=True)  # Hadoop's checksum of the pointer that was
        written.replace(root / POINTER)
        if is_version(old.get("before")):
            rmtree(root / old["before"], ignore_errors=True)

    def _write(self, folder: Path, table: pa.Table) -> int:
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part.parquet")
        return int(table.num_rows)

    def _after(self, name: str, changed: Changes) -> pa.Table:
        """A table of the state with what has changed since."""
        table = self.read(name, *_SCHEMAS[name].names)
        if name == "pairs":
            return pa.concat_tables([still(table, changed.nodes.ids, changed.anew), changed.pairs])
        ids, column, new = _replacements(changed)[name]
        return _exchanged(table, ids, column, new)

    def works(self, changed: Changes) -> pa.Table:
        """As `clustering.assign`: `edition_id`, `cluster`, `confidence` of each edition after the changes."""
        editions, nodes, linked = (self._columns(name, changed) for name in ("parsed", "nodes", "linked"))
        at = pc.index_in(editions["spelled"], nodes["spelled"])
        node, lone = nodes["node"].take(at), pc.equal(nodes["records"].take(at), 1)
        of_node = pc.index_in(node, linked["node"])
        linked_by = linked["sure"].take(of_node)
        sure = pc.coalesce(linked_by, pc.if_else(lone, 1.0, SAME_SPELLING))
        unknown = pc.and_(pc.and_(pc.equal(editions["main"], ""), lone), pc.is_null(linked_by))
        confidence = rounded(np.where(unknown, 0.0, np.maximum(sure.to_numpy(), 0.0)), np.floor)
        cluster = pc.coalesce(linked["root"].take(of_node), node)
        return pa.table({"edition_id": editions["edition_id"], "cluster": cluster, "confidence": confidence})

    def _columns(self, name: str, changed: Changes) -> pa.Table:
        ids, column, new = _replacements(changed)[name]
        return _exchanged(self.read(name, *_SHOWN[name]), ids, column, new.select(_SHOWN[name]))

    def cut(self, changed: Changes, config: MatchConfig) -> list[tuple[str, str, int]]:
        """As `comparing.over_bound`: rule, key and nodes of the blocks over their bound, the largest first."""
        counted = self._columns("standing", changed).group_by(["rule", "key"]).aggregate([([], "count_all")])
        large = counted.filter(pc.field("count_all") > min(config.block_size, config.key_block_size)).to_pylist()
        found = [(row["rule"], row["key"], row["count_all"]) for row in large]
        return sorted((one for one in found if one[2] > bound_of(one[0], config)), key=lambda one: -one[2])

    def read(self, table: str, *columns: str) -> pa.Table:
        """Columns of all rows of a table of the state."""
        fields = [_SCHEMAS[table].field(name) for name in columns]
        return ds.dataset(self.folder / table, format="parquet").to_table(list(columns)).cast(pa.schema(fields))

    def take(self, table: str, values: Iterable[str], *columns: str) -> pa.Table:
        """See `delta.Kept`."""
        among, schema = pa.array(values, pa.string()), _SCHEMAS[table]
        wanted = reduce(pc.Expression.__or__, (pc.field(column).isin(among) for column in columns))
        files = ds.dataset(self.folder / table, format="parquet")
        return files.to_table(schema.names, filter=wanted).cast(schema)

    def sources(self) -> dict[str, tuple[int, int]]:
        """See `delta.Kept`."""
        counted = (
            self.read("parsed", "source", "vote").group_by("source").aggregate([("vote", "sum"), ([], "count_all")])
        )
        return {row["source"]: (row["vote_sum"], row["count_all"]) for row in counted.to_pylist()}

    def moved(self, apart: frozenset[str], most: int) -> tuple[pa.Table, list[str]] | None:
        """See `delta.Kept`."""
        before = self.read("parsed", "edition_id", "fingerprint", "spelled", "surname", "main")
        nameless = pc.or_(pc.equal(before["surname"], ""), pc.equal(before["main"], ""))
        is_apart = pc.is_in(before["edition_id"], pa.array(apart, pa.string()))
        as_asked = pc.or_(nameless, pc.equal(pc.starts_with(before["spelled"], "\0"), is_apart))
        ids, prints = self._rows()
        at = pc.index_in(ids, before["edition_id"])
        same = pc.and_(pc.equal(prints, before["fingerprint"].take(at)), as_asked.take(at))
        moved = pc.invert(pc.fill_null(same, False))
        came = ids.filter(moved).combine_chunks()
        gone = before["edition_id"].filter(pc.invert(pc.is_in(before["edition_id"], ids)))
        if len(came) + len(gone) > most:
            return None
        changed = came.filter(pc.is_valid(at.filter(moved)))
        rows = ds.dataset(self.catalogue).to_table(list(FIELDS), filter=pc.field("edition_id").isin(came))
        rows = rows.append_column("source", pa.repeat(pa.scalar(""), rows.num_rows))
        rows = rows.append_column("fingerprint", fingerprints(rows))
        return rows.cast(_ROW), [*changed.to_pylist(), *gone.to_pylist()]

    def _rows(self) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
        """The ids and fingerprints of the catalogue; its texts are held one batch at a time."""
        ids, prints = [], []
        for batch in pq.ParquetFile(self.catalogue).iter_batches(columns=list(FIELDS)):
            ids.append(batch["edition_id"])
            prints.append(fingerprints(batch.append_column("source", pa.repeat(pa.scalar(""), batch.num_rows))))
        return pa.chunked_array(ids, pa.string()), pa.chunked_array(prints, pa.string())


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds nothing but tables of a state."""
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= {*TABLES, _SEAL}


def _digest(folder: Path) -> str:
    """Of the files of a version."""
    digest = blake2b()
    for path in sorted(folder.glob("*/*.parquet")):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()
