"""How search is measured."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pyarrow as pa
import pytest
from rapidfuzz.distance import OSA

from analytics.bench import search
from bookworks.errors import ContractError

BOOKS = pa.table(
    {
        "title": ["The Lord of the Rings", "The Hobbit", "Dune", None, "Crime and Punishment"],
        "author": ["J. R. R. Tolkien", "J. R. R. Tolkien", "Frank Herbert", "Nobody", "Fyodor Dostoevsky"],
    }
)


def test_a_slip_is_one_edit_in_a_long_word_and_the_same_for_the_same_seed() -> None:
    slips = {search.slip(random.Random(seed), "the lord of the rings") for seed in range(200)}
    assert all(OSA.distance(one, "the lord of the rings") <= 1 for one in slips)
    assert len(slips) > 50
    assert all(one.split()[:1] == ["the"] for one in slips)
    assert search.slip(random.Random(3), "dune") == search.slip(random.Random(3), "dune")


def test_a_search_that_finds_all_and_one_that_finds_nothing() -> None:
    figures = {f.name: f for f in search.measure(BOOKS, search.of_catalogue(BOOKS), queries=4, rounds=2, seed=1)}
    assert figures["exact_recall_at_1"].rounds == [1.0, 1.0]
    assert figures["author_title_recall_at_1"].rounds == [1.0, 1.0]
    assert figures["search_p50"].unit == "ms"
    assert 0 < figures["search_p50"].rounds[0] <= figures["search_p99"].rounds[0]
    empty = BOOKS.set_column(0, "title", pa.array(["x"] * 5)).set_column(1, "author", pa.array(["y"] * 5))
    blind = {f.name: f for f in search.measure(BOOKS, search.of_catalogue(empty), queries=4, rounds=1, seed=1)}
    assert {blind[name].rounds[0] for name in blind if "recall" in name} == {0.0}


def test_a_catalogue_that_is_too_small_or_lacks_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="too small"):
        search.measure(BOOKS, search.of_catalogue(BOOKS), queries=5, rounds=1, seed=1)
    file = tmp_path / "books.csv.gz"
    file.write_bytes(gzip.compress("Name;Who\nGröße;Å\nbroken\n".encode("latin-1")))
    books = search.read_catalogue(file, "title=Name,author=Who", ";", "latin-1")
    assert books.to_pylist() == [{"title": "Größe", "author": "Å"}]
    for columns in ("title=Name", "title=Name,author=Whom"):
        with pytest.raises(ContractError):
            search.read_catalogue(file, columns, ";", "latin-1")
