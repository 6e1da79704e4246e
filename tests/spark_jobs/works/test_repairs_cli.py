"""`bookworks works repairs` over a file of any catalogue."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bookworks.errors import ContractError, SettingError
from spark_jobs.works.repairs_cli import app

CATALOGUE = """nr|Titel|Verfasser|ISBN|Jahr
1|Die Grast\xc3?\xc2\xa4nzer|Handke, Peter|439023483|1985
2|Tom &amp; Jerry|NULL|0439023484|2999
3|Sound|Ann Other|0439023483|2001
4|too|few
"""


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_each_repair_is_a_row_with_its_rule_and_both_texts(tmp_path: Path) -> None:
    source, target = tmp_path / "books.csv", tmp_path / "repairs.csv"
    source.write_text(CATALOGUE, encoding="utf-8")
    columns = "id=nr,title=Titel,author=Verfasser,isbn=ISBN,year=Jahr"
    told = call("--input", source, "--columns", columns, "--separator", "|", "--output", target)
    with target.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["record_id", "field", "rule", "before", "after"]
    assert rows == [
        ["1", "title", "lost_byte", "Die Grast\xc3?\xc2\xa4nzer", "Die Grastänzer"],
        ["1", "author", "author_form", "Handke, Peter", "Peter Handke"],
        ["1", "isbn", "isbn_leading_zero", "439023483", "9780439023481"],
        ["2", "title", "html_entity", "Tom &amp; Jerry", "Tom & Jerry"],
        ["2", "author", "null_word", "NULL", ""],
        ["2", "isbn", "isbn_check_digit", "0439023484", ""],
        ["2", "year", "implausible_year", "2999", ""],
    ]
    assert "7 repairs" in told
    assert "1 rows could not be read" in told


def test_a_wrong_column_or_place_is_told_before_anything_is_written(tmp_path: Path) -> None:
    source, target = tmp_path / "books.csv", tmp_path / "repairs.csv"
    source.write_text(CATALOGUE, encoding="utf-8")
    with pytest.raises(ContractError, match="Columns are missing"):
        call("--input", source, "--columns", "id=nr,title=Title", "--separator", "|", "--output", target)
    with pytest.raises(SettingError, match="overwrite"):
        call("--input", source, "--columns", "id=nr", "--output", source)
    with pytest.raises(SettingError, match="cannot be written"):
        call("--input", source, "--columns", "id=nr", "--separator", "|", "--output", tmp_path / "no" / "file.csv")
    assert not target.exists()
    assert source.read_text(encoding="utf-8") == CATALOGUE
