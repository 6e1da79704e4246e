"""Words of a catalogue, found again however they are typed: BM25 over words, which are found by their pairs of letters.

Texts are folded and cut by Arrow, outside Python's lock, so that a bundle can be loaded beside one that serves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import OSA

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

WORDS_MAX = 24  # of a query; the rest is passed over
WORD_LENGTH_MAX = 40
_LETTERS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ς": "σ",
}  # fmt: skip
_ELISION = r"(^|[ (])(l|d|j|c|n|m|t|s|qu)['’ʼ]"  # French and Italian: l'étranger is found by étranger
_APOSTROPHES, _NO_WORD = "['’ʼ`]", r"[^\p{L}\p{N}]+"
_TRANSLATED = str.maketrans(_LETTERS)
_INITIALS = (r"\b(\w) (\w) (\w)\b", r"\1\2\3"), (r"\b(\w) (\w)\b", r"\1\2")
_B, _K1 = 0.5, 1.2  # BM25: how much a long text counts less, how soon a word is enough
_BUCKETS = 1 << 16  # of pairs of letters
_LOOKED_AT = 200  # words that share most pairs of letters, whose distance is then taken
_VARIANTS = 12  # words that one typed word may mean
_COMMONER = 5  # a known word is taken for a slip of one that so many times more works have


def folded(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Lower case without accents; words of letters and digits, one blank between; "" for null."""
    plain = pc.utf8_lower(pc.utf8_normalize(pc.fill_null(texts, ""), form="NFKD"))
    plain = pc.replace_substring_regex(plain, r"\p{Mn}+", "")
    for written, replacement in _LETTERS.items():
        plain = pc.replace_substring(plain, written, replacement)
    plain = pc.replace_substring_regex(plain, _ELISION, r"\1\2 ")
    plain = pc.replace_substring_regex(plain, _APOSTROPHES, "")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, _NO_WORD, " "))


def fold(text: str) -> str:
    """One text as `folded` does it, without the milliseconds that Arrow takes to read its expressions."""
    letters = (c.lower() for c in unicodedata.normalize("NFKD", text))
    plain = "".join(c for c in letters if unicodedata.category(c[0]) != "Mn").translate(_TRANSLATED)
    plain = re.sub(_APOSTROPHES, "", re.sub(_ELISION, r"\1\2 ", plain))
    return "".join(c if unicodedata.category(c)[0] in "LN" else " " for c in plain).strip()


def words_of(text: str) -> list[str]:
    """The words of one text, folded, each once, at most `WORDS_MAX`."""
    words = fold(text).split()
    return [word[:WORD_LENGTH_MAX] for word in dict.fromkeys(words)][:WORDS_MAX]


def with_initials(texts: pa.Array) -> pa.Array:
    """Folded names, and behind them their initials in one word: `j r r tolkien` also has `jrr`."""
    joined = texts
    for pattern, replacement in _INITIALS:
        joined = pc.replace_substring_regex(joined, pattern, replacement)
    return pc.binary_join_element_wise(texts, joined, " ")


@dataclass(frozen=True)
class Field:
    """A column of texts.

    Attributes:
        texts: folded, one a work.
        weight: what a word in it counts.
    """

    texts: pa.Array
    weight: float


class TextIndex:
    """Inverted index over the fields of works; immutable, safe to share between threads."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._bits = {name: 1 << place for place, name in enumerate(fields)}
        split = {name: _split(field.texts) for name, field in fields.items()}
        encoded = pa.chunked_array([words for words, _ in split.values()]).combine_chunks().dictionary_encode()
        self.words: list[str] = encoded.dictionary.to_pylist()
        self._number = {word: number for number, word in enumerate(self.words)}
        self.n_works = len(next(iter(fields.values())).texts)
        codes, start = encoded.indices.to_numpy().astype(np.int64), 0
        parts = []
        for name, field in fields.items():
            works = split[name][1]
            parts.append((codes[start : start + works.size], works, np.float32(field.weight), self._bits[name]))
            start += works.size
        self._fill(parts)
        self._letters = _Letters(self.words)

    def _fill(self, parts: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], np.float32, int]]) -> None:
        """Postings by word, works rising: how much the word says of the work, and in which fields it is."""
        n = max(self.n_works, 1)
        keys, weights, bits = [], [], []
        for codes, works, weight, bit in parts:
            once = _once(np.sort(codes * n + works))[0]
            length = np.bincount(once % n, minlength=n)
            long = 1 - _B + _B * length / max(length[length > 0].mean(), 1.0) if once.size else np.ones(n)
            keys.append(once)
            weights.append((weight / long[once % n]).astype(np.float32))
            bits.append(np.full(once.size, bit, dtype=np.uint8))
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        key, first = _once(key[order])
        total = np.add.reduceat(np.concatenate(weights)[order], first) if key.size else np.zeros(0, np.float32)
        self._says: Floats = (total / (total + np.float32(_K1))).astype(np.float32)
        self._in = np.bitwise_or.reduceat(np.concatenate(bits)[order], first) if key.size else np.zeros(0, np.uint8)
        self._works: Ints = (key % n).astype(np.int32)
        self._start = np.searchsorted(key // n, np.arange(len(self.words) + 1)).astype(np.int64)
        self.count = np.diff(self._start)

    def scores(self, words: Sequence[str]) -> Floats:
        """BM25 of every work for a query's words, float32 [n_works]; a word counts by the best that it may mean."""
        total = np.zeros(self.n_works, dtype=np.float32)
        for word in words:
            meant = self.meant(word)
            weight = self._rarity(sum(int(self.count[number]) for number, _ in meant))
            best = np.zeros(self.n_works, dtype=np.float32)
            for number, closeness in meant:
                span = slice(self._start[number], self._start[number + 1])
                works = self._works[span]
                best[works] = np.maximum(best[works], np.float32(closeness * weight) * self._says[span])
            total += best
        return total

    def _rarity(self, count: int) -> float:
        """What a word weighs that so many works have; those that it may mean weigh as one, or the rarest would win."""
        return float(np.log1p((max(self.n_works - count, 0) + 0.5) / (count + 0.5)))

    def having(self, words: Sequence[str], field: str) -> npt.NDArray[np.bool_]:
        """Which works have every one of these words in a field, as they are written, bool [n_works]."""
        found = np.ones(self.n_works, dtype=np.bool_)
        for word in words:
            has = np.zeros(self.n_works, dtype=np.bool_)
            number = self._number.get(word)
            if number is not None:
                span = slice(self._start[number], self._start[number + 1])
                has[self._works[span][(self._in[span] & self._bits[field]) > 0]] = True
            found &= has
        return found

    def meant(self, word: str) -> list[tuple[int, float]]:
        """Numbers of the words that a typed word may mean, each with its closeness, 0 to 1; the closest first.

        A word of the catalogue means itself, and beside that only words that are much more common.
        """
        own = self._number.get(word)
        least = 0 if own is None else _COMMONER * int(self.count[own])
        near = [(n, c) for n, c in self._letters.near(word, self.count) if self.count[n] > least and n != own]
        return ([] if own is None else [(own, 1.0)]) + near[:_VARIANTS]

    @property
    def nbytes(self) -> int:
        """Of the arrays; the words themselves come on top."""
        arrays = (self._says, self._in, self._works, self._start, self.count)
        return sum(array.nbytes for array in arrays) + self._letters.nbytes


class _Letters:
    """Pairs of neighbouring letters -> words that have them, their ends counting as a letter."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._length = np.array([len(word) for word in words], dtype=np.int32)
        buckets = _pairs(words)
        owner = np.repeat(np.arange(len(words), dtype=np.int32), self._length + 1)
        order = np.argsort(buckets, kind="stable")
        self._owner: Ints = owner[order]
        self._start = np.searchsorted(buckets[order], np.arange(_BUCKETS + 1))

    def near(self, word: str, count: npt.NDArray[np.int64]) -> list[tuple[int, float]]:
        """Words at most one slip away, two for a word of six letters or more; the closest and commonest first."""
        slips = _slips(len(word))
        if not slips:
            return []
        spans = [self._owner[self._start[b] : self._start[b + 1]] for b in np.unique(_pairs([word]))]
        shared = np.bincount(np.concatenate(spans), minlength=len(self._words))
        could = np.flatnonzero((shared >= max(1, len(word) + 1 - 3 * slips)) & (abs(self._length - len(word)) <= slips))
        if could.size > _LOOKED_AT:
            merit = shared[could] - 0.5 * abs(self._length[could] - len(word)) + 0.1 * np.log1p(count[could])
            could = could[np.argpartition(-merit, _LOOKED_AT)[:_LOOKED_AT]]
        found = []
        for number in could.tolist():
            distance = OSA.distance(word, self._words[number], score_cutoff=slips)
            if distance <= slips:
                found.append((number, (1.0 - distance / max(len(word), 1)) ** 2))
        return sorted(found, key=lambda pair: (-pair[1], -int(count[pair[0]]), pair[0]))

    @property
    def nbytes(self) -> int:
        """Of the arrays."""
        return self._owner.nbytes + self._start.nbytes + self._length.nbytes


def _slips(length: int) -> int:
    """How many slips a word may have: letters wrong, missing, too many, or two in the wrong order."""
    return 0 if length < 3 else 1 if length < 6 else 2


def _pairs(words: Sequence[str]) -> Ints:
    """Buckets of the pairs of letters of all words, word by word, a word of n letters has n + 1."""
    if not words:
        return np.zeros(0, dtype=np.int32)
    text = np.frombuffer(("\n" + "\n".join(words) + "\n").encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    return ((text[:-1] * 31_337 + text[1:]) % _BUCKETS).astype(np.int32)


def _once(rising: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Each number once, and where it is first."""
    first = np.flatnonzero(np.concatenate([[True], rising[1:] != rising[:-1]])) if rising.size else np.zeros(0, np.intp)
    return rising[first], first


def _split(texts: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """All words of all texts, and of which text each is."""
    lists = pc.split_pattern(texts, " ")
    words = pc.utf8_slice_codeunits(pc.list_flatten(lists), 0, WORD_LENGTH_MAX)
    works = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    full = pc.not_equal(words, "")
    return words.filter(full), works[full.to_numpy(zero_copy_only=False)]
