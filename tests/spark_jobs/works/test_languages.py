import numpy as np
import pytest

from spark_jobs.works.comparing import ROW
from spark_jobs.works.languages import language_shares, language_table
from spark_jobs.works.pairs import Nodes, features
from spark_jobs.works.scorer import letters, rarity

ENGLISH, FRENCH, GERMAN = "the history of the night watch", "histoire de la montagne noire", "geschichte der nacht"


def _together(one: str, other: str) -> float:
    shares = language_shares([one, other], letters())
    return float(shares[0] @ shares[1])


@pytest.mark.parametrize(("one", "other"), [
    ("droit des marches publics", "droit suisse de lenergie"),
    ("chants de la foret", "la vie dans les arbres"),
    ("the zone of interest", "a song of ice and fire"),
    ("der besuch der alten dame", "das versprechen"),
])  # fmt: skip
def test_titles_in_one_language(one: str, other: str) -> None:
    assert _together(one, other) > 0.6


@pytest.mark.parametrize(("one", "other"), [
    ("la visite de la vieille dame", "der besuch der alten dame"),
    ("des souris et des hommes", "of mice and men"),
    ("il treno dei bambini", "le train des enfants"),
])  # fmt: skip
def test_titles_in_two_languages(one: str, other: str) -> None:
    assert _together(one, other) < 0.2


def test_table_knows_languages_with_enough_titles() -> None:
    titles = [f"{text} {n}" for n in range(100) for text in (ENGLISH, FRENCH, GERMAN)] + ["storia della notte"]
    table = language_table(titles, ["en", "fr", "de"] * 100 + ["it"])
    shares = language_shares(["night watch", "montagne noire", "geschichte", ""], table)
    assert shares.shape == (4, 3)  # de, en, fr
    assert shares.argmax(axis=1)[:3].tolist() == [1, 2, 0]
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares[3] == pytest.approx(1 / 3)


def test_without_known_languages_all_titles_are_in_one() -> None:
    table = language_table([ENGLISH, FRENCH], ["", ""])
    assert language_shares([ENGLISH, FRENCH, ""], table).tolist() == [[1], [1], [1]]


def test_features_of_languages_are_the_same_when_the_sides_are_exchanged() -> None:
    columns = {name: ["", ""] for name in ROW} | {
        name: [1, 1] for name in ("records", "author_nodes", "author_records")
    }
    nodes = Nodes(columns | {"main": [ENGLISH, FRENCH]}, rarity(), letters())
    names, values = features(nodes, np.array([0, 1]), np.array([1, 0]))
    assert np.array_equal(values[0], values[1], equal_nan=True)
    assert values[0, names.index("one_language")] < 0.2
    assert values[0, names.index("language_sure")] > 0.8
