import pytest

from spark_jobs.works.publishers import publisher

HOUSES = {
    "Penguin Books Ltd., London": "penguin", "Penguin Books": "penguin", "PENGUIN": "penguin",
    "Penguin Classics": "penguin", "Penguin Publishing Group": "penguin", "Penguin (Non-Classics)": "penguin",
    "The Penguin Press": "penguin", "London : Penguin Books, 1999": "penguin",
    "Penguin Books, New York, N.Y.": "penguin",
    "HarperCollins Publishers Inc.": "harpercollins", "HarperCollins UK": "harpercollins",
    "Farrar, Straus and Giroux": "farrar straus and giroux", "Little, Brown & Co.": "little brown",
    "Random House": "random house", "Oxford University Press, USA": "oxford university",
    "Rowohlt Taschenbuch Verlag GmbH": "rowohlt", "Rowohlt Verlag, Reinbek bei Hamburg": "rowohlt",
    "S. Fischer Verlag GmbH & Co. KG": "s fischer", "Suhrkamp Verlag AG, Berlin": "suhrkamp", "dtv": "dtv",
    "Éditions Gallimard": "gallimard", "Gallimard (Paris)": "gallimard", "Les Éditions de Minuit": "de minuit",
    "Editorial Planeta, S.A.": "planeta", "Books": "books", "The Company": "company", "London": "london",
    "(Penguin)": "penguin", "Oxford": "oxford", "": "", None: "",
}  # fmt: skip


@pytest.mark.parametrize("text", HOUSES)
def test_a_house_has_one_name(text: str | None) -> None:
    assert publisher(text) == HOUSES[text]
