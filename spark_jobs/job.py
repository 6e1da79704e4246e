"""How a job runs: session, lake, one line of JSON at the end, errors in words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from bookworks.cli.entry import run
from bookworks.errors import BookworksError, ContractError, TerminalError, TransientError
from bookworks.settings import Settings, get_settings
from spark_jobs.lake import Lake
from spark_jobs.session import first_line, spark_session

# Words by which a store or data base that does not answer is known in the text of a JVM error.
AWAY_WORDS = (
    "ConnectException", "Connection refused", "UnknownHostException", "SocketTimeoutException", "NoRouteToHost",
    "SdkClientException", "ConnectTimeout", "Connection attempt failed", "Status Code: 503", "SlowDown",
)  # fmt: skip
REFUSED_WORDS = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Status Code: 403")
NO_BUCKET_WORDS = ("NoSuchBucket", "UnknownStoreException")


def run_job(name: str, job: Callable[[Lake, Settings], Mapping[str, object]]) -> None:
    """Run `job` with the settings of this process and print its counts as one line of JSON."""

    def main() -> None:
        began = time.monotonic()
        settings = get_settings()
        with spark_session(settings, name) as spark, translated(settings):
            counts = job(Lake.of(spark, settings), settings)
        seconds = round(time.monotonic() - began, 1)
        print(json.dumps({"job": name, **counts, "seconds": seconds}, default=str), flush=True)

    run(main)


class translated:
    """Turn errors of Spark and its JVM into ours, told by what they say."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise ours in place of theirs."""
        if isinstance(error, PySparkException | Py4JJavaError) and not isinstance(error, BookworksError):
            raise translate(error, self.settings) from None


def translate(error: Exception, settings: Settings) -> BookworksError:
    """Our error for one of Spark's: a store that is away is transient, the rest is not."""
    text = str(error)
    told = first_line(text)
    if any(word in text for word in NO_BUCKET_WORDS):
        return TerminalError("The lake's bucket does not exist", received=settings.lake_bucket, todo="`bookworks up`.")
    if any(word in text for word in REFUSED_WORDS):
        return TerminalError("The object store refused Spark", received=told, todo="check BOOKWORKS_S3_…")
    if any(word in text for word in AWAY_WORDS):
        return TransientError(
            f"A server did not answer Spark (object store {settings.s3_url})",
            received=told,
            todo="check `bookworks status`, then run the job again.",
        )
    return TerminalError("Spark gave up", received=told, todo="set BOOKWORKS_LOG_LEVEL=DEBUG to see more.")


class Counter:
    """Counts rows in passing, while they are written: no second pass over the data."""

    def __init__(self) -> None:
        self._observed: list[Observation] = []

    def watch(self, frame: DataFrame, **conditions: object) -> DataFrame:
        """`frame`, with a count of the rows that meet each condition (True counts all)."""
        observation = Observation()
        self._observed.append(observation)
        columns = [F.count_if(F.lit(c) if isinstance(c, bool) else c).alias(name) for name, c in conditions.items()]
        return frame.observe(observation, *columns)

    def counts(self) -> dict[str, int]:
        """All counts; call after the frames were written."""
        return {name: int(n) for observation in self._observed for name, n in observation.get.items()}


def check_sum(counts: Mapping[str, int], whole: str, *parts: str) -> None:
    """Check that rows in equal the sum of what became of them.

    Raises:
        ContractError: they do not.
    """
    if counts[whole] != sum(counts[part] for part in parts):
        raise ContractError(
            f"Rows do not add up: {whole} is not {' + '.join(parts)}",
            received={name: counts[name] for name in (whole, *parts)},
            todo="this is a fault of the job: nothing was loaded further; please report it.",
        )
