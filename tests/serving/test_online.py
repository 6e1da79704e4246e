"""A reader's state on the real Redis: repeated, reordered, too much of it."""

import random
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from fastapi.testclient import TestClient

from bookworks.adapters import redis
from bookworks.contracts import online
from bookworks.contracts.records import Event
from serving.app import make_app
from serving.history import History
from serving.kept import Answer, Keeper
from serving.policy import Policy
from tests.serving.fakes import FakePlatform, served
from tests.serving.process import eventually

pytestmark = pytest.mark.integration
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(stack):
    connected = redis.connect(stack.need("redis"))
    yield connected
    connected.close()


def event(user_id, kind, work_id=None, minute=0, **fields):
    return Event(
        source="service", received_at=NOW, event_id=uuid.uuid4(), kind=kind, user_id=user_id, work_id=work_id,
        occurred_at=NOW + timedelta(minutes=minute), **fields,
    )  # fmt: skip


def state(client, events):
    user_id = f"u-{uuid.uuid4()}"
    redis.remember(client, [one.model_copy(update={"user_id": user_id}) for one in events])
    return user_id, redis.read_reader(client, user_id)


EVENTS = [
    event("u", "view", "w1", 1),
    event("u", "click", "w2", 2),
    event("u", "rating", "w1", 3, value=8.0),
    event("u", "dismiss", "w3", 4),
    event("u", "impression", "w4", 5),
    event("u", "loan", None, 6, edition_id="e1"),
    event("u", "click", "w2", 7, edition_id="e2"),
]


def test_what_is_kept(client):
    user_id, reader = state(client, EVENTS)
    both = online.book_of("e2", "w2")
    assert online.ids_of(both) == ["e2", "w2"]
    assert reader.history == [both, "e1", "w1", "w2"]
    assert reader.weights == {"w1": 0.8, "w2": 0.4, "e1": 1.0, both: 0.4}
    assert (reader.seen, reader.dismissed, reader.ratings) == ({"w1", "e1"}, {"w3"}, {"w1": 8.0})
    assert reader.latest_at == NOW + timedelta(minutes=7)
    for key in (online.HISTORY, online.HISTORY_WEIGHTS, online.SEEN, online.DISMISSED):
        assert 0 < client.ttl(key.format(user_id)) <= online.TTL_S


def test_repeats_and_another_order_change_nothing(client):
    expected = state(client, EVENTS)[1]
    for seed in range(10):
        mixed = [*EVENTS, *random.Random(seed).choices(EVENTS, k=10)]
        random.Random(seed).shuffle(mixed)
        assert state(client, mixed)[1] == expected


def test_only_the_latest_are_kept(client):
    many = [event("u", "click", f"w{i}", i) for i in range(online.HISTORY_LENGTH + 50)]
    _, reader = state(client, many)
    assert reader.history == [f"w{i}" for i in range(online.HISTORY_LENGTH + 49, 49, -1)]
    assert set(reader.weights) == set(reader.history)


def forget(book, minute):
    edition_id, _, work_id = book.rpartition("/")
    return event("u", "forget", work_id or None, minute, edition_id=edition_id or None)


AGAIN = [event("u", "loan", "w1", 20), event("u", "click", None, 20, edition_id="e1"), event("u", "dismiss", "w3", 20)]


def test_a_book_that_was_forgotten_is_gone_at_once_and_its_events_do_not_bring_it_back(client):
    user_id, _ = state(client, EVENTS)
    taken = [forget("w1", 10), forget("w3", 10), forget("e1/", 10)]
    mine = [[one.model_copy(update={"user_id": user_id}) for one in events] for events in (taken, EVENTS, AGAIN)]
    redis.remember(client, mine[0])
    reader = redis.read_reader(client, user_id)
    both = online.book_of("e2", "w2")
    assert (reader.history, reader.weights) == ([both, "w2"], {both: 0.4, "w2": 0.4})
    assert (reader.seen, reader.dismissed) == (set(), set())
    assert 0 < client.ttl(online.FORGOTTEN.format(user_id)) <= online.TTL_S
    redis.remember(client, mine[1])
    assert redis.read_reader(client, user_id) == reader, "the consumer reads the stream again"
    redis.remember(client, mine[2])
    later = redis.read_reader(client, user_id)
    assert set(later.history) == {both, "w2", "w1", "e1"}
    assert (later.seen, later.dismissed) == ({"w1"}, {"w3"})
    redis.remember(client, [*mine[1], *mine[0]])
    assert redis.read_reader(client, user_id) == later, (
        "what came after the forgetting stays, however late that is read"
    )


def test_what_was_forgotten_leaves_the_same_state_in_any_order(client):
    everything = [*EVENTS, forget("w1", 10), forget("w2", 10), *AGAIN]
    expected = state(client, everything)[1]
    assert set(expected.history) == {"w1", "e1", online.book_of("e2", "w2")}
    for seed in range(10):
        mixed = [*everything, *random.Random(seed).choices(everything, k=10)]
        random.Random(seed).shuffle(mixed)
        got = state(client, mixed)[1]
        assert (got.history, got.seen, got.dismissed) == (expected.history, expected.seen, expected.dismissed)


def test_an_event_without_a_time_is_older_than_any_forgetting(client):
    timeless = event("u", "loan", "w1").model_copy(update={"occurred_at": None})
    _, reader = state(client, [timeless, forget("w1", 1), timeless])
    assert reader.history == []


def test_the_latest_rating_counts_in_any_order_and_is_forgotten_with_its_book(client):
    rated = [
        event("u", "rating", "w1", minute, value=value) for minute, value in ((1, 9.0), (3, 4.5), (2, 10.0), (4, 0.0))
    ]
    for seed in range(3):
        random.Random(seed).shuffle(rated)
        _, reader = state(client, rated)
        assert (reader.ratings, reader.weights) == ({"w1": 4.5}, {"w1": 1.0})
        _, reader = state(client, [*rated, forget("w1", 3)])
        assert (reader.ratings, reader.history) == ({}, ["w1"])
        _, reader = state(client, [*rated, forget("w1", 2)])
        assert reader.ratings == {"w1": 4.5}


def test_an_id_that_begins_as_another_is_another_book(client):
    _, reader = state(client, [event("u", "click", "w10", 1), event("u", "click", "w1", 1), forget("w1", 2)])
    assert reader.history == ["w10"]


def test_times_of_the_history(client):
    user_id, reader = state(client, EVENTS)
    times = redis.read_times(client, user_id)
    assert set(times) == {*reader.history, *reader.dismissed}
    assert times["w1"] == NOW + timedelta(minutes=3)


def test_a_book_without_a_time_has_none(client):
    timeless = event("u", "loan", "w1").model_copy(update={"occurred_at": None})
    user_id, reader = state(client, [timeless])
    assert (reader.history, redis.read_times(client, user_id)) == (["w1"], {})


def test_what_was_read_or_sent_away_is_bounded_and_the_oldest_leaves_in_any_order(client, monkeypatch):
    monkeypatch.setattr(online, "MARKED_LENGTH", 20)
    many = [event("u", kind, f"{kind}{i}", i) for i in range(30) for kind in ("loan", "dismiss", "forget")]
    kept = {kind: {f"{kind}{i}" for i in range(10, 30)} for kind in ("loan", "dismiss", "forget")}
    for seed in range(3):
        random.Random(seed).shuffle(many)
        user_id, reader = state(client, many)
        assert (reader.seen, reader.dismissed) == (kept["loan"], kept["dismiss"])
        assert set(client.zrange(online.FORGOTTEN.format(user_id), 0, -1)) == kept["forget"]
    assert redis.read_times(client, user_id)["loan29"] == NOW + timedelta(minutes=29)


def test_of_one_reader_the_latest_decisions_are_kept(client):
    user_id, other = (f"u-{uuid.uuid4()}" for _ in range(2))
    ids = [str(uuid.uuid4()) for _ in range(online.DECISIONS_LENGTH + 3)]
    first = str(uuid.uuid4())
    redis.keep_answers(client, [(first, other, b"0"), *((one, user_id, b"\xff\x00") for one in ids)], 50, [])
    assert [redis.read_decision(client, one) for one in ids[:3]] == [None] * 3
    assert redis.read_decision(client, ids[3]) == redis.read_decision(client, ids[-1]) == b"\xff\x00"
    assert redis.read_decision(client, first) == b"0"
    assert 0 < client.ttl(online.DECISIONS.format(user_id)) <= 50


def test_dismissed_authors_are_kept_without_an_end_and_are_restored_when_redis_was_emptied(client):
    user_id = f"u-{uuid.uuid4()}"
    redis.dismiss_authors(client, {user_id: ["a1", "Author 2"]})
    redis.dismiss_authors(client, {user_id: ["a1"]})
    assert redis.read_reader(client, user_id).dismissed_authors == {"a1", "Author 2"}
    assert client.ttl(online.DISMISSED_AUTHORS.format(user_id)) == -1
    redis.take_back_authors(client, user_id, ["a1", "never"])
    assert redis.read_reader(client, user_id).dismissed_authors == {"Author 2"}
    client.delete(online.DISMISSED_AUTHORS_KNOWN)
    assert not redis.has_dismissed_authors(client)
    redis.note_dismissed_authors(client)
    assert redis.has_dismissed_authors(client)


def test_what_was_shown_is_kept_with_its_last_time_and_bounded(client):
    user_id = str(uuid.uuid4())
    for works, at in ((["w1", "w2"], 2000.0), (["w2", "w3"], 3000.0), (["w1", "w3"], 1000.0)):
        redis.keep_answers(client, [], 0, [(user_id, works, at)])
    reader = redis.read_reader(client, user_id)
    assert reader.shown == {"w1": 2000.0, "w2": 3000.0, "w3": 3000.0}
    assert reader == redis.OnlineReader(), "a reader who did nothing is still nobody"
    many = [(user_id, [f"n{i}"], 5000.0 + i) for i in range(online.SHOWN_LENGTH + 10)]
    redis.keep_answers(client, [], 0, many)
    shown = redis.read_reader(client, user_id).shown
    assert set(shown) == {f"n{i}" for i in range(10, online.SHOWN_LENGTH + 10)}
    assert 0 < client.ttl(online.SHOWN.format(user_id)) <= online.SHOWN_TTL_S


def test_the_keeper_writes_in_the_background_and_finds_again(client, stack):
    keeper = Keeper(stack.settings.model_copy(update={"decision_ttl_seconds": 50}))
    user_id, ids = str(uuid.uuid4()), [str(uuid.uuid4()) for _ in range(30)]
    keeper.start()
    for place, one in enumerate(ids):
        document = {"answer": {"place": place, "rows": np.array([0.3, np.nan], dtype=np.float32)}}
        keeper.put(Answer(one, user_id, 1000.0 + place, (f"w{place}",), lambda document=document: document))
    found = eventually(lambda: keeper.find(ids[-1]))
    assert found == {"answer": {"place": 29, "rows": [0.3, None]}}
    assert keeper.find(ids[0])["answer"]["place"] == 0
    assert keeper.find(str(uuid.uuid4())) is None
    assert 0 < client.ttl(online.DECISION.format(ids[0])) <= 50
    keeper.close()
    assert len(redis.read_reader(client, user_id).shown) == 30, "what waits is written before the end"


def test_what_the_service_shows_makes_room_in_the_next_answer_and_its_decision_is_found(stack, tiny_bundle, key):
    policy = Policy.model_validate({"recently_shown": {"places": 50}})
    platform = FakePlatform(served(tiny_bundle, policy=policy))
    platform.history, platform.kept = History(stack.settings), Keeper(stack.settings)
    platform.kept.start()
    service, asked = TestClient(make_app(platform)), {"user_id": f"u-{uuid.uuid4()}", "n": 10}

    def ask():
        return service.post("/v1/recommend", json=asked, headers=key).json()

    def works(answer):
        return {item["work_id"] for item in answer["items"]}

    first = ask()
    kept = eventually(
        lambda: (a := service.get(f"/v1/decisions/{first['decision_id']}", headers=key)).is_success and a.json()
    )
    assert kept["answer"] == first
    assert not works(ask()) & works(first)
    platform.kept.close()
    platform.history.close()


def test_a_profile_keeps_what_is_not_named_again(client):
    user_id = str(uuid.uuid4())
    redis.save_profile(client, user_id, {"country": "usa", "tastes": ["crime"], "birth_year": None})
    redis.save_profile(client, user_id, {"country": "germany"})
    assert redis.read_reader(client, user_id).profile == {"country": "germany", "tastes": ["crime"]}


def test_attempts_to_log_in_are_counted_for_a_minute_from_the_first(client):
    who = f"who-{uuid.uuid4()}"
    assert [redis.count_login(client, who) for _ in range(3)] == [1, 2, 3]
    assert 0 < client.ttl(online.LOGIN_ATTEMPTS.format(who)) <= online.LOGIN_WINDOW_S
    redis.forget_logins(client, who)
    assert redis.count_login(client, who) == 1
