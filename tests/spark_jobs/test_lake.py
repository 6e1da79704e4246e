"""Clean tables: a version is written whole, then the pointer moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bookworks.contracts.lake import clean_pointer_key, clean_prefix
from bookworks.errors import ContractError, TerminalError
from spark_jobs.lake import Lake

Make = Callable[..., DataFrame]


@pytest.fixture
def readers(clean: Make) -> Callable[..., DataFrame]:
    """`readers("u1", …)`: rows of clean/readers."""

    def make(*names: str) -> DataFrame:
        return clean("readers", *({"user_id": name, "country": None, "age": None, "source": "test"} for name in names))

    return make


def names(lake: Lake) -> list[str]:
    return sorted(row.user_id for row in lake.read_clean("readers").collect())


def folders(root: Path) -> set[str]:
    return {path.name for path in (root / clean_prefix("readers")).iterdir() if not path.name.startswith(".")}


def test_the_pointer_names_the_version_and_its_rows(lake: Lake, readers: Make, tmp_path: Path) -> None:
    lake.replace_clean("readers", readers("u1", "u2"))
    pointer = json.loads((tmp_path / clean_pointer_key("readers")).read_text())
    assert pointer["rows"] == 2
    assert folders(tmp_path) == {"_current.json", f"version={pointer['version']}"}
    assert lake.read_clean("readers").columns == ["user_id", "country", "age", "source"]


def test_a_job_that_dies_before_the_pointer_moves_leaves_the_old_table(
    lake: Lake, readers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.replace_clean("readers", readers("u1"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_point", die)
        with pytest.raises(KeyboardInterrupt):
            lake.replace_clean("readers", readers("u2", "u3"))
    assert names(lake) == ["u1"]
    lake.replace_clean("readers", readers("u4"))
    assert names(lake) == ["u4"]


def test_half_a_version_without_a_pointer_is_no_table(lake: Lake, readers: Make, tmp_path: Path) -> None:
    readers("u1").write.parquet(f"file://{tmp_path}/{clean_prefix('readers')}version=half")
    with pytest.raises(TerminalError, match="no such table yet"):
        lake.read_clean("readers")


def test_the_previous_version_stays_for_who_reads_it_and_older_ones_go(
    lake: Lake, readers: Make, tmp_path: Path
) -> None:
    legacy = tmp_path / clean_prefix("readers") / "part-0.parquet"
    legacy.parent.mkdir(parents=True)
    legacy.write_bytes(b"of the layout before versions")
    lake.replace_clean("readers", readers("u1"))
    lake.replace_clean("readers", readers("u2"))
    reading = lake.read_clean("readers")
    lake.replace_clean("readers", readers("u3"))
    assert [row.user_id for row in reading.collect()] == ["u2"]
    assert names(lake) == ["u3"]
    assert len(folders(tmp_path)) == 3  # the pointer, the current version, the previous one


def test_a_table_is_replaced_by_what_was_made_from_itself(lake: Lake, readers: Make) -> None:
    lake.replace_clean("readers", readers("u1", "u2"))
    lake.replace_clean("readers", lake.read_clean("readers").where(F.col("user_id") == "u2"))
    assert names(lake) == ["u2"]


def test_an_empty_table_is_a_table(lake: Lake, readers: Make) -> None:
    lake.replace_clean("readers", readers())
    assert names(lake) == []


def test_a_version_that_lost_rows_is_not_pointed_to(lake: Lake, readers: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.replace_clean("readers", readers("u1"))
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_stored", lambda *_: 1)
        with pytest.raises(ContractError, match="lost or doubled"):
            lake.replace_clean("readers", readers("u2", "u3"))
    assert names(lake) == ["u1"]


def test_a_broken_pointer_is_told_in_words(lake: Lake, readers: Make, tmp_path: Path) -> None:
    lake.replace_clean("readers", readers("u1"))
    pointer = tmp_path / clean_pointer_key("readers")
    pointer.with_name(f".{pointer.name}.crc").unlink()
    pointer.write_text("{")
    with pytest.raises(TerminalError, match=r"_current\.json"):
        lake.read_clean("readers")
