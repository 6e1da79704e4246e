"""What `bookworks simulate generate` writes: JSON Lines of whole records. See docs/sources/simulate.md."""

from __future__ import annotations

import orjson

from ingestion.rows import Context, FileKind, Record, Refused, Source

NAME = "simulate"


def _parse(raw: bytes, context: Context) -> Record:
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("not_json", str(error)) from None
    if not isinstance(record, dict):
        raise Refused("not_an_object", f"a JSON {type(record).__name__}, allowed is an object")
    return record


SOURCE = Source(
    NAME,
    (
        FileKind("catalogue", ("catalogue.jsonl",), "catalogue", _parse, "edition_id", required=True),
        FileKind("readers", ("readers.jsonl",), "readers", _parse, "user_id", required=True),
        FileKind("interactions", ("interactions.jsonl",), "interactions", _parse, "event_id", required=True),
    ),
)
