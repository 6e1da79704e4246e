from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame

from bookworks.errors import ContractError, TerminalError
from spark_jobs import dedupe_interactions
from spark_jobs.dedupe_interactions import dedupe, with_works
from spark_jobs.lake import Lake

Make = Callable[..., DataFrame]


def event(n: int, **values: object) -> dict[str, object]:
    return {"event_id": f"ev{n}", "kind": "click", "user_id": "u1", "edition_id": "e1", **values}


def test_the_first_record_of_an_event_stays(raw: Make) -> None:
    frame = raw("interactions", event(1, value=1.0), event(1, value=2.0), event(2, value=3.0))
    assert sorted(row.value for row in dedupe(frame).collect()) == [1.0, 3.0]


def test_the_same_id_of_another_reader_is_another_event(raw: Make) -> None:
    frame = raw("interactions", event(1, user_id="stranger"), event(1), event(1))
    assert sorted(row.user_id for row in dedupe(frame).collect()) == ["stranger", "u1"]


def test_works_come_from_the_edition_else_from_the_event_and_orphans_stay(raw: Make, clean: Make) -> None:
    frame = raw(
        "interactions",
        event(1),
        event(2, edition_id="unknown"),
        event(3, edition_id=None, work_id="w2"),
        event(4, edition_id=None, work_id="gone"),
        event(5, work_id="w2"),
    )
    of_edition = clean("edition_works", {"edition_id": "e1", "work_id": "w1", "confidence": 1.0})
    works = clean("works", *({"work_id": w, "title": w, "editions": 1} for w in ("w1", "w2")))
    got = {row.event_id: row.work_id for row in with_works(frame, of_edition, works).collect()}
    assert got == {"ev1": "w1", "ev2": None, "ev3": "w2", "ev4": None, "ev5": "w1"}


def test_a_missing_column_is_named(raw: Make) -> None:
    with pytest.raises(ContractError, match="event_id"):
        dedupe(raw("interactions", event(1)).drop("event_id"))


def test_overlapping_files_of_a_redelivery_collapse(lake: Lake, store_raw: Callable[..., None], clean: Make) -> None:
    lake.replace_clean(
        "edition_works", clean("edition_works", {"edition_id": "e1", "work_id": "w1", "confidence": 1.0})
    )
    lake.replace_clean("works", clean("works", {"work_id": "w1", "title": "T", "editions": 1}))
    store_raw("interactions", event(1), event(2))
    store_raw("interactions", event(1), event(2), event(3, edition_id="unknown"))
    counts = dedupe_interactions.run(lake, None)
    assert counts == {"interactions_in": 5, "interactions_out": 3, "with_work": 2, "orphans": 1, "duplicates": 2}


def test_without_data_the_next_step_is_told(lake: Lake) -> None:
    with pytest.raises(TerminalError, match="bookworks ingest load"):
        dedupe_interactions.run(lake, None)
