"""Broken lines of known kinds, mixed into the good ones, so that dead letters can be checked against the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import orjson

Record = dict[str, object]


def _without(record: Record, *names: str) -> bytes:
    return orjson.dumps({k: v for k, v in record.items() if k not in names})


# reason in the truth file -> how a copy of a good record is broken
BREAKS: dict[str, Callable[[Record], bytes]] = {
    "truncated": lambda r: orjson.dumps(r)[: len(orjson.dumps(r)) // 2],
    "not_utf8": lambda r: orjson.dumps(r).replace(b'"source"', b'"sour\xe9ce"'),
    "no_identity": lambda r: _without(r, "user_id", "edition_id"),
    "wrong_version": lambda r: orjson.dumps(r | {"schema_version": 99}),
    "bad_time": lambda r: orjson.dumps(r | {"received_at": "yesterday"}),
    "not_an_object": lambda r: orjson.dumps(list(r)),
}


class Dirt:
    """Adds broken lines at a known rate and remembers where."""

    def __init__(self, rate: float, rng: np.random.Generator) -> None:
        self.rate = rate
        self.truth: list[tuple[str, int, str]] = []
        self._rng = rng

    def write(self, path: Path, records: Iterable[Record]) -> int:
        """Write one record a line, with broken copies in between; returns the number of good lines."""
        good = 0
        with path.open("wb", buffering=1 << 20) as file:
            for line, is_good in self._lines(path.name, records):
                file.write(line)
                file.write(b"\n")
                good += is_good
        return good

    def _lines(self, name: str, records: Iterable[Record]) -> Iterator[tuple[bytes, bool]]:
        line, kinds = 0, list(BREAKS)
        for record in records:
            line += 1
            yield orjson.dumps(record), True
            if self.rate and self._rng.random() < self.rate:
                line += 1
                kind = kinds[int(self._rng.integers(0, len(kinds)))]
                self.truth.append((name, line, kind))
                yield BREAKS[kind](record), False
