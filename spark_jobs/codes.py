"""Codes for languages that sources write in words (ISO 639-1)."""

# ruff: noqa: E501 - tables read better in long lines
from __future__ import annotations

import re

LANGUAGES: dict[str, str] = {
    name: code
    for code, names in {
        "en": "eng english anglais englisch inglés", "de": "ger deu german deutsch allemand", "it": "ita italian italiano",
        "fr": "fre fra french français francais französisch", "es": "spa spanish español espanol castellano",
        "pt": "por portuguese português", "nl": "dut nld dutch nederlands", "sv": "swe swedish", "da": "dan danish",
        "no": "nor nob nno norwegian", "fi": "fin finnish", "pl": "pol polish", "cs": "cze ces czech", "ru": "rus russian",
        "uk": "ukr ukrainian", "el": "gre ell greek", "la": "lat latin", "ar": "ara arabic", "fa": "per fas persian",
        "he": "heb hebrew", "tr": "tur turkish", "hu": "hun hungarian", "ro": "rum ron romanian", "bg": "bul bulgarian",
        "ja": "jpn japanese", "zh": "chi zho chinese", "ko": "kor korean", "hi": "hin hindi", "id": "ind indonesian",
        "ms": "may msa malay", "ca": "cat catalan", "vi": "vie vietnamese", "sr": "srp serbian", "hr": "hrv croatian",
        "sl": "slv slovenian", "sk": "slo slk slovak", "lt": "lit lithuanian", "lv": "lav latvian", "et": "est estonian",
    }.items()
    for name in names.split()
}  # fmt: skip


def language_code(raw: str | None) -> str | None:
    """ISO 639-1 of a language's code or name (`eng`, `en-US`, `German`); unknown ones are None."""
    word = (raw or "").strip().casefold()
    head = re.split(r"[-_ ;,]", word)[0]
    if len(head) == 2 and head.isalpha():
        return head
    return LANGUAGES.get(word) or LANGUAGES.get(head)
