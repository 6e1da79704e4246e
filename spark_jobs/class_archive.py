"""Spark's classes, loaded once and kept for every later start: `python -m spark_jobs.class_archive`.

A Spark job on one machine spends its first seconds loading some ten thousand classes. The JVM can map them from an
archive of an earlier run instead (class data sharing, JEP 350). The archive belongs to this environment's Spark, Java
and jars: with others the JVM passes over it, and `bookworks install` makes it anew.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pyspark
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from bookworks.cli.entry import run
from bookworks.errors import TerminalError
from bookworks.settings import Settings, get_settings
from spark_jobs.session import CLASS_ARCHIVE, find_jars, spark_session

_MADE_OF = CLASS_ARCHIVE.with_suffix(".json")
_MOST_SECONDS = 300


def up_to_date(settings: Settings) -> bool:
    """Whether the archive is there, and made of what is installed now."""
    try:
        return CLASS_ARCHIVE.exists() and json.loads(_MADE_OF.read_text()) == made_of(settings)
    except (OSError, ValueError):
        return False


def made_of(settings: Settings) -> dict[str, str]:
    """What the archive depends on: Java, Spark, jars."""
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    jars = sorted(f"{jar} {jar.stat().st_mtime_ns}" for jar in find_jars(settings))
    return {
        "java": "\n".join(line for line in java.stderr.splitlines() if not line.startswith("Picked up")),
        "spark": f"{pyspark.__version__} {pyspark.__file__}",
        "jars": hashlib.sha256("\n".join(jars).encode()).hexdigest(),
    }


def make(settings: Settings) -> None:
    """Run what jobs are made of, and have the JVM keep the classes that it took.

    Raises:
        TerminalError: the JVM left no archive.
    """
    CLASS_ARCHIVE.unlink(missing_ok=True)
    with TemporaryDirectory(dir=CLASS_ARCHIVE.parent) as folder:
        fresh = Path(folder) / CLASS_ARCHIVE.name
        options = f'{settings.spark_java_options} "-XX:ArchiveClassesAtExit={fresh}" -Xlog:cds*=off'
        keeping = settings.model_copy(update={"spark_java_options": options, "spark_master": "local[2]"})
        with spark_session(keeping, "class_archive") as spark:
            _exercise(spark, folder)
            jvm = spark.sparkContext._gateway.proc
        jvm.stdin.close()
        jvm.wait(_MOST_SECONDS)
        if not fresh.exists():
            raise TerminalError(
                "Java kept no archive of Spark's classes",
                received=f"no {fresh}",
                todo="jobs start without it, but slower.",
            )
        fresh.replace(CLASS_ARCHIVE)
    _MADE_OF.write_text(json.dumps(made_of(settings)))


def _exercise(spark: SparkSession, folder: str) -> None:
    """Read, write, join, cluster; and ask a store that is not there, for the classes of its client."""
    from spark_jobs.works.clustering import cluster
    from spark_jobs.works.config import MatchConfig
    from spark_jobs.works.records import FIELDS

    rows = [(f"e{n}", "Dune", "Frank Herbert", *(None,) * (len(FIELDS) - 3)) for n in range(3)]
    spark.createDataFrame(rows, ", ".join(f"{name} string" for name in FIELDS)).write.parquet(f"file://{folder}/rows")
    cluster(spark.read.parquet(f"file://{folder}/rows"), MatchConfig()).editions.collect()
    spark.sparkContext._jvm.java.lang.Class.forName("org.postgresql.Driver")
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    for name in ("attempts.maximum", "retry.limit"):
        hadoop.set(f"fs.s3a.{name}", "0")
    hadoop.set("fs.s3a.endpoint", "http://127.0.0.1:9")  # the port of RFC 863, where nothing listens
    path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path("s3a://bucket/key")
    try:
        path.getFileSystem(hadoop).exists(path)
    except Py4JJavaError:
        return


def main() -> None:
    """Make the archive if it is missing or old."""

    def job() -> None:
        settings = get_settings()
        if not up_to_date(settings):
            make(settings)

    run(job)


if __name__ == "__main__":
    sys.exit(main())
