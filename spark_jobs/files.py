"""Small files in any store that Hadoop understands: S3A, a folder."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def place(spark: SparkSession, address: str) -> tuple[Any, Any]:
    """Hadoop's file system of an address, and the path in it."""
    path = spark._jvm.org.apache.hadoop.fs.Path(address)  # type: ignore[union-attr]
    return path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), path


def read_text(spark: SparkSession, address: str) -> str | None:
    """The text of a small file; None if it is not there."""
    store, path = place(spark, address)
    if not store.exists(path):
        return None
    stream = store.open(path)
    try:
        return str(spark._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))  # type: ignore[union-attr]
    finally:
        stream.close()


def make_text(spark: SparkSession, address: str, text: str) -> None:
    """Write a small file in place of what was there; an object store replaces it whole."""
    store, path = place(spark, address)
    stream = store.create(path, True)
    stream.write(bytearray(text, "utf-8"))
    stream.close()
