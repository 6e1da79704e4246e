import pytest

from spark_jobs.works.persons import given_agree, names_are_inverted, parse_persons

WHOLE = {
    "Henrik Ibsen, R. Farquharson Sharp": ["ibsen/henrik/writer", "sharp/r farquharson/writer"],
    "J.K. Rowling; illustrated by Mary GrandPré": ["rowling/j k/writer", "grandpre/mary/illustrator"],
    "JK Rowling": ["rowling/j k/writer"],
    "Le Guin, Ursula K.": ["leguin/ursula k/writer"],
    "Erasmus, Betty Radice": ["erasmus//writer", "radice/betty/writer"],
    "edited by John Smith ; with contributions by Mary Doe": ["smith/john/editor", "doe/mary/contributor"],
    "by Homer ; translated by Robert Fagles ; introduction and notes by Bernard Knox.":
        ["homer//writer", "fagles/robert/translator", "knox/bernard/contributor"],
    "sous la dir. de Jean-Luc Nancy et Paul Ricoeur": ["nancy/jean luc/editor", "ricoeur/paul/editor"],
    "STEPHEN KING": ["king/stephen/writer"],
    "Martin Luther King Jr.": ["king/martin luther/writer"],
    "Anonymous": [], "": [], "Various": [], "N/A": [],
}  # fmt: skip
INVERTED = {
    "Rowling, Joanne Kathleen": ["rowling/joanne kathleen/writer"],
    "Tolkien, J. R. R. (John Ronald Reuel), 1892-1973": ["tolkien/j r r/writer"],
    "García Márquez, Gabriel, 1927-": ["marquez/gabriel garcia/writer"],
    "van Gogh, Vincent": ["vangogh/vincent/writer"],
    "Pétré-Grenouilleau, Olivier 1962-....": ["grenouilleau/olivier petre/writer"],
}


def shown(text: str, inverted: bool) -> list[str]:
    return [f"{person.surname}/{person.given}/{person.role}" for person in parse_persons(text, inverted)]


@pytest.mark.parametrize("text", WHOLE)
def test_names_as_they_are_spoken(text: str) -> None:
    assert shown(text, False) == WHOLE[text]


@pytest.mark.parametrize("text", INVERTED)
def test_names_turned_round(text: str) -> None:
    assert shown(text, True) == INVERTED[text]


def test_both_ways_of_writing_give_one_surname() -> None:
    assert shown("García Márquez, Gabriel", True) == shown("Gabriel García Márquez", False)


def test_a_comma_votes_for_or_against_turned_names() -> None:
    votes = [names_are_inverted(text) for text in ("Rowling, J. K.", "Henrik Ibsen, Ada Sharp", "Homer", None)]
    assert votes == [1, -1, 0, 0]


def test_how_given_names_agree() -> None:
    pairs = [("john", "john"), ("j r", "john ronald"), ("", "j"), ("jane", "john"), ("ann", "bob")]
    assert [given_agree(*pair) for pair in pairs] == [3, 2, 1, 0, -1]
