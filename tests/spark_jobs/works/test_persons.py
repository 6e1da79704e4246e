from pathlib import Path

import pytest
from typer.testing import CliRunner

from bookworks.errors import SettingError
from spark_jobs.works.aliases import Alias, load_aliases
from spark_jobs.works.cli import app
from spark_jobs.works.persons import Aliases, given_agree, names_are_inverted, parse_persons, without_statement

WHOLE = {
    "Henrik Ibsen, R. Farquharson Sharp": ["ibsen/henrik/writer", "sharp/r farquharson/writer"],
    "J.K. Rowling; illustrated by Mary GrandPré": ["rowling/j k/writer", "grandpre/mary/illustrator"],
    "JK Rowling": ["rowling/j k/writer"],
    "Le Guin, Ursula K.": ["leguin/ursula k/writer"],
    "Erasmus, Betty Radice": ["erasmus//writer", "radice/betty/writer"],
    "Homer, E.V. Rieu": ["homer//writer", "rieu/e v/writer"], "Rowling, J. K.": ["rowling/j k/writer"],
    "R.L. Stine": ["stine/r l/writer"], "William D. Howells": ["howells/william d/writer"],
    "Jean d'Ormesson": ["dormesson/jean/writer"], "Flann O'Brien": ["obrien/flann/writer"],
    "edited by John Smith ; with contributions by Mary Doe": ["smith/john/editor", "doe/mary/contributor"],
    "by Homer ; translated by Robert Fagles ; introduction and notes by Bernard Knox.":
        ["homer//writer", "fagles/robert/translator", "knox/bernard/contributor"],
    "sous la dir. de Jean-Luc Nancy et Paul Ricoeur": ["nancy/jean luc/editor", "ricoeur/paul/editor"],
    "STEPHEN KING": ["king/stephen/writer"], "HUGO Victor": ["hugo/victor/writer"],
    "John Paul II": ["paul/john/writer"], "JK Smith III": ["smith/j k/writer"],
    "Illustrated by Quentin Blake ; Roald Dahl": ["dahl/roald/writer", "blake/quentin/illustrator"],
    "J.R.R. Tolkien (Author), Alan Lee (Illustrator)": ["tolkien/j r r/writer", "lee/alan/illustrator"],
    "Haruki Murakami, Jay Rubin (Translator)": ["murakami/haruki/writer", "rubin/jay/translator"],
    "Dahl, Roald, author; Blake, Quentin, illustrator": ["dahl/roald/writer", "blake/quentin/illustrator"],
    "Notestein, Wallace": ["notestein/wallace/writer"], "Sprecher, Daniel": ["sprecher/daniel/writer"],
    "Trader Vic": ["vic/trader/writer"],
    "Martin Luther King Jr.": ["king/martin luther/writer"],
    "Plato, 427?-347 B.C.": ["plato//writer"], "Aristote (0384-0322 av. J.-C.)": ["aristote//writer"],
    "Cicero, Marcus Tullius, 106-43 B.C.": ["cicero/marcus tullius/writer"],
    "Chaucer, Geoffrey, approximately 1340-1400": ["chaucer/geoffrey/writer"],
    "Smith, John, active 16th century": ["smith/john/writer"], "Malcolm X": ["x/malcolm/writer"],
    "Rowling J.K.": ["rowling/j k/writer"], "Alexandre Dumas père": ["dumas/alexandre/writer"],
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
    pairs = [("john", "john"), ("j r", "john ronald"), ("george", "george r r"), ("", "j"), ("jane", "john")]
    assert [given_agree(*pair) for pair in pairs] == [3, 2, 2, 1, 0]
    assert [given_agree(*pair) for pair in (("ann", "bob"), ("ada q", "ada l"), ("j r", "john s"))] == [-1, -1, -1]


MEANT = {
    "Richard Bachman": "king/stephen/Stephen King", "Robert Galbraith": "rowling/j k/J. K. Rowling",
    "Fjodor M. Dostojewski": "dostoevsky/fyodor/Fyodor Dostoevsky",
    "Dostoïevski": "dostoevsky/fyodor/Fyodor Dostoevsky",
    "F. Dostoyevsky": "dostoevsky/fyodor/Fyodor Dostoevsky", "Fyodor Dostoevsky": "dostoevsky/fyodor/Fyodor Dostoevsky",
    "Anna Dostojewskaja": "dostojewskaja/anna/Anna Dostojewskaja", "Alexei Tolstoi": "tolstoy/alexei/Alexei Tolstoi",
    "Lew Tolstoj": "tolstoy/leo/Leo Tolstoy", "Anton Tschechow": "chekhov/anton/Anton Chekhov",
    "Dante": "alighieri/dante/Dante Alighieri", "Joe Dante": "dante/joe/Joe Dante", "Homère": "homer//Homer",
    "Winslow Homer": "homer/winslow/Winslow Homer", "R. Bachman": "bachman/r/R. Bachman",
    "Jane Austen": "austen/jane/Jane Austen", "Лев Толстой": "tolstoy/leo/Leo Tolstoy",
}  # fmt: skip
SHIPPED = Aliases(load_aliases())


@pytest.mark.parametrize("text", MEANT)
def test_an_alias_is_who_it_means(text: str) -> None:
    (person,) = parse_persons(text, False, SHIPPED)
    assert f"{person.surname}/{person.given}/{person.name}" == MEANT[text]
    assert person.written == text


def test_an_alias_beside_its_own_name_is_one_person() -> None:
    found = parse_persons("King, Stephen; Richard Bachman; illustrated by Mary GrandPré", True, SHIPPED)
    assert [(person.surname, person.role) for person in found] == [("king", "writer"), ("grandpre", "illustrator")]


def test_a_name_turned_round_is_written_as_it_is_spoken() -> None:
    (person,) = parse_persons("Tolkien, J. R. R. (John Ronald Reuel), 1892-1973", True)
    assert (person.written, person.name) == ("J. R. R. Tolkien", "J. R. R. Tolkien")


def test_every_shipped_alias_leads_to_the_person_of_its_name() -> None:
    for one in load_aliases():
        sides = [parse_persons(text, False, SHIPPED) for text in (one.alias, one.name)]
        assert len(sides[0]) == len(sides[1]) == 1, one
        assert (sides[0][0].surname, sides[0][0].given) == (sides[1][0].surname, sides[1][0].given), one


def own(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["alias,name,kind", *lines]), encoding="utf-8")
    return path


def test_a_users_aliases_stand_above_the_shipped(tmp_path: Path) -> None:
    lines = ("Ann Other,Jane Doe,pen name", "", "Richard Bachman,Richard Bachman,pen name")
    found = load_aliases(own(tmp_path, *lines))
    assert Alias("Ann Other", "Jane Doe", "pen name") in found
    assert "Richard Bachman" not in {one.alias for one in found}
    assert len(found) == len(load_aliases())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Ann Other,Jane Doe,nickname", "Received: kind 'nickname'.*Allowed: pen name, transliteration, spelling"),
        ("Ann Other,Jane Doe", "Received: 2 fields.*Allowed: alias, name, kind"),
        ("Ann Other,,spelling", "name ''.*Allowed: names with letters in both"),
        ('"Other, Ann",Jane Doe,spelling', "Received: alias 'Other, Ann'.*one person each"),
        ("First,Someone Else,spelling", "Received: 'First' for 'Someone Else'.*above it is 'Jane Doe'"),
        ("Ann Other,Robert Galbraith,pen name", "an alias of 'J. K. Rowling'.*the name itself"),
        ("Ann Other,first,pen name", "an alias of 'Jane Doe'"),
    ],
)
def test_a_fault_names_its_line(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(SettingError, match=f"Line 3 of the authors' aliases has a fault.*{told}"):
        load_aliases(own(tmp_path, "First,Jane Doe,pen name", line))


def test_a_file_of_other_columns_or_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("from,to\n", encoding="utf-8")
    with pytest.raises(SettingError, match=r"Line 1 .*Received: columns from, to .*Allowed: alias, name, kind"):
        load_aliases(path)
    path.write_bytes("alias,name,kind\nJosé,José Doe,spelling\n".encode("latin-1"))
    with pytest.raises(SettingError, match="cannot be read"):
        load_aliases(path)
    with pytest.raises(SettingError, match="cannot be read"):
        load_aliases(tmp_path / "none.csv")


@pytest.mark.parametrize("arguments", [["cluster", "--input"], ["match", "--right", "r.csv", "--left"]])
def test_a_command_reads_the_aliases_before_anything_else(tmp_path: Path, arguments: list[str]) -> None:
    path = own(tmp_path, "Ann Other,Jane Doe,nickname")
    options = ["c.csv", "--columns", "id=id,title=t", "--output", str(tmp_path / "o.csv"), "--aliases", str(path)]
    error = CliRunner().invoke(app, [*arguments, *options]).exception
    assert isinstance(error, SettingError)
    assert "Line 2 of the authors' aliases" in str(error)


STATEMENTS = {
    ("Emma / Jane Austen ; edited by Ronald Blythe", "Austen, Jane"): ("Emma", "Jane Austen ; edited by Ronald Blythe"),
    ("EMMA / BY JANE AUSTEN", ""): ("EMMA", "BY JANE AUSTEN"),
    ("Emma / A.M. Other", ""): ("Emma", "A.M. Other"),
    ("Lysistrata / Aristophanes ; translated by A. Other", ""):
        ("Lysistrata", "Aristophanes ; translated by A. Other"),
    ("Les femmes : actes / sous la dir. de Jean Dupont", ""): ("Les femmes : actes", "sous la dir. de Jean Dupont"),
    ("Dichtung / hrsg. von Hans Meier", "Goethe"): ("Dichtung", "hrsg. von Hans Meier"),
    ("The Time Machine / The Invisible Man", "H. G. Wells"): ("The Time Machine / The Invisible Man", ""),
    ("Candide / La Princesse", ""): ("Candide / La Princesse", ""),
    ("Emma by Jane Austen", "Jane Austen"): ("Emma", "Jane Austen"),
    ("Emma by Jane Austen, Vol. 1", "Jane Austen"): ("Emma, Vol. 1", "Jane Austen"),
    ("Death by Water", "Kenzaburo Oe"): ("Death by Water", ""),
    ("Emma", "Jane Austen"): ("Emma", ""),
}  # fmt: skip


@pytest.mark.parametrize(("title", "author"), STATEMENTS)
def test_a_title_is_freed_of_its_statement_of_responsibility(title: str, author: str) -> None:
    assert without_statement(title, parse_persons(author, ", " in author)) == STATEMENTS[title, author]


@pytest.mark.parametrize(
    ("text", "inverted", "found"),
    [
        ("Pardoe, Blaine Lee, 1962-", False, ["pardoe/blaine lee"]),
        ("Gustave Le Bon, Bernard Miall", True, ["lebon/gustave", "miall/bernard"]),
        ("Vargas Llosa, Mario", True, ["llosa/mario vargas"]),
        ("Lévi-Strauss, Claude Gustave", True, ["strauss/claude gustave levi"]),
        ("Petit, Hélène, journaliste scientifique", True, ["petit/helene"]),
        ("Vaerini Jensen, Micaela 19..-....", True, ["jensen/micaela vaerini"]),
    ],
)
def test_one_name_is_told_from_two(text: str, inverted: bool, found: list[str]) -> None:
    assert [f"{one.surname}/{one.given}" for one in parse_persons(text, inverted)] == found
