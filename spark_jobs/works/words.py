"""Folding of texts for comparison: small letters, no accents, words with single blanks."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SPECIAL = {"ß": "ss", "æ": "ae", "œ": "oe", "þ": "th", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "&": " and "}
_SPECIAL |= dict.fromkeys("'’`´ʼʹ′", "")
_TABLE = str.maketrans(_SPECIAL)
_SIGNED = re.compile(r"(?<![^\W_])([cfj])(\+\+|#)(?!\w)")  # languages: C++, C#, F#
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")  # "20,000 leagues"
# Vowel signs of Indian and South-East Asian scripts are part of a word, though no letters.
_SIGNS = "".join(chr(c) for c in range(0x0900, 0x1D00) if unicodedata.category(chr(c)) in {"Mn", "Mc"})
_NO_WORD = re.compile(rf"[^\w{_SIGNS}]+|_+")


def fold(text: str) -> str:
    """Small letters without accents or apostrophes; other scripts keep their letters."""
    text = _THOUSANDS.sub("", text.lower().translate(_TABLE))
    if "+" in text or "#" in text:
        text = _SIGNED.sub(lambda said: said[1] + ("plusplus" if said[2] == "++" else "sharp"), text)
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words(folded: str) -> str:
    """Letters and digits of a folded text, single blanks between the words."""
    return _NO_WORD.sub(" ", folded).strip()


_ROMAN = re.compile(r"(?=[ivxlc])(?:c{0,3})(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})")
_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_NUMBER_WORDS = {
    word: str(number)
    for names in (
        "one two three four five six seven eight nine ten eleven twelve",
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
        "eins zwei drei vier funf sechs sieben acht neun zehn elf zwolf",
        "erster zweiter dritter vierter funfter sechster siebter achter neunter zehnter elfter zwolfter",
        "un deux trois quatre cinq six sept huit neuf dix onze douze",
        "premier deuxieme troisieme quatrieme cinquieme sixieme septieme huitieme neuvieme dixieme onzieme douzieme",
        "uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
        "primo secondo terzo quarto quinto sesto settimo ottavo nono decimo",
    )
    for number, word in enumerate(names.split(), start=1)
}


@lru_cache(maxsize=4096)
def number(word: str) -> str | None:
    """The number that a folded word says, in digits: `7`, `vii`, `seven`, `siebter`; None when it says none."""
    if word.isdigit():
        return word.lstrip("0") or "0"
    if word in _NUMBER_WORDS:
        return _NUMBER_WORDS[word]
    if _ROMAN.fullmatch(word):
        values = [_VALUES[c] for c in word]
        return str(sum(-v if any(w > v for w in values[i + 1 : i + 2]) else v for i, v in enumerate(values)))
    return None
