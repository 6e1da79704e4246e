"""Which rows of a table have a name; made once, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


def rows_by_name(columns: Sequence[pa.ChunkedArray], key: Callable[[str], str]) -> dict[str, Ints]:
    """Key of a name -> the rows that have it in one of these columns, rising, each once; an empty key is left out.

    Args:
        columns: of texts, or of lists of texts, all as long.
        key: of a name; names of one key are the same.
    """
    groups: dict[str, list[Ints]] = {}
    for column in columns:
        values, rows = _pairs(column.combine_chunks())
        coded = values.dictionary_encode()
        codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        names = coded.dictionary.to_pylist()
        starts = np.searchsorted(codes[order], np.arange(len(names) + 1)).tolist()
        ordered = rows[order]
        for name, start, end in zip(names, starts, starts[1:], strict=False):
            if name is not None:  # a column of nothing has no other
                groups.setdefault(key(name), []).append(ordered[start:end])
    groups.pop("", None)
    return {name: _once(parts) for name, parts in groups.items()}


def _once(parts: list[Ints]) -> Ints:
    """Rows of several parts, rising, each once; the rows of a part rise, but a list may name one twice."""
    if len(parts) == 1 and (len(parts[0]) < 2 or (np.diff(parts[0]) > 0).all()):
        return parts[0]
    return np.unique(np.concatenate(parts))


def _pairs(column: pa.Array) -> tuple[pa.Array, Ints]:
    """Values, and of each the row that it stands in."""
    if pa.types.is_list(column.type):
        return pc.list_flatten(column), pc.list_parent_indices(column).to_numpy().astype(np.int64)
    return column, np.arange(len(column))
