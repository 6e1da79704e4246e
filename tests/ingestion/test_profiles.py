"""What the online store learns of readers from the stream."""

from datetime import UTC, datetime

from bookworks.contracts.records import Reader
from ingestion.kafka_to_online import _profiles


def reader(user_id, **fields):
    return Reader(source="service", received_at=datetime(2026, 5, 1, tzinfo=UTC), user_id=user_id, **fields)


def test_what_a_reader_said_at_the_door_outlives_a_redis_that_was_away():
    told = [reader("u", country="DE", age=40, tastes=["Agatha Christie", "crime"]), reader("v", tastes=["poetry"])]
    assert _profiles(told) == {
        "u": {"country": "DE", "birth_year": 1986, "tastes": ["Agatha Christie", "crime"]},
        "v": {"tastes": ["poetry"]},
    }


def test_a_file_of_readers_without_tastes_takes_none_away():
    rows = [reader("u", tastes=["poetry"], country="FR"), reader("u", country="DE"), reader("w", tastes=None)]
    assert _profiles(rows) == {"u": {"country": "DE", "tastes": ["poetry"]}}
