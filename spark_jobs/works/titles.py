"""A title taken apart: main title, subtitle, series, volume, and words that speak of the edition only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spark_jobs.works.words import fold, number, words

LONGEST = 600  # letters of a title that are looked at


@dataclass(frozen=True, slots=True)
class Title:
    """What a title says, folded.

    Attributes:
        main: the main title, without its article.
        subtitle: what follows it; '' without one, or where it only names the form ("a novel").
        series: name of the series, '' when the title names none.
        volume: number of the part that this title is ("Henry IV, Part 1"), in digits; '' without one.
        series_number: place in the series that it names ("The Dragon Reborn (The Wheel of Time, #3)").
        kind: '' for the book itself, else `guide` (a book about it), `collection` (several in one), `adaptation`.
    """

    main: str
    subtitle: str
    series: str
    volume: str
    series_number: str
    kind: str


_MARK = (
    r"\b(?:volumes?|vols?|v(?=[. ]*\d)|books?|bks?|bk|bands?|bde?|tome|tom|tomo|t|teile?|tl|parts?|pt|partie|nummer|"
    r"number|num|nr|no|n°|episode|season|series|livre|libro|llibre|boek|deel|dl|bok|del|czesc|том|часть|книга|cilt|kitap|"
    r"buch|folge|heft|issue|phase|act|year|level|grade|stage)\b\.?"
)
_VALUE = r"(\d{1,4}(?:[.,]\d)?|[ivxl]{1,6}\b|" + "|".join(
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "first", "second", "third",
     "fourth", "fifth", "erster", "zweiter", "dritter", "premier", "deuxieme", "troisieme", "uno", "dos", "tres"]
) + r")(?!\w)"  # fmt: skip
_VOLUME = re.compile(rf"{_MARK}(?:\s+{_MARK})?\s*[:.]?\s*{_VALUE}|\b(?:t|v|vol)0*(\d{{1,3}})\b")
# "One Piece. 1, A l'aube d'une grande aventure", as libraries write it.
_NUMBERED = re.compile(
    r"^(?P<series>.*\w)\s*[.:;]\s+(?:t\.? ?)?(?P<number>\d{1,3}|(?!i,)[ivxl]{1,6}),\s+(?P<title>\D.*)$"
)
_ORDINAL = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th|er|eme|e|\.)? (?:book|band|teil|buch|tome|volume|part|livre|libro)\b")
_ALONE = re.compile(r"(\d{1,3})")
_HASH_LIKE = re.compile(r"^(.*?)[\s,;:]+(\d{1,3})$")
_GROUP = re.compile(r"([(\[{])([^()\[\]{}]*)[)\]}]?")
# "(k)ein mann", "bis(s)": no remark, but part of a word.
_INSIDE_WORD = re.compile(r"(?<=\w)\((\w{1,3})\)|\((\w{1,3})\)(?=\w)")
_EDITION = re.compile(
    r"\b(?:(?:\d+(?:st|nd|rd|th|e|eme)|revised|rev|new|updated|expanded|enlarged|abridged|unabridged|annotated|"
    r"illustrated|anniversary|deluxe|special|collectors?|limited|international|critical|reprint|reissue|second|third|"
    r"fourth|fifth|first|library|large print|large type|mass market|movie tie in|tie in|bilingual|student|norton "
    r"critical|book club|facsimile|complete and unabridged|signed|media tie in|film|kindle|ebook|e book|audio|neue|"
    r"uberarbeitete|erweiterte|nouvelle|edicion|gekurzte|ungekurzte)[ .,]*)+(?:edition|ed|edn|aufl|auflage|ausgabe|"
    r"edicion|edizione|editie|audiobook|audio|lesung)\b\.?|"
    r"\b(?:(?:abridged|unabridged|audio|kindle|large print|large|large type|mass market|library|tie in|film|gekurzte|"
    r"ungekurzte|illustrated|annotated|revised)[ .,]*)+(?:version|print|book|reader)$|"
    r"\b(?:large print|unabridged|abridged|paperback|hardcover|hardback|audio ?book|audiobook|audio cd|cassettes?|cds?|"
    r"mp3|taschenbuch|gebunden|poche|broche|horbuch|movie tie in|boxed|tie in|reissue|reprint|e ?books?)\b|"
    r"\b(?:penguin|oxford|signet|bantam|barnes and noble|everymans|vintage|dover|puffin|wordsworth|modern library|"
    r"harper perennial|collins|norton|nyrb|aladdin|scholastic|wordsworth|tor|virago|broadview|longman) "
    r"(?:[a-z]+ )?(?:classics?|library|editions?|thrift editions?|readers?|modern classics)\b|"
    # What a thing is made of, as libraries write it: "[Texte imprimé]".
    r"\b(?:texte imprime|text printed|electronic resource|ressource electronique|elektronische ressource|"
    r"(?:sound|video) ?recording|enregistrement sonore|tontrager|computer file|microform|braille)\b|"
    r"\b(?:classics|thrift editions|worlds classics|popular classics|modern classics|everymans library|"
    r"masterpiece series|audio edition|bestseller)$"
)
_FORM = re.compile(
    r"^(?:(?:a|an|the|ein|eine|un|une|una|il|le|la|and other|selected|his|her|new|classic|short|true|historical|"
    r"historischer|illustrated|romantic|original|complete) )*"
    r"(?:(?:novel\w*|romans?|romanzo|romance|thriller|krimi\w*|kriminalroman|memoirs?|novela)(?: .{0,14})?|"
    r"(?:mystery|mysteries|story|stories|tales?|erzahlung\w*|poems?|poetry|plays?|drama|comedy|tragedy|biography|"
    r"autobiography|recits?|essays?|novelle|nouvelles|theatre|racconti|cuentos|fiction|graphic novel|adventure|"
    r"fantasy|suspense|epic|fable))$"
)
_ARTICLE = re.compile(
    r"^(?:the|an?|der|die|das|den|dem|des|ein|eine|einen|le|la|les|l|un|une|el|los|las|lo|una|unos|il|i|gli|uno|het|"
    r"een|de|os?|um|uma|as|det|en|et|ett) (?=\S)"
)
_TRAILING_ARTICLE = re.compile(r"^(.{2,}), (the|an?|der|die|das|le|la|les|el|los|las|il|lo|l'|het|een)$", re.I)
_CUT = re.compile(
    r"\s*[:;]\s+|:(?=[^\d\s])|\s+[-–—/|]+\s+|\s*—\s*|\s+=\s+|(?<=[^\W\d_]{4})\. +(?=\S)|\s*/\s+|, or,? |\bor, "
)
_GUIDE = re.compile(
    r"\b(?:cliffs? ?notes|spark ?notes|study guide|shmoop|summary of|summary and analysis|a guide to|teachers? guide|"
    r"readers? guide|companion to|monarch notes|york notes|bookrags|maxnotes|novel units|litplan|teaching unit|"
    r"making of|workbook|notes on|critical essays|lecturehilfe|lekturehilfe|erlauterungen|interpretation|trivia|"
    r"coloring book|calendar|journal|sticker|barrons book notes|supersummary|instaread|conversations on)\b"
)
_COLLECTION = re.compile(
    r"\b(?:box(?:ed)? ?set|omnibus|trilogy|complete (?:works|novels|stories|poems|collection|series)|collected|"
    r"books? \d+ ?(?:-|to|and|through) ?\d+|volumes? \d+ ?(?:-|to|and) ?\d+|\d in 1|\d in one|two novels|three novels|"
    r"four novels|gesammelte|samtliche|oeuvres|obras completas|oeuvres completes|anthology|selected|works of|set|"
    r"collection|coffret|sammelband|greatest works|and (?:other|two|three|four|five|six|seven|selected) (?:\w+ )?"
    r"(?:stories|tales|plays|poems|essays|works|writings|novels|novellas|dialogues))\b|#\d+\s*[-–&]\s*\d+|\w ?/ \w"
)
# "(Earthsea Trilogy, Book 1)": it is one of them, not all.
_NAMES_SERIES = re.compile(
    r"(?<=\w) +\((?![^()]*\b(?:set|omnibus|complete)\b)[^()]*\b(?:trilogy|collection)\b[^()]*(?:\([^()]*\))?\)"
)
# "book one of the Riftwar saga"
_PLACE_IN_SERIES = re.compile(r"^(?:of|in|der|des|de la|de|du|von) +(?P<series>\w.{3,})$")
_SERIES_WORD = re.compile(r" (?:series|trilogy|saga|cycle|novels?|mystery|mysteries|chronicles|reihe|serie)$")
_ADAPTATION = re.compile(
    r"\b(?:graphic novel|manga|comic|adapted|adaptation|retold|screenplay|libretto|junior novel\w*|for kids|"
    r"childrens edition|young readers? edition|stage ?play|film script|easy readers?|classic starts)\b"
)


def parse_title(text: str | None) -> Title:
    """Take a repaired title apart; all fields are '' where there is none."""
    if not text:
        return Title("", "", "", "", "", "")
    text = text[:LONGEST]
    turned = _TRAILING_ARTICLE.match(text)
    folded = fold(f"{turned[2]} {turned[1]}" if turned else text)
    kind = _kind(_NAMES_SERIES.sub(" ", folded))
    folded = folded.replace("#", " nr ")
    bare, series, number_inside = _without_groups(folded)
    numbered = _numbered(bare, series, kind)
    if numbered:
        return numbered
    parts = _parts(bare)
    if not parts:
        return Title(words(folded) or folded.strip(), "", series, number_inside, "", kind)
    main, rest, found, volume = _take_volume(parts[0], parts[1:])
    if not main and rest:
        main, rest = rest[0], rest[1:]
    main = _strip_article(main or parts[0])
    first = series == main and number_inside == "1"  # "(Dune, #1)": the series is called after it
    if number_inside and (not series or series == main) and not first:  # "(Vol. 3)": of the title itself
        volume, number_inside = volume or number_inside, ""
    series_number = number_inside
    if found:
        series, series_number, volume = series or found, series_number or volume, ""
    return Title(main, " ".join(part for part in rest if part), series, volume, series_number, kind)


def names_volume(text: str) -> bool:
    """Whether a piece of a title only says which volume it is: "vol. 4", "Tome 2"."""
    return _VOLUME.fullmatch(words(fold(text))) is not None


def _numbered(bare: str, series: str, kind: str) -> Title | None:
    """A volume with a title of its own, behind the name of the whole and a number; None if it is none."""
    match = _NUMBERED.match(bare)
    if not match:
        return None
    whole = _series_name(_strip_article(words(match["series"])))
    main, *rest = _parts(match["title"]) or [""]
    if not whole or not main:
        return None
    return Title(_strip_article(main), " ".join(rest), series or whole, "", number(match["number"]) or "", kind)


def _parts(bare: str) -> list[str]:
    """Words of the title's parts, without editions; behind the first one without what only names the form."""
    plain = [part for part in (words(part) for part in _CUT.split(bare)) if part]
    parts = [part for at, part in enumerate(plain) if at == 0 or not _FORM.match(part)]
    return [left for left in (_without_edition(part, at) for at, part in enumerate(parts)) if left]


def _without_edition(part: str, at: int) -> str:
    left = " ".join(_EDITION.sub(" ", part).split())
    return left or (part if at == 0 else "")


def parse_series(text: str | None) -> tuple[str, str]:
    """Name and number of a series as its own column gives it ("Harry Potter, #1")."""
    if not text:
        return "", ""
    return _series(fold(text[:LONGEST]).replace("#", " nr "))


def series_as_written(series: str, *texts: str) -> str:
    """A folded name of a series as it stands last in the first text that holds it; in title case where none does."""
    for text in texts:
        tokens = text.split()
        folded = [words(fold(token)).split() for token in tokens]
        for start in reversed(range(len(tokens))):
            end = _end_of(series.split(), folded, start)
            if end:
                begin = start - 1 if start and _is_article(tokens[start - 1]) else start
                end += _names_the_kind(series, folded[end : end + 1])
                name = " ".join(tokens[begin:end]).strip(" ,;:.-–()[]{}")
                return f"{name})" if "(" in name and ")" not in name else name
    return series.title()


def _names_the_kind(series: str, following: list[list[str]]) -> bool:
    """Whether the next token says "Trilogy", "Saga", "Chronicles"; "Series" tells nothing."""
    said = " ".join(following[0]) if following else ""
    return said not in {"", "series"} and _series_name(f"{series} {said}") == series


def _is_article(token: str) -> bool:
    bare = token.lstrip("([{")
    return bare[:1].isupper() and _strip_article(f"{fold(bare)} x") == "x"


def _end_of(wanted: list[str], folded: list[list[str]], start: int) -> int:
    """Behind the last token of a run that says just the wanted words; 0 where none begins here."""
    said: list[str] = []
    for end in range(start, len(folded)):
        said += folded[end]
        if said == wanted:
            return end + 1
        if said != wanted[: len(said)]:
            break
    return 0


def _kind(folded: str) -> str:
    for name, pattern in (("guide", _GUIDE), ("collection", _COLLECTION), ("adaptation", _ADAPTATION)):
        if pattern.search(folded):
            return name
    return ""


def _without_groups(folded: str) -> tuple[str, str, str]:
    """The text outside brackets, and the series and volume that stand inside."""
    if not any(c in folded for c in "([{"):
        return folded, "", ""
    folded = _INSIDE_WORD.sub(lambda match: match[1] or match[2], folded)
    series = volume = ""
    for opening, group in _GROUP.findall(folded):
        if _EDITION.search(words(group)):
            continue
        name, at = _series(group)
        if at or (name and not series and opening != "["):  # "[commentaire]": libraries add so what is not printed
            series, volume = name or series, at or volume
    bare = _GROUP.sub(" ", folded)
    return (bare if words(bare) else folded), series, volume


def _series(folded: str) -> tuple[str, str]:
    match = _VOLUME.search(folded)
    if match:
        name = words(folded[: match.start()] or folded[match.end() :])
        said = match[1] or match[2]
        return _series_name(name), number(said.replace(",", ".")) or said
    match = _HASH_LIKE.match(folded)
    if match:
        return _series_name(words(match[1])), number(match[2]) or ""
    return _series_name(words(folded)), ""


def _series_name(name: str) -> str:
    name = _strip_article(name)
    name = _SERIES_WORD.sub("", name)
    return "" if name.isdigit() else name


def _take_volume(main: str, rest: list[str]) -> tuple[str, list[str], str, str]:
    """Take the first mark of a volume out of the parts: `main`, the others, a series ("wheel of time 3: …"), volume."""
    parts = [main, *rest]
    for at, part in enumerate(parts):
        match = _VOLUME.search(part) or _ORDINAL.search(part) or (_ALONE.fullmatch(part) if at else None)
        if not match:
            continue
        before, after = part[: match.start()].strip(), part[match.end() :].strip()
        said = match[1] or match[2]
        value = number(said) or said
        series = _series_of_place(before, after) if at else ""
        if series:
            return main, parts[1:at] + parts[at + 1 :], series, value
        if at == 0 and rest and before and not after:
            return rest[0], rest[1:], _series_name(before), value
        parts[at] = re.sub(r" (?:of|der|des|de|von|in)$|^(?:of|in) ", "", f"{before} {after}".strip())
        return parts[0], parts[1:], "", value
    return main, rest, "", ""


def _series_of_place(before: str, after: str) -> str:
    """The series that a subtitle names beside a number: "book one of the Riftwar saga"; "Pern series, book 2"."""
    place = _PLACE_IN_SERIES.match(after) if not before else None
    if place:
        return _series_name(_strip_article(place["series"]))
    return _series_name(before) if not after and _SERIES_WORD.search(before) else ""


def _strip_article(text: str) -> str:
    return _ARTICLE.sub("", text) or text
