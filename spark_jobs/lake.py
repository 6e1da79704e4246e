"""Reading and replacing tables of the lake: `s3a://<bucket>/…` or any folder that Hadoop understands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from bookworks.clock import now
from bookworks.contracts.lake import (
    CLEAN_SCHEMAS,
    RAW_SCHEMAS,
    clean_pointer_key,
    clean_prefix,
    clean_version_prefix,
    raw_prefix,
    works_state_prefix,
)
from bookworks.errors import ContractError, TerminalError
from bookworks.settings import Settings
from spark_jobs.files import make_text, place, read_text
from spark_jobs.session import require_jars

_VERSION_TIME = "%Y%m%dT%H%M%S"


@dataclass(frozen=True)
class Lake:
    """One lake.

    Attributes:
        spark: session that reads and writes.
        root: address without a slash at the end, for example `s3a://lake`.
    """

    spark: SparkSession
    root: str

    @classmethod
    def of(cls, spark: SparkSession, settings: Settings) -> Lake:
        """The lake of the settings.

        Raises:
            SettingError: the client of the store is not installed.
        """
        require_jars(settings)
        return cls(spark, f"s3a://{settings.lake_bucket}")

    @property
    def works_state(self) -> str:
        """Address of what one clustering of works leaves for the next."""
        return f"{self.root}/{works_state_prefix()}"

    def read_raw(self, topic: str, optional: bool = False) -> DataFrame:
        """The raw records of a topic; files of older schemas are read with null in newer columns.

        Args:
            topic: a key of `RAW_SCHEMAS`.
            optional: return an empty frame when nothing of this topic was ever stored.

        Raises:
            TerminalError: there is no such folder.
        """
        return self._read(raw_prefix(topic), RAW_SCHEMAS[topic], "run `bookworks ingest load` first.", optional)

    def read_clean(self, table: str) -> DataFrame:
        """A clean table, in the version that holds at the time of the call.

        Raises:
            TerminalError: the job that writes it has not run yet, or its pointer cannot be read.
        """
        todo = "run the job of spark_jobs that writes it first."
        version = self.version(table)
        if version is None:
            where = f"{self.root}/{clean_pointer_key(table)}"
            raise TerminalError("The lake has no such table yet", received=f"nothing at {where}", todo=todo)
        return self._read(clean_version_prefix(table, version), CLEAN_SCHEMAS[table], todo, optional=False)

    def last_clean(self, table: str) -> DataFrame | None:
        """A clean table as `read_clean`, None where no job has written it yet."""
        return None if self.version(table) is None else self.read_clean(table)

    def version(self, table: str) -> str | None:
        """The version of a clean table that holds, by its pointer; None where no job has written it yet.

        Raises:
            TerminalError: the pointer cannot be read.
        """
        where = f"{self.root}/{clean_pointer_key(table)}"
        text = read_text(self.spark, where)
        if text is None:
            return None
        try:
            return str(json.loads(text)["version"])
        except (ValueError, KeyError, TypeError):
            raise TerminalError(
                f"The pointer of the clean table {table} cannot be read",
                received=f"{text[:100]!r} in {where}",
                allowed='{"version": …, "rows": …}',
                todo="delete that object and run the job of spark_jobs that writes the table again.",
            ) from None

    def written_at(self, table: str) -> datetime | None:
        """When the version of a clean table that holds was begun, to the second, UTC; None without one."""
        version = self.version(table)
        return None if version is None else datetime.strptime(version[:15], _VERSION_TIME).replace(tzinfo=UTC)

    def _read(self, prefix: str, schema: pa.Schema, todo: str, optional: bool) -> DataFrame:
        path = f"{self.root}/{prefix}"
        try:
            frame = self.spark.read.option("mergeSchema", "true").parquet(path)
        except AnalysisException as error:
            if error.getCondition() not in {"PATH_NOT_FOUND", "UNABLE_TO_INFER_SCHEMA"}:
                raise
            if optional:
                return self.spark.createDataFrame([], spark_schema(schema))
            raise TerminalError("The lake has no such table yet", received=path, todo=todo) from None
        return require_columns(frame, schema.names, path)

    def replace_clean(self, table: str, frame: DataFrame) -> None:
        """Write `frame` as the clean table, in place of what was there.

        The files go into a new folder. When all are there and have been counted, one small object,
        the pointer, is written; from then on readers see the new version. A job that dies before
        leaves the old table whole, and its files are removed by the next one that does not. The
        version before stays, for those who are reading it. One job writes a table at a time.

        Raises:
            ContractError: other rows are in the lake than were sent; the old table holds.
        """
        before, version = self.version(table), f"{now():{_VERSION_TIME}}-{uuid4().hex[:8]}"
        path = f"{self.root}/{clean_version_prefix(table, version)}"
        sent = Observation()
        watched = frame.observe(sent, F.count(F.lit(1)).alias("rows"))
        conform(watched, CLEAN_SCHEMAS[table]).write.parquet(path)
        rows = self._stored(path)
        if rows != sent.get["rows"]:
            raise ContractError(
                f"Rows of the clean table {table} were lost or doubled on the way",
                received=rows,
                allowed=str(sent.get["rows"]),
                todo="see that no other job writes this table, then run the job again.",
            )
        self._point(table, version, rows)
        self._remove_but(table, {before, version})

    def _stored(self, path: str) -> int:
        """Rows of the Parquet files there."""
        return self.spark.read.parquet(path).count()

    def _point(self, table: str, version: str, rows: int) -> None:
        """Write the pointer: one object, which a store replaces whole."""
        text = json.dumps({"version": version, "rows": rows})
        make_text(self.spark, f"{self.root}/{clean_pointer_key(table)}", text)

    def _remove_but(self, table: str, versions: set[str | None]) -> None:
        """Remove all of the table but its pointer and these versions."""
        store, folder = place(self.spark, f"{self.root}/{clean_prefix(table)}")
        keys = {clean_pointer_key(table), *(clean_version_prefix(table, v) for v in versions if v)}
        kept = {key.rstrip("/").rpartition("/")[2] for key in keys}
        for entry in store.listStatus(folder):
            if entry.getPath().getName() not in kept:
                store.delete(entry.getPath(), True)


def spark_schema(schema: pa.Schema) -> StructType:
    """The Spark schema of a pyarrow one; times are instants (UTC)."""
    return from_arrow_schema(schema)


def require_columns(frame: DataFrame, names: Sequence[str], where: str) -> DataFrame:
    """`frame`, if it has all columns.

    Raises:
        ContractError: columns are missing; the message names them.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ContractError(
            f"Columns are missing in {where}: {', '.join(missing)}",
            received=", ".join(frame.columns),
            allowed=", ".join(names),
            todo="see bookworks/contracts/lake.py; data written by an older version has to be read in again.",
        )
    return frame


def conform(frame: DataFrame, schema: pa.Schema) -> DataFrame:
    """`frame` with exactly the columns, order and types of `schema`.

    Raises:
        ContractError: columns are missing.
    """
    require_columns(frame, schema.names, "a transform's result")
    return frame.select(*(F.col(field.name).cast(field.dataType) for field in spark_schema(schema).fields))
