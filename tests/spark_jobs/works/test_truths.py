"""Truths made of public files."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from spark_jobs.works import truths


def put(path: Path, *rows: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_two_shops_agree_where_they_share_an_isbn(tmp_path: Path) -> None:
    ours = {"book_id": "1", "title": "Dune (Dune, #1)", "authors": "Frank Herbert", "work_id": "7", "isbn": "441013597"}
    put(tmp_path / "goodbooks-10k" / "books.csv.gz", ours, ours | {"book_id": "2", "work_id": "8", "isbn": ""})
    theirs = {"ISBN": "0441013597", "Book-Title": "Dune", "Book-Author": "Herbert"}
    put(tmp_path / "book-crossing-explicit" / "BX-Books.csv.gz", theirs, theirs | {"ISBN": "0345350499"})
    works = {record: work for record, _, _, work in truths.shops(tmp_path)}
    assert works == {"g1": "7", "g2": "8", "b0441013597": "7", "b0345350499": ""}


def test_a_library_writes_the_surname_first_and_says_who_is_responsible() -> None:
    rows = [
        {"record_id": str(n), "Title": "Emma: A Novel (Penguin)", "Author": "Jane Austen, Ronald Blythe", "work": "w"}
        for n in range(200)
    ]
    titles, authors = ({form[k] for form in map(truths.as_library, rows)} for k in (0, 1))
    assert len(authors) == 1
    assert next(iter(authors)).startswith("Austen, Jane")
    stated = "Jane Austen ; edited by Ronald Blythe"
    assert titles == {"Emma : A Novel /", f"Emma : A Novel / {stated}", f"Emma : A Novel / by {stated}"}
    assert len(truths.library(rows)) in {0, 2}
