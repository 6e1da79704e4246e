import pytest

from spark_jobs.works.titles import Title, parse_series, parse_title, series_as_written

CASES = {
    "Harry Potter and the Sorcerer's Stone (Harry Potter, #1)":
        Title("harry potter and the sorcerers stone", "", "harry potter", "", "1", ""),
    "Faust. Teil 2": Title("faust", "", "", "2", "", ""),
    "Two Towers, The": Title("two towers", "", "", "", "", ""),
    "Der Schwarm. Roman": Title("schwarm", "", "", "", "", ""),
    "Wheel of Time, Book 3: The Dragon Reborn": Title("dragon reborn", "", "wheel of time", "", "3", ""),
    "The Dragon Reborn (The Wheel of Time, Book 3)": Title("dragon reborn", "", "wheel of time", "", "3", ""),
    "Nineteen Eighty-Four: A Novel": Title("nineteen eighty four", "", "", "", "", ""),
    "Dune (Penguin Classics)": Title("dune", "", "", "", "", ""),
    "Les Misérables, Tome II": Title("miserables", "", "", "2", "", ""),
    "Henry IV, Part 1": Title("henry iv", "", "", "1", "", ""),
    "Hamlet (Cliffs Notes)": Title("hamlet", "", "cliffs notes", "", "", "guide"),
    "Moby-Dick; or, The Whale": Title("moby dick", "the whale", "", "", "", ""),
    "Bis(s) zum Morgengrauen": Title("biss zum morgengrauen", "", "", "", "", ""),
    "Band 2: Der Ruf": Title("ruf", "", "", "2", "", ""),
    "Sandman (Vol. 3)": Title("sandman", "", "", "3", "", ""),
    "Fables (Fables, #4)": Title("fables", "", "fables", "4", "", ""),
    "1984": Title("1984", "", "", "", "", ""),
    "One Piece. 1, À l'aube d'une grande aventure": Title("laube dune grande aventure", "", "one piece", "", "1", ""),
    "Naruto T01": Title("naruto", "", "", "1", "", ""), "Naruto - Vol. 03": Title("naruto", "", "", "3", "", ""),
    "Océan. 12": Title("ocean", "", "", "12", "", ""), "Fahrenheit 451": Title("fahrenheit 451", "", "", "", "", ""),
    "The Second Book of Swords": Title("second book of swords", "", "", "", "", ""),
    "Dune: Large Print Book": Title("dune", "", "", "", "", ""),
    "Nancy Drew: Mystery Train": Title("nancy drew", "mystery train", "", "", "", ""),
    "किताब": Title("किताब", "", "", "", "", ""),
    "Introduction to Algorithms, 3rd Edition": Title("introduction to algorithms", "", "", "", "", ""),
    "The Crystal Cave : Book One of the Arthurian Saga": Title("crystal cave", "", "arthurian", "", "1", ""),
    "Dealing with Dragons: The Enchanted Forest Chronicles, Book One":
        Title("dealing with dragons", "", "enchanted forest", "", "1", ""),
    "Un monde en couleurs : brochure, volume 2": Title("monde en couleurs", "brochure", "", "2", "", ""),
    "Dune (Dune, #1)": Title("dune", "", "dune", "", "1", ""),
    "Friendship with God: A Dialogue (Book #3)": Title("friendship with god", "a dialogue", "", "3", "", ""),
    "A Wizard of Earthsea (Earthsea Trilogy, Book 1)": Title("wizard of earthsea", "", "earthsea", "", "1", ""),
    "The Hobbit (Complete Collection)": Title("hobbit", "", "complete collection", "", "", "collection"),
    "Le livre rouge = Liber novus": Title("livre rouge", "liber novus", "", "", "", ""),
    "Les Misérables [Texte imprimé]": Title("miserables", "", "", "", "", ""),
    "Code pénal : [commentaire]": Title("code penal", "", "", "", "", ""),
    "Le vrai du faux : la série culte décryptée": Title("vrai du faux", "la serie culte decryptee", "", "", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_a_title_is_taken_apart(text: str) -> None:
    assert parse_title(text) == CASES[text]


@pytest.mark.parametrize(
    ("text", "series"),
    [("Harry Potter, #1", ("harry potter", "1")), ("Discworld 12", ("discworld", "12")),
     ("The Expanse", ("expanse", "")), (None, ("", "")), ("La saga, tome VII", ("saga", "7"))],
)  # fmt: skip
def test_a_series_has_a_name_and_a_number(text: str | None, series: tuple[str, str]) -> None:
    assert parse_series(text) == series


@pytest.mark.parametrize(
    "text", ["", None, "()", "((((", "#", "…", "🐉" * 3000, "a" * 5000, "עברית", "مرحبا: كتاب", "\u202eabc", "Vol. 3"]
)
def test_any_text_has_a_title_or_none(text: str | None) -> None:
    title = parse_title(text)
    assert all(isinstance(part, str) for part in (title.main, title.subtitle, title.series, title.volume, title.kind))
    assert len(title.main) <= 600


SERIES_WRITTEN = {
    "The Dragon Reborn (The Wheel of Time, #3)": "The Wheel of Time",
    "Ender's Game (Ender's Saga, #1)": "Ender's Saga",
    "The Final Empire (Mistborn Trilogy, Book 1)": "Mistborn Trilogy",
    "Dragonflight (Dragonriders of Pern series Book 1)": "Dragonriders of Pern",
    "Logopolis (Target Doctor Who [Numerical Order], #41)": "Target Doctor Who",
    "A Game of Thrones (a Song of Ice & Fire 1)": "Song of Ice & Fire",
}


@pytest.mark.parametrize("title", SERIES_WRITTEN)
def test_a_series_is_called_as_a_title_writes_it(title: str) -> None:
    assert series_as_written(parse_title(title).series, "", title) == SERIES_WRITTEN[title]


def test_a_series_that_nothing_writes_is_in_title_case() -> None:
    assert series_as_written("earthsea cycle", "", "A Wizard") == "Earthsea Cycle"
    assert series_as_written("wheel of time", "The Wheel of Time, #3", "x") == "The Wheel of Time"
