"""Which nodes of a block are compared: index pairs, never all against all in a block over its bound. Pure numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from spark_jobs.works.pairs import given_relation, word_matrix

Ints = npt.NDArray[np.int64]
NO_PAIRS = (np.empty(0, np.int64), np.empty(0, np.int64))

# Why nodes stand in one block.
RULES = AUTHOR, TITLE, PERSON, ISBN = "author", "title", "person", "isbn"


def block_pairs(
    rule: str, rows: Ints, columns: Mapping[str, Sequence[str]], fresh: npt.NDArray[np.bool_], bound: int
) -> tuple[Ints, Ints]:
    """The pairs to compare among the rows of one block.

    Args:
        rule: why they stand together; decides what another block compares already.
        rows: indices into the columns.
        columns: of the nodes: `main`, `author_key`, `given`.
        fresh: pairs without a fresh side are left out.
        bound: blocks up to this size are compared pair by pair; larger ones only where a rare word is shared
            (same author), or not at all.
    """
    if len(rows) < 2 or (len(rows) > bound and rule != AUTHOR):
        return NO_PAIRS
    main, author, given = (columns[name] for name in ("main", "author_key", "given"))
    first, second = _all(len(rows)) if len(rows) <= bound else _sharing_words([main[i] for i in rows], bound)
    wanted = fresh[rows[first]] | fresh[rows[second]]
    first, second = first[wanted], second[wanted]
    a, b = rows[first], rows[second]
    if rule == AUTHOR:
        kept = given_relation([given[i] for i in rows], first, second) >= 0  # other initials: another person
    elif rule == TITLE:
        kept = np.array([author[i] != author[j] or not author[i] for i, j in zip(a, b, strict=True)], bool)
    elif rule == PERSON:
        kept = np.array([author[i] != author[j] and main[i] != main[j] for i, j in zip(a, b, strict=True)], bool)
    else:
        kept = np.ones(len(a), bool)
    return a[kept], b[kept]


def _all(size: int) -> tuple[Ints, Ints]:
    first, second = np.triu_indices(size, 1)
    return first.astype(np.int64), second.astype(np.int64)


def _sharing_words(titles: Sequence[str], bound: int) -> tuple[Ints, Ints]:
    """Pairs that share a word which few titles of the block have: at most `bound` pairs for each title and word."""
    words = word_matrix(titles).tocsc()
    holders = np.diff(words.indptr)
    rare = sparse.diags(((holders > 1) & (holders <= max(2, bound // 10))).astype(np.float32))
    kept = (words @ rare).tocsr()
    kept.eliminate_zeros()
    shared = sparse.triu(kept @ kept.T, k=1).tocoo()
    return shared.row.astype(np.int64), shared.col.astype(np.int64)


def runs(keys: Sequence[str]) -> Iterator[Ints]:
    """Index ranges of equal neighbours."""
    start = 0
    for at in range(1, len(keys) + 1):
        if at == len(keys) or keys[at] != keys[start]:
            yield np.arange(start, at, dtype=np.int64)
            start = at
