"""Authors' names taken apart into persons: surname, given names, role."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from spark_jobs.text_repair import LIVED, SAID
from spark_jobs.works.aliases import TRANSLITERATION, Alias
from spark_jobs.works.titles import names_volume
from spark_jobs.works.words import fold, words

LONGEST = 400  # letters of a statement that are looked at
MOST = 8  # persons of a record

WRITER, EDITOR, TRANSLATOR, ILLUSTRATOR, NARRATOR, CONTRIBUTOR = (
    "writer", "editor", "translator", "illustrator", "narrator", "contributor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """One person.

    Attributes:
        surname: the last name, folded, with its particles, without blanks: `leguin`, `vandenberg`, `marquez`.
        given: given names or initials, folded, blanks between: `ursula k`, `gabriel garcia`; '' where there are none.
        role: one of the roles above.
        written: the name as it stands there, given names first.
        name: the same, or whom it is an alias of.
    """

    surname: str
    given: str
    role: str
    written: str
    name: str


_ROLE_WORDS = (
    (TRANSLATOR, r"translat\w*|trad\b\.?|traduit|"
                 r"traduct\w*|traduccion|traduzione|ubersetz\w*|ubers\.?|aus dem|tr\.(?=\s)"),
    (ILLUSTRATOR, r"illustrat\w*|ill\.|illus\.?|illustr\.?|drawings|pictures|dessins|ilustra\w*|photograph\w*|artist"),
    (EDITOR, r"edit(?:ed|or|ors)\b|eds?\.|hrsg\.?|"
             r"herausge\w*|sous la dir\w*|dir\.|directeur|editeur|redakt\w*|compil\w*|comp\.|selected"),
    (NARRATOR, r"narrat\w*|read by|reader\b|gelesen|sprecher\b|lu par|performed"),
    (CONTRIBUTOR, r"introduct\w*|introd?\.|foreword|preface\w*|pref\.|afterword|vorwort|nachwort|"
                  r"contribut\w*|collab\w*|"
                  r"avec\b|with\b|annot\w*|notes\b|postface|mitarb\w*|mit\b|prolog\w*|adapt\w*|inspired|based on"),
)  # fmt: skip
_ROLES = tuple((role, re.compile(rf"\b(?:{pattern})", re.I)) for role, pattern in _ROLE_WORDS)
# "translated from the French by": all that stands before the name.
_LEAD = re.compile(
    r"^.*\b(?:by|von|par|por|sous la dir\S*(?: de)?|from the \w+|aus dem \w+(?: von)?|avec|with|mit|eds?\.|hrsg\.?|"
    r"dir\.(?: de)?|trad\.(?: de)?|ill\.(?: de)?|tr\.|illus\.)\s+(?=\S)", re.I,
)  # fmt: skip
_BY = re.compile(r"^(?:by|von|par|por|written by|text by|story by|author)[:\s]+", re.I)
_AUTHOR_LAST = re.compile(r"\s*,\s*(?:author|auteur|autor|writer|verfasser|aut)\.?$", re.I)
_BEFORE_PHRASE = re.compile(
    r",\s*(?=(?:(?:illustrat|translat|edited|narrat|introd|foreword)\w*|read by|with)\s+[^\s;])", re.I
)
_BEHIND_BRACKET = re.compile(r"([)\]])\s*,")
_BRACKETS = re.compile(r"[(\[]([^)\]]*)[)\]]?")
_DATES = re.compile(rf"{LIVED}\.*(?=[,;\s/]|$)")
_DATED = re.compile(
    rf"[^,;/]+,[^,;/]+(?:,\s*|\s+){SAID}\s*(?:\d{{2,3}}[\d.?]\s*\??\s*-|\d{{3,4}}$|\d\d?th cent)"
)  # "Zweig, Stefan, 1881-1942"
_ET_AL = re.compile(r"\b(?:et al|u\.? ?a|and others|y otros|\.\.\.|…)\.?$", re.I)
_AND = re.compile(r"\s+(?:and|und|et|y|e|&|\+)\s+|\s*&\s*", re.I)
_SUFFIX = re.compile(
    r"^(?:jr|sr|pere|fils|phd|md|dr|esq|ii|iii|iv|prof|mr|mrs|ms|sir|lady|dame|lord|saint|st|rev|ed|eds|obe)\.?$"
)
_PARTICLES = frozenset({
    "le", "la", "de", "du", "des", "del", "della", "di", "da", "dos", "das", "do", "van", "von", "der", "den", "ten",
    "ter", "mc", "mac", "st", "saint", "el", "al", "zu", "zum", "zur", "vom", "af", "av", "bin", "ibn", "ben", "dela",
})  # fmt: skip
_NAME_WORDS = 4
_ARTICLE = re.compile(r"(?:the|an?|le|la|les|une?|der|die|das|eine?|el|los|las|il|gli)$", re.I)
# How the statement of responsibility begins that stands behind a title, folded.
_ROLE_FIRST = re.compile(
    r"\[?(?:by|par|von|por|door|text\w* (?:by|von|de)|[a-z.]+ by|sous la dir\S*|traduit|edite|illustre|trad\.|dir\.|"
    r"ed\.|hrsg\.|herausgegeben|ubersetzt|aus dem)\s"
)  # fmt: skip
_LAST_PIECE = re.compile(r"^(?P<rest>.*\S)(?:\s*;\s*|[.,]\s+)(?P<last>\w+\.?\s*\w+\.?)$")
_BY_NAME = re.compile(r"(?<![\s,])[\s,]+(?:by|par|von)\s+(?P<name>[^,;:()\[/]{3,60}?)(?=\s*(?:[,;:(\[/]|\s-|$))", re.I)
NOBODY = frozenset({
    "anonymous", "anonyme", "anonym", "anonimo", "anonimus", "unknown", "various", "various authors", "not applicable",
    "no author", "author unknown", "collectif", "collective", "diverse", "diverse autoren", "autores varios",
    "varios autores", "varios", "na", "n a", "none", "null", "nan", "unknown author", "unbekannt", "inconnu",
    "auteurs divers", "multiple authors", "multiple", "aa vv", "aavv", "vv aa", "sin autor", "ohne autor", "editors",
    "staff", "author", "authors",
})  # fmt: skip


class Aliases:
    """Who is meant by a name.

    An alias holds for its own name alone. But a transliteration of one word ("Tolstoi") is a way to write a surname:
    with given names of the same first letter (Lew, Léon) or none it is that author, with others (Alexei) it is another
    of the family, whose surname alone is written anew.

    Args:
        aliases: `aliases.load_aliases`.
    """

    def __init__(self, aliases: Iterable[Alias] = ()) -> None:
        self._names: dict[tuple[str, str], Person] = {}
        self._surnames: dict[str, Person] = {}
        for one in aliases:
            alias, meant = _person(one.alias, WRITER), _person(one.name, WRITER)
            if alias is None or meant is None:
                continue
            self._names[alias.surname, alias.given] = meant
            if one.kind == TRANSLITERATION and not alias.given and meant.given:
                self._surnames[alias.surname] = meant

    def meant(self, person: Person) -> Person:
        """The person, under the name that an alias stands for."""
        surname, given = person.surname, person.given
        meant = self._names.get((surname, given))
        if meant is None:
            meant = self._surnames.get(surname)
            if meant is None:
                return person
            if given[0] != meant.given[0]:
                return Person(meant.surname, given, person.role, person.written, person.name)
        return Person(meant.surname, meant.given, person.role, person.written, meant.name)


_NO_ALIASES = Aliases()


def parse_persons(text: str | None, inverted: bool, aliases: Aliases = _NO_ALIASES) -> tuple[Person, ...]:
    """The persons that a repaired statement names, writers first as they stand; empty when it names nobody.

    Args:
        text: "J. K. Rowling; illustrated by Mary GrandPré", "Rowling, J. K.", "Ursula K. Le Guin, Betty Radice".
        inverted: whether, in this catalogue, what stands before a first comma is a surname (`names_are_inverted`).
        aliases: names that are another's.
    """
    if not text or words(fold(text)) in NOBODY:
        return ()
    found: list[Person] = []
    text = text[:LONGEST]
    inverted = inverted or _DATED.match(text) is not None
    for at, piece in enumerate(_pieces(_DATES.sub(" ", text))):
        role, names = _role(piece, at)
        for one in _names(names, (inverted and at == 0) or _looks_inverted(names)):
            person = _person(one, role)
            if person is None:
                continue
            person = aliases.meant(person)
            if all(p.surname != person.surname or p.given != person.given for p in found):
                found.append(person)
    found.sort(key=lambda person: person.role != WRITER)
    return tuple(found[:MOST])


def without_statement(title: str, persons: Sequence[Person]) -> tuple[str, str]:
    """A title without its statement of responsibility, and the statement; '' where it has none.

    "Emma / Jane Austen ; edited by Ronald Blythe" has one where a known person or a role stands behind the slash, or,
    with nobody known, what looks like a name: "The Time Machine / The Invisible Man" by H. G. Wells has none. Nor has
    "Death by Water", but "Emma by Jane Austen".

    Args:
        title: repaired, as it stands.
        persons: of the record's author.
    """
    known = {name for person in persons for name in (person.surname, words(fold(person.written)).rpartition(" ")[2])}
    head, slash, statement = title.rpartition(" / ")
    if not head.strip() or not slash or not _is_statement(statement, known):
        head, statement = title, ""
    by = _BY_NAME.search(head)
    if by and _names_known(by["name"], known):
        head, statement = head[: by.start()] + head[by.end() :], statement or by["name"]
    last = _LAST_PIECE.match(statement)
    if last and names_volume(last["last"]):  # "Mémoires / Saint-Simon ; tome 2"
        return f"{head.strip()} ; {last['last']}", last["rest"]
    return head.strip(), statement


def _is_statement(text: str, known: Collection[str]) -> bool:
    if any(_ROLE_FIRST.match(fold(piece)) for piece in text.split(" ; ")):
        return True
    return _names_known(text, known) if known else _looks_like_names(text)


def _names_known(text: str, known: Collection[str]) -> bool:
    said = words(fold(text))
    together = said.replace(" ", "")
    return any(name in said.split() or (len(name) > 3 and name in together) for name in known)


def _looks_like_names(text: str) -> bool:
    first = re.split(r"[,;&]| and | et | und ", text)[0].split()
    told = [word for word in first if words(fold(word)) not in _PARTICLES]
    return len(first) >= 2 and len(told) <= _NAME_WORDS and not _ARTICLE.match(first[0]) and all(
        word.lstrip("\"'“«")[:1].isupper() for word in told
    )  # fmt: skip


def names_are_inverted(text: str | None) -> int:
    """A vote: 1 where a first comma follows a surname alone, -1 where it follows a whole name, 0 without a comma."""
    head, comma, rest = (text or "").partition(",")
    if not comma or not rest.strip() or any(c in head for c in "/;("):
        return 0
    return 1 if len(_own_words(head)) == 1 else -1


def _own_words(name: str) -> list[str]:
    return [word for word in name.split() if words(fold(word)) not in {"", *_PARTICLES}]


def _pieces(text: str) -> list[str]:
    """Statements of one role each: cut at semicolons, slashes, behind a role in brackets and before a phrase of one."""
    cut = _BEFORE_PHRASE.sub(";", _BEHIND_BRACKET.sub(r"\1;", text))
    pieces = [piece.strip(" ,.-") for piece in re.split(r"\s*[;/|\n]\s*", cut)]
    return [part for piece in pieces if piece for part in _of_bracket(piece)]


def _of_bracket(piece: str) -> list[str]:
    """A role in brackets is that of the name before it: "Haruki Murakami, Jay Rubin (Translator)"."""
    names, comma, last = piece.rpartition(",")
    inside = _BRACKETS.search(last)
    if not comma or not inside or len(_own_words(names.rpartition(",")[2])) < 2 or not last[: inside.start()].strip():
        return [piece]
    return [names.strip(), last.strip()]


def _role(piece: str, at: int) -> tuple[str, str]:
    """The role of a statement and the names that it holds."""
    inside = " ".join(_BRACKETS.findall(piece))
    outside = _AUTHOR_LAST.sub("", _BRACKETS.sub(" ", piece)).strip()
    for role, pattern in _ROLES:
        if inside and pattern.search(fold(inside)):
            return role, outside
        match, lead = pattern.search(fold(outside)), _LEAD.match(outside)
        begins = match is not None and match.start() == 0
        # What begins the whole statement may be a name: "Sprecher, Daniel".
        if match and ((begins and lead) if at == 0 else (begins or lead)):
            return role, outside[lead.end() :] if lead else outside[match.end() :]
        if match and match.end() >= len(outside) - 1:  # "Smith, John, editor"
            return role, outside[: match.start()].strip(" ,")
    return WRITER, _BY.sub("", outside)


def _looks_inverted(names: str) -> bool:
    """ "Le Guin, Ursula K.": one comma, a surname before it, behind it one given name or several, an initial last.

    "Homer, E. V. Rieu" are two persons.
    """
    head, comma, rest = names.partition(",")
    if not comma or "," in rest or len(_own_words(head)) != 1:
        return False
    given = words(fold(rest)).split()
    return bool(given) and (len(given) == 1 or len(given[-1]) == 1)


def _names(text: str, inverted: bool) -> list[str]:
    """Single names in "given surname" order."""
    text = _ET_AL.sub("", text).strip(" ,")
    names: list[str] = []
    for group in _AND.split(text):
        parts = [part.strip() for part in group.split(",") if part.strip()]
        parts = [part for part in parts if not _SUFFIX.match(part.lower())]
        if inverted and len(parts) >= 2 and not _are_two(parts[0], parts[1]):
            # "Last, First, Other Last, Other First" is rare; what follows the first pair are whole names.
            stop = "." if _LAST_INITIAL.search(parts[1]) else ""  # it was cut off with the piece's end
            names.append(f"{parts[1]}{stop} \u0001{parts[0]}")
            names += [part for part in parts[2:] if not part[0].islower()]  # "Colombini, Jean-Luc, juge cantonal"
        else:
            names += parts
    return names


def _are_two(first: str, second: str) -> bool:
    """Whether both are whole names, as in "Gustave Le Bon, Bernard Miall"; "Vargas Llosa, Mario" is one person."""
    given = words(fold(second)).split()
    own = len(_own_words(first))
    return own > 2 or (own == 2 and len(given) > 1 and len(given[-1]) > 1)


def _person(name: str, role: str) -> Person | None:
    name = _turned(" ".join(name.replace("\u0001", " ").split()))
    tokens = _spaced(name).split()
    while len(tokens) > 1 and _SUFFIX.match(tokens[-1]):
        tokens.pop()
    while len(tokens) > 1 and _SUFFIX.match(tokens[0]):
        tokens.pop(0)
    if not tokens or " ".join(tokens) in NOBODY:
        return None
    if len(tokens) > 2 and len(tokens[0]) > 1 and all(len(token) == 1 for token in tokens[1:]):  # "Rowling J.K."
        tokens = [*tokens[1:], tokens[0]]
    at = len(tokens) - 1
    while at > 1 and tokens[at - 1] in _PARTICLES:
        at -= 1
    if at == 1 and tokens[0] in _PARTICLES and tokens[0] not in {"al", "ben"}:
        at = 0
    return Person("".join(tokens[at:]), " ".join(tokens[:at]), role, name, name)


def _turned(name: str) -> str:
    """ "HUGO Victor", where the surname in capitals stands first, as "Victor HUGO"."""
    first, _, rest = name.partition(" ")
    shouted = len(first) > 3 and first.isupper() and "." not in first
    return f"{rest} {first}" if shouted and rest and rest[0].isupper() and not rest.isupper() else name


_LAST_INITIAL = re.compile(r"\.\s*\w$")
_INITIALS = re.compile(r"(?<![^\W\d_])(?!I{2,3}$|I?VI{0,3}$|I?XI{0,2}$)([A-Z]{2,3})(?![^\W\d_]|\.)")
_DOTTED = re.compile(r"(?<=[^\W\d_])\.(?=[^\W\d_])")


def _spaced(name: str) -> str:
    """Folded words of a name, initials apart: "J.K. Rowling" and "JK Rowling" both `j k rowling`."""
    if not name.isupper():
        name = _INITIALS.sub(lambda match: " ".join(match[1]), name)
    return words(fold(_DOTTED.sub(". ", name)))


def given_agree(a: str, b: str) -> int:
    """How given names stand to each other: 3 equal, 2 initials fit, 1 one has none, 0 near, -1 other initials."""
    if a == b:
        return 3 if a else 1
    if not a or not b:
        return 1
    first, second = a.split(), b.split()
    if any(x[0] != y[0] for x, y in zip(first, second, strict=False)):
        return -1
    short, long = (first, second) if len(first[0]) <= len(second[0]) else (second, first)
    return 2 if long[0].startswith(short[0]) else 0
