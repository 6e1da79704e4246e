"""How interactions become train, valid and test."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from bookworks.errors import ContractError
from bookworks.models.reader import Context
from tests.support.datasets import make_tables
from training.dataset import TEST, TRAIN, VALID, Dataset, load_dataset
from training.held_out import make_held_out
from training.split import SplitParams, save_dataset, split

PARAMS = SplitParams()


def parts(data) -> np.ndarray:
    return data.interactions["part"].to_numpy(zero_copy_only=False).astype(str)


def test_with_times_the_test_part_is_the_last() -> None:
    interactions, works, readers = make_tables()
    data = split(interactions, works, readers, PARAMS)
    users, catalogue = data.labels("user_id"), data.works["work_id"].to_pylist()
    rows = zip(data.interactions["reader"].to_pylist(), data.interactions["work"].to_pylist(), parts(data), strict=True)
    columns = (interactions[name].to_pylist() for name in ("user_id", "work_id", "occurred_at"))
    time_of = {(user, work): at.timestamp() for user, work, at in zip(*columns, strict=True)}
    times = {part: [] for part in (TRAIN, VALID, TEST)}
    for reader, work, part in rows:
        times[part].append(time_of[users[reader], catalogue[work]])
    assert max(times[TRAIN]) < min(times[VALID]) <= max(times[VALID]) < min(times[TEST])
    assert len(times[TEST]) == pytest.approx(0.1 * interactions.num_rows, abs=1)


def test_without_times_a_pair_falls_into_the_same_part_whatever_else_there_is() -> None:
    interactions, works, readers = make_tables(timed=False)
    some = interactions.slice(0, interactions.num_rows // 2)

    def placed(table: pa.Table) -> dict[tuple[str, int], str]:
        data = split(table, works, readers, PARAMS)
        users = data.labels("user_id")
        rows = zip(
            data.interactions["reader"].to_pylist(), data.interactions["work"].to_pylist(), parts(data), strict=True
        )
        return {(users[reader], work): part for reader, work, part in rows}

    everything, half = placed(interactions), placed(some)
    assert half.items() <= everything.items()
    counts = np.unique(list(everything.values()), return_counts=True)[1]
    assert counts.min() > 0.05 * interactions.num_rows


def test_trained_readers_come_first_and_keep_their_labels() -> None:
    data = split(*make_tables(), PARAMS)
    trained = data.readers["trained"].to_pylist()
    assert trained == sorted(trained, reverse=True)
    assert (np.diff(data.train().indptr) > 0).all()
    for row in data.readers.to_pylist():
        number = int(row["user_id"][1:])
        assert row["age_bin"] == ("18-24" if number % 2 else "65+")


def test_unknown_works_weightless_rows_and_unknown_readers() -> None:
    interactions, works, readers = make_tables()
    odd = pa.table(
        {
            "user_id": ["r000", "r000", "stranger"],
            "work_id": ["not there", "w000", "w001"],
            "weight": [1.0, 0.0, 1.0],
            "occurred_at": pa.array([0, 0, 0], pa.timestamp("us", tz="UTC")),
        }
    )
    data = split(pa.concat_tables([interactions, odd]), works, readers, PARAMS)
    assert data.interactions.num_rows == interactions.num_rows + 1
    assert data.readers.to_pylist()[data.labels("user_id").index("stranger")]["country"] is None


def test_nothing_to_learn_from_is_said() -> None:
    interactions, works, readers = make_tables()
    with pytest.raises(ContractError, match="nothing to learn from"):
        split(interactions.slice(0, 0), works, readers, PARAMS)


def test_saved_and_loaded_it_is_the_same(tmp_path) -> None:
    data = split(*make_tables(), PARAMS)
    save_dataset(data, tmp_path)
    again = load_dataset(tmp_path)
    assert again.interactions.equals(data.interactions)
    assert again.n_trained == data.n_trained


def test_histories_are_oldest_first() -> None:
    interactions, works, readers = make_tables()
    data = split(interactions, works, readers, PARAMS)
    user = data.labels("user_id")[0]
    mine = [row for row in interactions.to_pylist() if row["user_id"] == user]
    expected = [int(row["work_id"][1:]) for row in sorted(mine, key=lambda row: row["occurred_at"])]
    ((found, weights),) = data.histories(np.array([0]), TRAIN, VALID, TEST)
    assert found == expected
    assert len(weights) == len(expected)


def test_a_held_out_reader_asks_when_the_first_of_its_works_was_read() -> None:
    day = datetime(2026, 5, 31, 12, tzinfo=UTC)
    rows = [("a", "w1", TRAIN, day - timedelta(days=9)), ("a", "w2", TRAIN, day - timedelta(days=4, hours=5)),
            ("a", "w3", VALID, day + timedelta(days=2)), ("a", "w4", VALID, day), ("b", "w1", TRAIN, None),
            ("b", "w2", VALID, None), ("c", "w3", VALID, day)]  # fmt: skip
    users, works, parts, times = zip(*rows, strict=True)
    table = pa.table(
        {
            "reader": ["abc".index(user) for user in users],
            "work": [int(work[1]) for work in works],
            "weight": pa.array([1.0] * len(rows), pa.float32()),
            "part": parts,
            "occurred_at": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
    )
    people = pa.table({"user_id": list("abc"), "age_bin": [None] * 3, "country": [None] * 3})
    data = Dataset(pa.table({"work_id": [f"w{i}" for i in range(5)]}), people, table, 2)
    found = {s.user_id: s.context for s in make_held_out(data, (TRAIN,), VALID, 0.0, 9).states}
    assert found["a"] == Context(4.0)
    assert np.isnan([*astuple(found["b"]), found["c"].idle_days]).all()
