"""Of which Kafka the lake's raw files are: an object in the lake names the cluster and its topics.

Offsets mean something only within one topic of one cluster. A topic that was made anew counts from 0 again, and
the old files would pass for its records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from bookworks.adapters import kafka, s3
from bookworks.errors import TerminalError
from bookworks.settings import Settings

KEY = "raw/_kafka.json"


def check_same_kafka(settings: Settings, topics: Iterable[str]) -> None:
    """Compare Kafka with what the lake says of it; what the lake does not know yet is written down there.

    A lake without the object, made by an older release or new, takes the Kafka of now for its own.

    Raises:
        TerminalError: the lake is of another cluster, or one of the topics was made anew since.
        TransientError: Kafka or the lake does not answer.
    """
    now = identity(settings, sorted(topics))
    kept = _kept(settings)
    merged = compared(kept, now)
    if merged != kept:
        s3.put(settings, settings.lake_bucket, KEY, orjson.dumps(merged, option=orjson.OPT_SORT_KEYS))


def compared(kept: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What the lake is to say after it met the Kafka of `now`.

    Raises:
        TerminalError: the two differ.
    """
    known: dict[str, str] = kept.get("topics", {})
    wrong = [name for name, topic_id in now["topics"].items() if known.get(name, topic_id) != topic_id]
    if kept.get("cluster_id", now["cluster_id"]) != now["cluster_id"]:
        raise _other(f"cluster {now['cluster_id']}", f"cluster {kept['cluster_id']}")
    if wrong:
        raise _other(
            ", ".join(f"topic {name} with id {now['topics'][name]}" for name in wrong),
            ", ".join(f"{name} with id {known[name]}" for name in wrong),
        )
    return {"cluster_id": now["cluster_id"], "topics": known | now["topics"]}


def _other(received: str, allowed: str) -> TerminalError:
    return TerminalError(
        "The lake's raw files are of another Kafka",
        received=received,
        allowed=f"{allowed}, as {KEY} in the lake says",
        todo=f"point BOOKWORKS_KAFKA_HOST at the right Kafka; or, if Kafka was made anew, move the raw files and {KEY} "
        "away (or wipe the lake) and load again.",
    )


def identity(settings: Settings, topics: list[str]) -> dict[str, Any]:
    """The cluster's id, and the ids of topics where the broker gives them (Kafka 2.8 and later)."""
    client = kafka.admin(settings)
    try:
        with kafka.translated(settings):
            cluster_id = str(client.describe_cluster()["cluster_id"])
            described = client.describe_topics(topics)
    finally:
        client.close()
    ids = {one["name"]: str(one["topic_id"]) for one in described if one.get("topic_id")}
    return {"cluster_id": cluster_id, "topics": ids}


def _kept(settings: Settings) -> dict[str, Any]:
    """What the lake says; {} where it says nothing."""
    try:
        body = s3.connect(settings).get_object(Bucket=settings.lake_bucket, Key=KEY)["Body"].read()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchKey":
            return {}
        raise s3.translate(error, settings) from error
    except BotoCoreError as error:
        raise s3.translate(error, settings) from error
    kept: dict[str, Any] = orjson.loads(body)
    return kept
