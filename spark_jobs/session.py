"""The one place that makes a Spark session: settings in, session with the lake's store out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkConf
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from bookworks.errors import SettingError, TransientError
from bookworks.settings import Settings

LOG_CONFIG = Path(__file__).with_name("log4j2.properties")
CLASS_ARCHIVE = Path(sys.prefix) / "spark-classes.jsa"  # see spark_jobs.class_archive


@contextmanager
def spark_session(settings: Settings, app: str) -> Iterator[SparkSession]:
    """A session that is stopped at the end.

    Args:
        settings: master, memory, store.
        app: name of the job, shown by the master.

    Raises:
        SettingError: the jars of the S3 and Postgres clients are not installed.
        TransientError: the session could not be started (master away, memory).
    """
    spark = start(settings, app)
    try:
        yield spark
    finally:
        spark.stop()


def start(settings: Settings, app: str) -> SparkSession:
    """Start a session; see `spark_session`."""
    # Workers import our packages with the interpreter that runs the driver.
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    # Behind Spark's own jars: the store's client brings other versions of some of them.
    os.environ["SPARK_DIST_CLASSPATH"] = ":".join(str(jar) for jar in find_jars(settings))
    # A second address, chosen from the machine's name, is none of our business on loopback.
    os.environ.setdefault("SPARK_LOCAL_IP", settings.bind_host)
    try:
        spark = SparkSession.builder.config(conf=configuration(settings, app)).getOrCreate()
    except (PySparkException, RuntimeError) as error:
        raise TransientError(
            f"Spark does not start with master {settings.spark_master}",
            received=first_line(str(error)),
            todo="check BOOKWORKS_SPARK_MASTER, BOOKWORKS_SPARK_DRIVER_MEMORY and `bookworks doctor` (OpenJDK 17).",
        ) from error
    except Exception as error:  # Py4J passes on what the JVM threw; the master that is away among it.
        raise TransientError(
            f"Spark does not start with master {settings.spark_master}",
            received=first_line(str(error)),
            todo="check that the master runs, and BOOKWORKS_SPARK_MASTER.",
        ) from error
    give_store(spark, settings)
    return spark


def configuration(settings: Settings, app: str) -> SparkConf:
    """Everything but the secrets: PySpark puts these on the JVM's command line, where `ps` shows them."""
    java_options = [f'"-Dlog4j2.configurationFile=file:{LOG_CONFIG}"', settings.spark_java_options]
    if CLASS_ARCHIVE.exists():  # one of another Java or Spark is passed over without a word
        java_options += [f'"-XX:SharedArchiveFile={CLASS_ARCHIVE}"', "-Xlog:cds*=off"]
    values = {
        "spark.app.name": app,
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.driver.host": settings.bind_host,
        "spark.driver.bindAddress": settings.bind_host,
        "spark.driver.extraJavaOptions": " ".join(java_options).strip(),
        "spark.executor.memory": settings.spark_executor_memory,
        "spark.ui.enabled": str(settings.spark_ui).lower(),
        "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
        "spark.sql.shuffle.partitions": str(settings.spark_shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "5000",
        "spark.redaction.regex": "(?i)secret|password|passwd|token|access[.]?key",
        # One rename less for each file; nobody reads the folder until the job has moved it into place.
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }
    if not settings.spark_master.startswith("local"):
        values["spark.jars"] = ",".join(str(jar) for jar in find_jars(settings))  # shipped to every executor
    return SparkConf(loadDefaults=False).setAll(list(values.items()))


def find_jars(settings: Settings) -> list[Path]:
    """The jars of the S3A and Postgres clients that `bookworks install` fetched."""
    return sorted((settings.tools_dir / "spark-jars").rglob("*.jar"))


def first_line(text: str, limit: int = 300) -> str:
    """The first line of a JVM's message that says something, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("An error occurred")]
    return (lines[0] if lines else text)[:limit]


def give_store(spark: SparkSession, settings: Settings) -> None:
    """Tell Hadoop's S3A client about the store, inside the running JVM, so that no secret is in its arguments."""
    options = {
        "fs.s3a.endpoint": settings.s3_url,
        "fs.s3a.endpoint.region": settings.s3_region,
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": str(settings.s3_url.startswith("https")).lower(),
        "fs.s3a.access.key": settings.s3_access_key,
        "fs.s3a.secret.key": settings.s3_secret_key.get_secret_value(),
        "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        # An unanswering store is told after seconds, not after Hadoop's quarter of an hour.
        "fs.s3a.attempts.maximum": "3",
        "fs.s3a.retry.limit": "3",
        "fs.s3a.retry.interval": "200ms",
        "fs.s3a.connection.establish.timeout": "5s",
        "fs.s3a.fast.upload.buffer": "bytebuffer",
        "fs.s3a.change.detection.mode": "none",
    }
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    for name, value in options.items():
        hadoop.set(name, value)


def require_jars(settings: Settings) -> None:
    """Check that the S3A and Postgres clients are installed.

    Raises:
        SettingError: they are not; the message names the folder.
    """
    if not find_jars(settings):
        raise SettingError(
            "Spark has no client for the object store",
            received=f"no jar in {settings.tools_dir / 'spark-jars'}",
            todo="run `bookworks install`, or set BOOKWORKS_TOOLS_DIR to the folder that holds spark-jars.",
        )
