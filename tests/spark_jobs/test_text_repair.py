import time

import pytest

from spark_jobs.text_repair import clean_author, clean_publisher, clean_title, repair


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Die Grast\xc3?\xc2\xa4nzer", "Die Grastänzer"),  # encoded three times, C1 bytes lost
        ("Grast?\xa4nzer", "Grastänzer"),  # the first byte lost
        ("L\xc3\x83?\xc3\x82\xc2\xa4ngengrad.", "Längengrad."),  # four times
        ("Das gro\xc3\x83?\xc3\x82?e Lalula", "Das große Lalula"),
        ("Colecci\xc3\x83\xc2\xb3n", "Colección"),
        ("CafÃ©", "Café"),
        ("Retour ?\xa0 Brooklyn", "Retour à Brooklyn"),
        ("Qui va là ?\xbb dit-il", "Qui va là ?» dit-il"),  # sound French, left alone
        ("Les violents ?", "Les violents ?"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("&amp;#233;t&#233;", "été"),
        ('A Child Called \\It\\"": One', 'A Child Called "It": One'),
        ('The Word Desire\\\\""', "The Word Desire"),
        ('\\Pickles\\""', "Pickles"),
        ("\\I Can't\\: And \\Other\\ Thoughts", '"I Can\'t": And "Other" Thoughts'),
        ('\\"Night Out\\"/\\"Night In\\"', '"Night Out"/"Night In"'),
        ("Don\\'t", "Don't"),
        ("Riponne \\ Tunnel", "Riponne Tunnel"),
        ("re\u0301volution", "révolution"),
        ("\xc3\x83?\xc3\x82\xc2\xbcber", "über"),  # as the issue has it
        ("Grast\xc3?\xc2\xa4nzer", "Grastänzer"),
        ("  two\t words ", "two words"),
    ],
)
def test_repairs(raw: str, expected: str) -> None:
    assert repair(raw)[0] == expected


def test_a_letter_that_is_lost_is_marked_not_invented() -> None:
    assert repair("die \xc3\x83?\xc3\x82?berlebende")[0] == "die \ufffdberlebende"


@pytest.mark.parametrize("raw", [None, "", "  ", "NULL", "null", "NaN", "\\N"])
def test_words_that_say_nothing_are_null(raw: str | None) -> None:
    assert repair(raw)[0] is None


def test_repairs_are_named_and_sound_text_has_none() -> None:
    steps = [("mojibake", "Caf\xc3\xa9 &amp; Bar ", "Café &amp; Bar "),
             ("html_entity", "Café &amp; Bar ", "Café & Bar "), ("blanks", "Café & Bar ", "Café & Bar")]  # fmt: skip
    assert repair("Caf\xc3\xa9 &amp; Bar ")[1] == steps
    assert [one.rule for one in repair("Grast\xc3?\xc2\xa4nzer")[1]] == ["lost_byte"]
    assert [one.rule for one in repair("re\u0301volution")[1]] == ["accents"]
    assert repair("NULL") == (None, [("null_word", "NULL", None)])
    assert repair("Brontë, Émilie") == ("Brontë, Émilie", [])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Cicurel, Francine, 1947-", "Francine Cicurel"),
        ("Le Guin, Ursula K.", "Ursula K Le Guin"),
        ("Saint-Exupéry, Antoine de, 1900-1944", "Antoine de Saint-Exupéry"),
        ("J.K. Rowling, Mary GrandPré", "J. K. Rowling, Mary GrandPré"),
        ("Aristotle, 384-322 B.C.", "Aristotle"),
        ("Aristote (0384-0322 av. J.-C.)", "Aristote"),
        ("Cicero, Marcus Tullius, 106-43 B.C.", "Marcus Tullius Cicero"),
        ("Chaucer, Geoffrey, approximately 1340-1400", "Geoffrey Chaucer"),
        ("Plato, Benjamin Jowett", "Plato, Benjamin Jowett"),
        ("Homer, E. V. Rieu", "Homer, E. V. Rieu"),
        ("Collodi, Carlo; Tim Rowe", "Collodi, Carlo; Tim Rowe"),
        ("DEAN KOONTZ", "Dean Koontz"),
        ("Not Applicable (Na )", None),
        ("Anonymous", None),
    ],
)
def test_authors_are_shown_first_name_first(raw: str, expected: str | None) -> None:
    assert clean_author(raw) == expected


def test_many_backslashes_are_no_work() -> None:
    """A quadratic repair of these would take minutes."""
    began = time.process_time()
    repair("\\" * 50_000 + "a")
    repair("a" + '\\"' * 50_000)
    assert time.process_time() - began < 5


def test_publishers_lose_the_form_of_their_company() -> None:
    assert clean_publisher("Soft Skull Press, Inc.") == "Soft Skull Press"
    assert clean_publisher("Fischer GmbH & Co. KG") == "Fischer"
    assert clean_publisher("Penguin Books") == "Penguin Books"


def test_titles_lose_the_slash_of_library_records() -> None:
    assert clean_title("Agir professoral et pratiques de classe /") == "Agir professoral et pratiques de classe"
