"""A guess at the language of a title by its little words and its script."""

from __future__ import annotations

import re

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
