"""In which language a title is: a guess by its little words and its script, and what its letters say.

The guess is one language or none. The letters give each language a probability, by a naive Bayes of words and of two
to four letters in a row, whose table the training of the scorer makes (Cavnar and Trenkle, 1994, for the letters).
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float32]

SLOT_BITS = 14
_LONGEST = 4  # letters in a row
_LEAST_TITLES = 100  # of a language that is learned
_LEAST_HOLDERS = 15  # titles with some letters before they tell anything
_COMMON = 2000.0  # letters of all languages that are added to those of each one
_HEAT = 5.0  # letters in a row overlap, so each tells less than it seems

_LITTLE_WORDS = {
    "en": "the and of a to in for with from on his her my an at by how what you your is are it who not this that when",
    "de": "der die das und ein eine des dem den von mit im zum zur auf für ist nicht wie aus vom am bei über sich ich",
    "fr": "le la les et des du un une dans pour avec sur au aux ou est qui en l d son sa ses mon ma par il elle nous",
    "es": "el los las y del una con para por en su un al lo mi que como sin sobre es se la de",
    "it": "il lo gli e di del della dei delle nel nella con per un una che non dal alla i le la degli uno mio sul",
    "pt": "o os as e do da dos das em um uma no na com para por ao que não seu sua se",
    "nl": "de het een en van voor met op te in der den dat zijn niet ik je naar uit",
    "sv": "och en ett det som på av för med till den i att är om han hon",
    "da": "og en et det som på af for med til den i at er om han hun de",
    "pl": "i w z na do nie się o to jest za od po jak",
    "tr": "ve bir bu ile için",
    "id": "dan yang di ke dari untuk dengan",
}
_OF_WORD: dict[str, tuple[str, ...]] = {}
for _language, _words in _LITTLE_WORDS.items():
    for _word in _words.split():
        _OF_WORD[_word] = (*_OF_WORD.get(_word, ()), _language)
_SCRIPTS = (
    ("ru", re.compile("[а-яё]", re.I)), ("el", re.compile("[α-ωά-ώ]", re.I)), ("he", re.compile("[א-ת]")),
    ("ja", re.compile("[぀-ヿ]")), ("zh", re.compile("[一-鿿]")), ("ko", re.compile("[가-힣]")),
    ("ar", re.compile("[؀-ۿ]")), ("th", re.compile("[฀-๿]")),
)  # fmt: skip
_ACCENTS = (
    ("de", "äöüß"),
    ("es", "ñ¿¡"),
    ("pt", "ãõ"),
    ("fr", "çèêëîïôûœ"),
    ("da", "øæå"),
    ("pl", "łąęśźż"),
    ("tr", "ğış"),
)
_WORD = re.compile(r"[^\W\d_]+")


def guess_language(title: str | None) -> str:
    """ISO 639-1 of the likeliest language; '' where nothing tells."""
    if not title:
        return ""
    if not title.isascii():
        for language, letters in _SCRIPTS:
            if letters.search(title):
                return language
    lower = title.lower()
    score: dict[str, float] = {}
    for word in _WORD.findall(lower):
        languages = _OF_WORD.get(word, ())
        for language in languages:
            score[language] = score.get(language, 0.0) + 1.0 / len(languages)
    if not lower.isascii():
        for language, letters_of in _ACCENTS:
            if any(c in lower for c in letters_of):
                score[language] = score.get(language, 0.0) + 0.7
    if not score:
        return ""
    best = max(score.values())
    return min(language for language, value in score.items() if value == best) if best >= 0.4 else ""


@lru_cache(maxsize=200_000)
def _slots(word: str) -> tuple[int, ...]:
    """The word and all its letters in a row, hashed."""
    marked = f"<{word}>"
    runs = [marked[at : at + n] for n in range(2, _LONGEST + 1) for at in range(len(marked) - n + 1)]
    return tuple(zlib.crc32(run.encode()) & ((1 << SLOT_BITS) - 1) for run in (f"{marked}#", *runs))


def _letters(titles: Sequence[str]) -> sparse.csr_matrix:
    """How often each title holds what: titles × slots."""
    pointers, columns = [0], list[int]()
    for title in titles:
        for word in title.split():
            columns.extend(_slots(word))
        pointers.append(len(columns))
    ones = np.ones(len(columns), np.float32)
    shape = (len(titles), 1 << SLOT_BITS)
    return sparse.csr_matrix((ones, np.array(columns, np.int32), np.array(pointers, np.int64)), shape=shape)


def language_table(titles: Sequence[str], languages: Sequence[str]) -> Floats:
    """What letters tell of languages, and in the last row how frequent these are, as logarithms: slots + 1 × languages.

    Args:
        titles: folded, each once a language.
        languages: of each title, '' where it is not known.
    """
    counted = Counter(languages)
    known = sorted(name for name, count in counted.items() if name and count >= _LEAST_TITLES)
    if not known:
        return np.zeros(((1 << SLOT_BITS) + 1, 1), np.float32)  # all titles are in one
    letters, of = _letters(titles), np.array(languages, object)
    letters.sum_duplicates()
    counts = np.column_stack([np.asarray(letters[np.flatnonzero(of == name)].sum(axis=0)).ravel() for name in known])
    total = counts.sum(axis=0)
    common = (counts / total).mean(axis=1, keepdims=True) + 1e-12
    told = np.log((counts + _COMMON * common) / (total + _COMMON) / common) / _HEAT
    told[letters.getnnz(axis=0) < _LEAST_HOLDERS] = 0
    # Rare languages are learned from few titles, yet other catalogues may be full of them.
    prior = np.sqrt([counted[name] for name in known])
    table: Floats = np.vstack([told, np.log(prior / prior.sum())]).astype(np.float32)
    return table


def language_shares(titles: Sequence[str], table: Floats) -> Floats:
    """How likely each title is in each language of the table: titles × languages."""
    score = np.asarray(_letters(titles) @ table[:-1]) + table[-1]
    likely = np.exp(score - score.max(axis=1, keepdims=True))
    shares: Floats = (likely / likely.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
