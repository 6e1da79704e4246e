"""Dead letters counted, and sent again once the data or the code was mended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from bookworks.adapters import kafka
from bookworks.clock import now
from bookworks.contracts.records import SCHEMA_VERSION
from bookworks.contracts.topics import TOPICS
from bookworks.settings import Settings
from bookworks.streaming import BadValue, read_record
from ingestion.dead_letters import REPLAYED, Letter, Sender, read, unreplayed
from ingestion.files_to_kafka import to_value
from ingestion.rows import Refused
from ingestion.sources import registry

RAW_SHOWN = 200


@dataclass
class Example:
    """One dead letter in words."""

    where: str
    detail: str
    raw: str


@dataclass
class ReasonCount:
    """Dead letters of one topic and reason."""

    topic: str
    reason: str
    letters: int = 0
    replayed: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass
class Outcome:
    """What a replay did.

    Attributes:
        reasons: how many are still refused, by reason.
        details: what was said of the first of each reason.
    """

    sent: int = 0
    still_refused: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


def summary(settings: Settings, topics: Iterable[str], examples: int = 1) -> list[ReasonCount]:
    """Counts by topic and reason, the most frequent first.

    Raises:
        TransientError: Kafka does not answer.
    """
    counts: list[ReasonCount] = []
    kafka.ensure_topics(settings)
    for topic in topics:
        by_reason: dict[str, ReasonCount] = {}
        reason_at: dict[tuple[int, int], str] = {}
        marks: set[tuple[int, int]] = set()
        for letter in read(settings, topic):
            if letter.replayed is not None:
                marks.add(letter.replayed)
                continue
            count = by_reason.setdefault(letter.reason, ReasonCount(topic, letter.reason))
            count.letters += 1
            reason_at[letter.partition, letter.offset] = letter.reason
            if len(count.examples) < examples:
                count.examples.append(_example(letter))
        for mark in marks & reason_at.keys():
            by_reason[reason_at[mark]].replayed += 1
        counts += sorted(by_reason.values(), key=lambda c: -c.letters)
    return counts


def _example(letter: Letter) -> Example:
    headers = defaultdict(str, letter.headers)
    place = f"{headers['source_file']}:{headers['source_line']}" if headers["source_file"] else ""
    offset = f"{headers['source_topic']}[{headers['source_partition']}]@{headers['source_offset']}"
    return Example(place or offset, headers["detail"], letter.raw[:RAW_SHOWN].decode("utf-8", "backslashreplace"))


def replay(settings: Settings, topics: Iterable[str], reason: str | None = None, limit: int | None = None) -> Outcome:
    """Send letters again that were not replayed yet; one that is still refused stays as it is.

    The mark follows after the record is delivered: a crash between them sends a record twice, which the
    lake knows as a duplicate by its id.

    Raises:
        TransientError: Kafka does not answer.
    """
    outcome = Outcome()
    kafka.ensure_topics(settings)
    partitioner = kafka.Partitioner(settings)
    with Sender(settings) as sender:
        for topic in topics:
            chosen = [letter for letter in unreplayed(settings, topic) if reason in (None, letter.reason)]
            sent = [letter for letter in chosen[:limit] if _send(sender, partitioner, letter, outcome)]
            sender.flush()
            for letter in sent:
                sender.letter(topic, b"", reason=REPLAYED, source_topic=TOPICS[topic].dlq,
                              source_partition=letter.partition, source_offset=letter.offset)  # fmt: skip
            sender.flush()
    return outcome


def _send(sender: Sender, partitioner: kafka.Partitioner, letter: Letter, outcome: Outcome) -> bool:
    try:
        value, key = _mended(letter)
    except (Refused, BadValue) as refused:
        outcome.still_refused += 1
        outcome.reasons[refused.reason] = outcome.reasons.get(refused.reason, 0) + 1
        outcome.details.setdefault(refused.reason, refused.detail)
        return False
    sender.send(letter.topic, value, key=key, partition=partitioner.of(letter.topic, key))
    outcome.sent += 1
    return True


def _mended(letter: Letter) -> tuple[bytes, bytes]:
    """Value and key of a letter's record, by today's loaders and contracts.

    What look-up files say of a record is not in its letter: sent without that, it would pass for a whole one.

    Raises:
        Refused, BadValue: it is still refused.
    """
    if letter.truncated:
        raise Refused("truncated", f"only the beginning of {letter.headers['truncated']} bytes was kept")
    source, _, kind_name = letter.headers.get("source_file", "").partition("/")
    if registry.needs_lookups(source, kind_name):
        raise Refused("needs_look_up_files", "look-up files help to make its record: load the folder again")
    kind = registry.kind_of(source, kind_name)
    value = letter.raw
    if kind is not None:
        stamp = now().isoformat(timespec="milliseconds")
        common = {"schema_version": SCHEMA_VERSION, "source": source, "received_at": stamp}
        _, value = to_value(kind, letter.raw, common, {})
    record = read_record(letter.topic, value)
    return value, str(getattr(record, TOPICS[letter.topic].key)).encode()
