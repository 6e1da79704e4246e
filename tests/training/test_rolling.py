"""The evaluation by month: what counts, what each model knows, and that a model of yesterday's tastes ages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from bookworks.errors import ContractError
from training.params import Options
from training.rolling import by_age, measured, read_loans, rolling

START = np.datetime64("2025-01-10", "s").astype(np.int64)
MONTH = 31 * 24 * 3600


def write(path: Path, rows: list[tuple[str, str, int]], names: tuple[str, str, str] = ("u", "i", "t")) -> Path:
    """Rows of reader, work, month."""
    reader, work, month = zip(*rows, strict=True)
    times = [float(START + m * MONTH) for m in month]
    csv.write_csv(pa.table(dict(zip(names, (reader, work, times), strict=True))), path)
    return path


def drifting(seed: int = 3) -> list[tuple[str, str, int]]:
    """Each month readers of one of two tastes read four of the thirty works of that month, a third of them new."""
    rng = np.random.default_rng(seed)
    return [
        (f"r{reader}", f"{'ab'[reader % 2]}{work}", month)
        for month in range(6)
        for reader in range(40)
        for work in 10 * month + rng.permutation(30)[:4]
    ]


def test_a_renewal_counts_where_it_was_first_seen(tmp_path: Path) -> None:
    loans = read_loans(write(tmp_path / "loans.csv", [("r", "a", 2), ("r", "a", 0), ("r", "b", 1), ("s", "b", 2)]))
    assert loans.month.tolist() == [0, 1, 2]
    assert str(loans.first) == "2025-01"
    assert loans.before(2).interactions.num_rows == 2
    assert loans.within(2).interactions["reader"].to_pylist() == [1]


def test_columns_and_times_of_parquet(tmp_path: Path) -> None:
    times = pa.array([0, 40 * 86_400 * 10**6], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"user_id": [1, 1], "item_id": [7, 8], "time": times}), tmp_path / "loans.parquet")
    assert read_loans(tmp_path / "loans.parquet").month.tolist() == [0, 1]


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "loans.csv", [("r", "a", 0)], ("u", "i", "when"))
    with pytest.raises(ContractError, match="no time"):
        read_loans(path)


def test_a_model_ages_where_works_change(tmp_path: Path) -> None:
    loans = read_loans(write(tmp_path / "loans.csv", drifting()))
    found = list(measured(loans, ["item_filter"], 2, Options(threads=1)))
    assert [(one.age, one.month) for one in found[:4]] == [(0, 2), (1, 3), (2, 4), (3, 5)]
    rows = {row["age_months"]: row for row in by_age(found)}
    assert rows[0]["months"] == 4
    assert rows[0]["ndcg_at_20"]["value"] > rows[1]["ndcg_at_20"]["value"] > rows[2]["ndcg_at_20"]["value"]
    assert rows[0]["ndcg_at_20_against_newest"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert rows[2]["ndcg_at_20_against_newest"]["high"] < 0


def test_from_file_to_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "loans.csv", drifting())
    rolling(path, tmp_path / "out.json", "popularity,blend", 3, 1)
    found = json.loads((tmp_path / "out.json").read_text())
    assert {(row["model"], row["age_months"]) for row in found["rows"]} == {
        (name, age) for name in ("popularity", "blend") for age in range(3)
    }
    assert "ndcg@20" in capsys.readouterr().out


def test_ids_of_works_tell_nothing_of_their_place(tmp_path: Path) -> None:
    rows = [("r", f"w{i:03d}", i) for i in range(300)]
    loans = read_loans(write(tmp_path / "loans.csv", rows))
    ids = loans.data.works["work_id"].to_pylist()
    assert sorted(ids) == [work for _, work, _ in rows]
    assert abs(np.corrcoef(np.arange(300), [int(work[1:]) for work in ids])[0, 1]) < 0.2
    read = [ids[work] for work in loans.data.interactions["work"].to_pylist()]
    assert read == [work for _, work, _ in rows]  # each row is still of its own work
