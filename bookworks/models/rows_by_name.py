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
        codes, rows = codes[order], rows[order]
        once = np.append(True, (np.diff(codes) != 0) | (np.diff(rows) != 0))[: len(rows)]  # a list may name one twice
        codes, rows = codes[once], rows[once]
        names = coded.dictionary.to_pylist()
        starts = np.searchsorted(codes, np.arange(len(names) + 1)).tolist()
        for name, start, end in zip(names, starts, starts[1:], strict=False):
            if name is not None:  # a column of nothing has no other
                groups.setdefault(key(name), []).append(rows[start:end])
    groups.pop("", None)
    return {name: parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts)) for name, parts in groups.items()}


def _pairs(column: pa.Array) -> tuple[pa.Array, Ints]:
    """Values, and of each the row that it stands in."""
    if pa.types.is_list(column.type):
        return pc.list_flatten(column), pc.list_parent_indices(column).to_numpy().astype(np.int64)
    return column, np.arange(len(column))
