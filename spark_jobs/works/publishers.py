"""Publishers as catalogues write them, to the name of the house."""

from __future__ import annotations

import re

from spark_jobs.works.words import fold, words

_BRACKETS = re.compile(r"[(\[][^)\]]*[)\]]?")
_PARTS = re.compile(r"\s*[:;]\s*|,\s*")
_PLACES = frozenset({
    "london", "new york", "new york city", "ny", "n y", "nyc", "boston", "chicago", "philadelphia", "san francisco",
    "los angeles", "toronto", "sydney", "melbourne", "oxford", "cambridge", "edinburgh", "dublin", "harmondsworth",
    "paris", "lyon", "arles", "bruxelles", "brussels", "geneve", "munchen", "munich", "berlin", "hamburg", "frankfurt",
    "frankfurt am main", "frankfurt a m", "frankfurt m", "koln", "stuttgart", "leipzig", "wien", "vienna", "zurich",
    "reinbek", "reinbek bei hamburg", "bergisch gladbach", "weinheim", "ravensburg", "madrid", "barcelona", "mexico",
    "buenos aires", "milano", "milan", "roma", "torino", "amsterdam", "antwerpen", "den haag", "utrecht", "stockholm",
    "kobenhavn", "oslo", "lisboa", "sao paulo", "rio de janeiro", "warszawa", "moskva", "new delhi", "delhi", "mumbai",
    "tokyo", "uk", "us", "usa", "england", "great britain", "france", "deutschland", "germany", "canada", "australia",
})  # fmt: skip
_FORMS = frozenset({
    "ltd", "limited", "inc", "incorporated", "llc", "plc", "lp", "corp", "corporation", "co", "company", "gmbh", "mbh",
    "ag", "kg", "ohg", "cie", "sa", "s a", "sarl", "srl", "s r l", "spa", "s p a", "sl", "s l", "bv", "b v", "nv", "ab",
    "as", "a s", "and", "und", "et", "y", "e", "group", "gruppe", "groupe", "grupo", "gruppo", "international",
    "publisher", "publishers", "publishing", "publication", "publications", "pub", "publ", "pubns", "verlag", "verlage",
    "verlagsgesellschaft", "buchverlag", "taschenbuch", "taschenbuchverlag", "taschenbucher", "book", "books", "press",
    "edition", "editions", "editeur", "editeurs", "editrice", "editore", "editores", "editorial", "ediciones",
    "editora", "libri", "libros", "livres", "uitgeverij", "uitgevers", "forlag", "forlaget", "classic", "classics",
    "modern classics", "paperback", "paperbacks", "hardcover", "trade", "mass market", "audio", "imprint", "division",
})  # fmt: skip
_BEGINNINGS = frozenset({
    "the", "la", "le", "les", "verlag", "ed", "edition", "editions", "editorial", "ediciones", "edizioni", "editora",
    "uitgeverij",
})  # fmt: skip
_MOST_WORDS = 3  # words of an entry above
LONGEST = 200  # letters of a name that are looked at


def publisher(text: str | None) -> str:
    """The house that a repaired name of a publisher means, folded: "Penguin Books Ltd., London" is `penguin`.

    Places, legal forms and words for a house or a line of it go; '' where there is nothing. Who owns whom is not looked
    at: that changes with the years.
    """
    if not text:
        return ""
    text = text[:LONGEST]
    parts = [words(fold(part)) for part in _PARTS.split(_BRACKETS.sub(" ", text))]
    name = " ".join(part for part in parts if part and not part.isdigit() and part not in _PLACES)
    tokens = (name or words(fold(text))).split()
    while len(tokens) > 1 and tokens[0] in _BEGINNINGS:
        del tokens[0]
    while more := _idle(tokens):
        del tokens[-more:]
    return " ".join(tokens)


def _idle(tokens: list[str]) -> int:
    """How many words at the end tell nothing of the house, something being left without them."""
    for n in range(min(_MOST_WORDS, len(tokens) - 1), 0, -1):
        end = " ".join(tokens[-n:])
        if end in _FORMS or end in _PLACES:
            return n
    return 0
