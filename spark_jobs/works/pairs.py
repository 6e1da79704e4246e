"""Features of pairs of title nodes: numpy and rapidfuzz over whole columns, no Spark, no loop over pairs but one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz, process
from rapidfuzz.distance import JaroWinkler
from scipy import sparse

from spark_jobs.works.languages import language_shares
from spark_jobs.works.persons import given_agree

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

RARITY_BITS = 16
TOKEN_BITS = 20
_CHUNK = 200_000  # pairs whose shared words are looked at at once

# Columns of a node, as lists of equal length: texts are '' where there is nothing.
NODE_TEXTS = (
    "main", "subtitle", "series", "series_number", "volume", "kind", "surname", "given", "others", "languages", "guess",
)  # fmt: skip
NODE_NUMBERS = ("records", "author_nodes", "author_records")


@lru_cache(maxsize=500_000)
def _hash(word: str) -> int:
    return zlib.crc32(word.encode())


def word_matrix(texts: Sequence[str]) -> sparse.csr_matrix:
    """Which words each text holds: texts × hashed words, ones."""
    pointers, columns = [0], []
    for text in texts:
        columns.extend({_hash(word) & ((1 << TOKEN_BITS) - 1) for word in text.split()})
        pointers.append(len(columns))
    ones = np.ones(len(columns), np.float32)
    shape = (len(texts), 1 << TOKEN_BITS)
    return sparse.csr_matrix((ones, np.array(columns, np.int32), np.array(pointers, np.int32)), shape=shape)


def rarity_table(texts: Sequence[str]) -> Floats:
    """ln((n + 1) / (df + 1)) of hashed words over distinct titles: how much a shared word tells."""
    counts = np.zeros(1 << RARITY_BITS, np.int64)
    for text in texts:
        for slot in {_hash(word) & ((1 << RARITY_BITS) - 1) for word in text.split()}:
            counts[slot] += 1
    table: Floats = np.log((len(texts) + 1) / (counts + 1)).astype(np.float32)
    return table


class Nodes:
    """Columns of title nodes, prepared for comparing.

    Args:
        columns: `NODE_TEXTS` and `NODE_NUMBERS`, lists of equal length.
        rarity: from `rarity_table`, shape (2^16,).
        letters: from `languages.language_table`.
        threads: that compare texts; one where each core has a process of its own, as on Spark.
    """

    def __init__(self, columns: dict[str, list[Any]], rarity: Floats, letters: Floats, threads: int = 1) -> None:
        self.threads = threads
        self.text = {name: columns[name] for name in NODE_TEXTS}
        self.number = {name: np.asarray(columns[name], np.float32) for name in NODE_NUMBERS}
        self.text["full"] = [f"{a} {b}".strip() for a, b in zip(columns["main"], columns["subtitle"], strict=True)]
        self.text["numbers"] = [_numbers(text) for text in self.text["full"]]
        self.code = {name: codes(values) for name, values in self.text.items()}
        self.has = {name: np.array([value != "" for value in values], bool) for name, values in self.text.items()}
        self.words = {name: word_matrix(self.text[name]) for name in ("full", "main")}
        slots = np.arange(1 << TOKEN_BITS) & ((1 << RARITY_BITS) - 1)
        weights = sparse.diags(rarity[slots].astype(np.float32))
        self.weighted = {name: (matrix @ weights).tocsr() for name, matrix in self.words.items()}
        self.total = {name: np.asarray(matrix.sum(axis=1)).ravel() for name, matrix in self.weighted.items()}
        self.length = np.array([len(text) for text in self.text["main"]], np.float32)
        self.count = np.diff(self.words["full"].indptr)
        self.shares = language_shares(self.text["full"], letters)

    def __len__(self) -> int:
        """How many."""
        return len(self.length)


def _numbers(text: str) -> str:
    return " ".join(sorted(word for word in text.split() if any(c.isdigit() for c in word)))


def codes(values: Sequence[Any]) -> Ints:
    """A number for each distinct value, in the order of their coming."""
    known: dict[Any, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.int64)


def _shared(left: sparse.csr_matrix, right: sparse.csr_matrix, a: Ints, b: Ints) -> Floats:
    """Weight of the words that row `a` of `left` shares with row `b` of `right`."""
    out = np.empty(len(a), np.float32)
    for at in range(0, len(a), _CHUNK):
        some = slice(at, at + _CHUNK)
        out[some] = np.asarray(left[a[some]].multiply(right[b[some]]).sum(axis=1)).ravel()
    return out


def given_relation(givens: Sequence[str], a: Ints, b: Ints) -> npt.NDArray[np.int8]:
    """`persons.given_agree` of each pair; many nodes share few names, so each two names are looked at once."""
    code, names = codes(givens), list(dict.fromkeys(givens))
    both, at = np.unique(code[a] * len(names) + code[b], return_inverse=True)
    of_both = [given_agree(names[i], names[j]) for i, j in zip(*np.divmod(both, max(len(names), 1)), strict=True)]
    return np.array(of_both, np.int8)[at]


def features(nodes: Nodes, a: Ints, b: Ints) -> tuple[list[str], Floats]:
    """Names and values (pairs × features) of the pairs `a[k]`, `b[k]`; NaN where a side has nothing to compare.

    They are the same when the sides are exchanged.
    """
    found = _of_titles(nodes, a, b) | _of_words(nodes, a, b) | _of_the_rest(nodes, a, b)
    values = [np.asarray(value, np.float32) for value in found.values()]
    return list(found), np.column_stack(values) if len(a) else np.empty((0, len(found)), np.float32)


def _of_titles(nodes: Nodes, a: Ints, b: Ints) -> dict[str, Any]:
    main_ratio, main_jaro_winkler, main_partial = _alike(
        nodes, "main", a, b, fuzz.ratio, JaroWinkler.similarity, fuzz.partial_ratio
    )
    full_ratio, full_sorted, full_partial = _alike(
        nodes, "full", a, b, fuzz.ratio, fuzz.token_sort_ratio, fuzz.partial_ratio
    )
    subtitle_ratio, subtitle_partial = _alike_where_both(nodes, "subtitle", a, b, fuzz.ratio, fuzz.partial_ratio)
    return {
        "main_equal": nodes.code["main"][a] == nodes.code["main"][b],
        "main_jaro_winkler": main_jaro_winkler,
        "main_ratio": main_ratio,
        "main_partial": main_partial,
        "full_ratio": full_ratio,
        "full_sorted": full_sorted,
        "full_partial": full_partial,
        "subtitles": nodes.has["subtitle"][a].astype(np.int8) + nodes.has["subtitle"][b],
        "subtitle_ratio": subtitle_ratio,
        "subtitle_partial": subtitle_partial,
        "length_min": np.minimum(nodes.length[a], nodes.length[b]),
        "length_gap": np.abs(nodes.length[a] - nodes.length[b]),
        "words_min": np.minimum(nodes.count[a], nodes.count[b]),
    }


def _alike(nodes: Nodes, name: str, a: Ints, b: Ints, *scorers: Any) -> list[Floats]:
    """How alike the texts of each pair are, by each scorer."""
    left, right = ([nodes.text[name][i] for i in side.tolist()] for side in (a, b))
    workers = nodes.threads
    return [process.cpdist(left, right, scorer=scorer, workers=workers, dtype=np.float32) for scorer in scorers]


def _alike_where_both(nodes: Nodes, name: str, a: Ints, b: Ints, *scorers: Any) -> list[Floats]:
    """As `_alike`; NaN where a side has no text, as most have no subtitle and no series."""
    both = np.flatnonzero(nodes.has[name][a] & nodes.has[name][b])
    found = np.full((len(scorers), len(a)), np.nan, np.float32)
    if len(both):
        found[:, both] = _alike(nodes, name, a[both], b[both], *scorers)
    return list(found)


def _of_words(nodes: Nodes, a: Ints, b: Ints) -> dict[str, Any]:
    full, main = nodes.total["full"], nodes.total["main"]
    shared = _shared(nodes.weighted["full"], nodes.words["full"], a, b)
    shared_main = _shared(nodes.weighted["main"], nodes.words["main"], a, b)
    a_in_b = _share(_shared(nodes.weighted["main"], nodes.words["full"], a, b), main[a])
    b_in_a = _share(_shared(nodes.weighted["main"], nodes.words["full"], b, a), main[b])
    least, most = np.minimum(full[a], full[b]), np.maximum(full[a], full[b])
    return {
        "shared": shared,
        "shared_of_longer": _share(shared, most),
        "shared_of_shorter": _share(shared, least),
        "unshared": full[a] + full[b] - 2 * shared,
        "unshared_of_shorter": least - shared,
        "main_shared_of_longer": _share(shared_main, np.maximum(main[a], main[b])),
        "main_shared_of_shorter": _share(shared_main, np.minimum(main[a], main[b])),
        "main_in_full_max": np.maximum(a_in_b, b_in_a),
        "main_in_full_min": np.minimum(a_in_b, b_in_a),
        "rarity_min": least,
    }


def _share(part: Floats, whole: Floats) -> Floats:
    return part / np.maximum(whole, 0.01)


def _of_the_rest(nodes: Nodes, a: Ints, b: Ints) -> dict[str, Any]:
    def set_ratio(name: str) -> Any:
        """Likeness where both have it, -1 where one has, -2 where none."""
        one = nodes.has[name][a] | nodes.has[name][b]
        (likeness,) = _alike_where_both(nodes, name, a, b, fuzz.token_set_ratio)
        return np.where(np.isnan(likeness), np.where(one, -1, -2), likeness)

    def agreement(name: str) -> Any:
        """3 both the same, 2 both nothing, 1 one nothing, 0 different."""
        same = nodes.code[name][a] == nodes.code[name][b]
        both = nodes.has[name][a] & nodes.has[name][b]
        return np.where(same, np.where(both, 3, 2), np.where(both, 0, 1))

    number = nodes.number
    density = np.log(np.maximum(number["author_records"], 1) / np.maximum(number["author_nodes"], 1))
    crowd = np.log(np.maximum(number["author_nodes"], 1))
    return {
        "numbers": agreement("numbers"),
        "volume": agreement("volume"),
        "kind": agreement("kind"),
        "series": set_ratio("series"),
        "given": given_relation(nodes.text["given"], a, b),
        "authors": nodes.has["surname"][a].astype(np.int8) + nodes.has["surname"][b],
        "surname": agreement("surname"),
        "others": set_ratio("others"),
        "guess": agreement("guess"),
        "languages": set_ratio("languages"),
        **language_features(nodes.shares, a, b),
        "records_min": np.log1p(np.minimum(number["records"][a], number["records"][b])),
        "records_max": np.log1p(np.maximum(number["records"][a], number["records"][b])),
        "author_nodes": np.maximum(crowd[a], crowd[b]),
        "author_density": np.maximum(density[a], density[b]),
    }


def language_features(shares: Floats, a: Ints, b: Ints) -> dict[str, Floats]:
    """How likely two titles are in one language, and how sure that is; from `languages.language_shares`."""
    ours, theirs = shares[a], shares[b]
    return {
        "one_language": (ours * theirs).sum(axis=1),
        "language_sure": np.minimum(ours.max(axis=1), theirs.max(axis=1)),
    }
