"""Editions between a catalogue file and what describes them, as Parquet."""

from __future__ import annotations

import pyarrow as pa

_text = pa.string()
# As the source wrote them: texts unrepaired, ISBNs one or many in a cell.
EDITIONS = pa.schema([
    pa.field("edition_id", _text, nullable=False),
    *(pa.field(name, _text) for name in ("title", "author", "isbn", "publisher", "year", "language", "series")),
])  # fmt: skip

# What a model may know of an edition; ids are folded names, '' never.
DESCRIBED = pa.schema([
    pa.field("edition_id", _text, nullable=False),
    pa.field("isbns", pa.list_(_text)),  # ISBN-13
    pa.field("title", _text),
    pa.field("work_key", _text),  # main title, volume and author: equal for the editions of a book
    pa.field("author_id", _text), pa.field("series_id", _text), pa.field("series_number", pa.float64()),
    pa.field("publisher", _text), pa.field("year", pa.int32()), pa.field("language", _text),
])  # fmt: skip
