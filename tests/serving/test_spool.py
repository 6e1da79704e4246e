"""What waits on disk for Kafka: accepted only when it is there for good, removed only when Kafka has it."""

import errno
import json
import os
import resource
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from kafka.errors import KafkaTimeoutError
from prometheus_client import REGISTRY

from bookworks.contracts.records import Event, Reader
from bookworks.contracts.topics import INTERACTIONS
from bookworks.errors import SettingError, TransientError
from serving import decisions, spool
from serving.app import make_app
from serving.decisions import Acknowledged, Outgoing, outgoing
from serving.run import make_spool_folder
from serving.spool import Intake, Spool, decoded, encoded
from tests.serving.fakes import FakePlatform, settings
from tests.serving.test_api import is_problem
from tests.serving.test_parts import Answer

MIB = 1024 * 1024


def event(**fields):
    now = datetime.now(UTC)
    known = {"source": "service", "received_at": now, "occurred_at": now, "kind": "click", "user_id": "u"}
    return Event(**known | {"event_id": uuid.uuid4(), "work_id": "w001"} | fields)


class Broker:
    """Kafka behind a producer: keeps what it confirms; away, or away after so many records, when told so."""

    def __init__(self):
        self.kept, self.away, self.left, self.tries, self.refused = [], False, None, 0, None

    def send(self, topic, key, value, headers):
        self.tries += 1
        if self.left is not None:
            self.left -= 1
        if self.away or topic == self.refused or (self.left is not None and self.left < 0):
            return Answer().failure(KafkaTimeoutError("away"))
        self.kept.append((topic, key, value, headers))
        return Answer().success(None)

    @property
    def ids(self):
        return [json.loads(value)["event_id"] for topic, _, value, _ in self.kept if topic == "interactions"]

    def close(self, timeout):
        pass


@pytest.fixture
def broker(monkeypatch):
    made = Broker()
    monkeypatch.setattr(decisions.kafka, "producer", lambda *_, **__: made)
    return made


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "spool"
    made.mkdir()
    return made


@pytest.fixture
def intake(folder, broker):
    return worker(folder)


def worker(folder, **changed):
    known = settings(interactions_spool_dir=folder, **changed)
    return Intake(known, Acknowledged(known))


def ids_of(*events):
    return [str(one.event_id) for one in events]


def names(folder, suffix=""):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(suffix))


def spooled(intake, broker, *events):
    """Have the intake take each event while Kafka is away."""
    broker.away = True
    for one in events:
        assert intake.take([one]) == ["stream"]
    broker.away = False


def test_without_a_folder_what_kafka_does_not_confirm_is_refused(broker):
    known = settings()
    intake = Intake(known, Acknowledged(known))
    one = event()
    assert intake.take([one]) == []
    assert broker.ids == ids_of(one)
    broker.away = True
    with pytest.raises(TransientError):
        intake.take([event()])
    intake.deliver()


def test_what_kafka_confirms_touches_no_disk(intake, broker, folder):
    assert intake.take([event()]) == []
    assert names(folder) == []


def test_a_record_waits_as_it_goes_to_kafka(intake, broker, folder, monkeypatch):
    headers = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    monkeypatch.setattr(decisions.tracing, "headers", lambda: headers)
    batch = [event(user_id="Ünal\u2028\r"), event(user_id="v", kind="rating", value=7.5)]
    broker.away = True
    intake.take(batch)
    broker.away = False
    monkeypatch.undo()
    (file,) = folder.iterdir()
    assert [json.loads(line)["key"] for line in file.read_bytes().splitlines()] == ["Ünal\u2028\r", "v"]
    expected = [("interactions", one.user_id.encode(), decisions.encoded(one), headers) for one in batch]
    monkeypatch.setattr(decisions.kafka, "producer", lambda *_, **__: broker)
    intake.deliver()
    assert broker.kept == expected


def test_requests_do_not_wait_for_a_kafka_that_is_known_to_be_away(intake, broker):
    spooled(intake, broker, event(), event(), event())
    assert broker.tries == 1
    intake.deliver()
    one = event()
    assert intake.take([one]) == []
    assert broker.ids[-1:] == ids_of(one)


def test_the_oldest_goes_first_and_each_file_only_after_all_of_it_is_acknowledged(intake, broker, folder, monkeypatch):
    monkeypatch.setattr(spool, "_TOGETHER", 2)
    batches = [[event(), event()] for _ in range(3)]
    broker.away = True
    for batch in batches:
        intake.take(batch)
    _, second, third = names(folder)
    broker.away, broker.left = False, 3
    intake.deliver()
    assert broker.ids == ids_of(*batches[0], batches[1][0])
    assert names(folder) == [second, third], "of the second one record is missing"
    broker.left, broker.kept = None, []
    intake.deliver()
    assert broker.ids == ids_of(*batches[1], *batches[2])
    assert names(folder) == []


def test_while_kafka_stays_away_everything_stays(intake, broker, folder):
    spooled(intake, broker, event(), event())
    broker.away = True
    before = names(folder)
    intake.deliver()
    assert names(folder) == before
    broker.tries = 0
    intake.take([event()])
    assert broker.tries == 0, "known to be away still"


def test_the_next_worker_sends_what_a_killed_one_has_left(intake, broker, folder):
    left = [event(), event()]
    spooled(intake, broker, *left)
    worker(folder).deliver()
    assert (broker.ids, names(folder)) == (ids_of(*left), [])


def test_a_file_that_another_worker_has_just_removed_is_no_error(intake, broker, folder, monkeypatch, caplog):
    spooled(intake, broker, event(), event())
    look = Spool.look

    def too_late(self):
        found = look(self)
        (folder / found[0]).unlink()
        return found

    monkeypatch.setattr(Spool, "look", too_late)
    intake.deliver()
    assert (len(broker.kept), names(folder), caplog.records) == (1, [], [])
    spooled(intake, broker, event())
    (file,) = folder.iterdir()
    monkeypatch.setattr(Spool, "look", look)
    send = Acknowledged.send
    monkeypatch.setattr(Acknowledged, "send", lambda *given: (send(*given), file.unlink()))
    intake.deliver()
    assert (names(folder), caplog.records) == ([], [])


WHOLE = encoded(outgoing(INTERACTIONS, [event(), event()]))
BROKEN = {
    "empty": b"",
    "garbage": b"\x00\xff\x80garbage\n",
    "other": b'{"a": 1}\n',
    "half a line": WHOLE[:-20],
    "no end": WHOLE[:-1],
    "half and half": WHOLE + b"\0" * 512,
    "large": encoded([Outgoing("interactions", b"u", b"1", [])]).replace(b"1", b"1" * 2 * MIB),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_set_aside_whole_and_stops_no_other(intake, broker, folder, content, caplog):
    good = [event(), event()]
    (folder / "0.jsonl").write_bytes(content)
    spooled(intake, broker, *good)
    intake.deliver()
    assert broker.ids == ids_of(*good)
    (bad,) = folder.iterdir()
    assert (bad.suffix, bad.read_bytes()) == (".bad", content)
    assert "0.jsonl of the spool is set aside" in caplog.text
    (folder / "0.jsonl").write_bytes(b"another")
    intake.deliver()
    assert len(names(folder, ".bad")) == 2, "one of the same name is kept beside it"
    intake.deliver()
    assert REGISTRY.get_sample_value("bookworks_spool_files", {"state": "bad"}) == 2


def test_what_a_killed_worker_left_half_written_is_set_aside_but_not_what_is_being_written(intake, folder):
    for name, age_s in (("old", 120), ("new", 0)):
        half = folder / f"{name}.tmp"
        half.write_bytes(WHOLE[:100])
        written_at = datetime.now(UTC).timestamp() - age_s
        os.utime(half, (written_at, written_at))
    intake.deliver()
    new, old = names(folder)
    assert new == "new.tmp"
    assert old.startswith("old.tmp-")
    assert old.endswith(".bad")
    assert (folder / old).read_bytes() == WHOLE[:100]


def test_what_cannot_be_removed_is_not_sent_again(intake, broker, folder, monkeypatch, caplog):
    spooled(intake, broker, event())
    unlink = Path.unlink

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    for _ in range(3):
        intake.deliver()
    assert (len(broker.kept), len(names(folder))) == (1, 1)
    assert "cannot be removed" in caplog.text
    monkeypatch.setattr(Path, "unlink", unlink)
    intake.deliver()
    assert (len(broker.kept), names(folder)) == (1, [])


@contextmanager
def no_room(n_bytes):
    """A disk that takes no more than the first bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def failing_fsync(monkeypatch, number):
    """The so many-th call fails, as on a full or broken disk: first that of the file, then that of the folder."""
    calls, fsync = [], os.fsync

    def fail(descriptor):
        calls.append(descriptor)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        yield
    assert len(calls) == number


@pytest.mark.parametrize("where", ["write", "fsync of the file", "fsync of the folder", "rename"])
def test_a_disk_that_fails_refuses_and_no_part_is_left(intake, broker, folder, monkeypatch, where):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    broker.away = True
    with monkeypatch.context() as patch:
        if where == "rename":
            patch.setattr(Path, "rename", refuse)
        fails = no_room(100) if where == "write" else failing_fsync(monkeypatch, 2 if "folder" in where else 1)
        with pytest.raises(TransientError, match="Neither the stream nor the spool"), fails:
            intake.take([event()])
    assert names(folder) == []
    assert intake.take([event()]) == ["stream"], "the disk works again"


def test_a_full_spool_refuses_until_there_is_room(broker, folder):
    intake = worker(folder, interactions_spool_mb=1)
    broker.away = True
    for _ in range(MIB // 4096):
        intake.take([event()])
    with pytest.raises(TransientError, match="full"):
        intake.take([event()])
    assert len(names(folder)) == MIB // 4096
    another = worker(folder, interactions_spool_mb=1)
    another.deliver()
    with pytest.raises(TransientError, match="full"):
        another.take([event()])
    broker.away = False
    for one in (another, intake):
        one.deliver()
        assert one.take([event()]) == []
    broker.away = True
    assert intake.take([event()]) == ["stream"]
    assert names(folder, ".tmp") == []


def test_a_lost_folder_refuses_and_does_not_keep_the_way_to_kafka_shut(intake, broker, folder):
    broker.away = True
    folder.rmdir()
    with pytest.raises(TransientError):
        intake.take([event()])
    intake.deliver()
    broker.away = False
    assert intake.take([event()]) == []


def test_files_that_wait_are_counted(intake, broker):
    spooled(intake, broker, event(), event())
    broker.away = True
    intake.deliver()
    assert REGISTRY.get_sample_value("bookworks_spool_files", {"state": "waiting"}) == 2


def test_what_is_written_is_read_the_same():
    batch = outgoing(INTERACTIONS, [event(user_id=f"u{i}") for i in range(1000)])
    assert decoded(encoded(batch), "interactions") == batch


def test_the_reader_reads_its_own_writes_at_once(folder, key, broker):
    platform = FakePlatform(None)
    platform.settings.interactions_spool_dir = folder
    client = TestClient(make_app(platform))
    platform.stream.away = True
    one = {"kind": "loan", "work_id": "w001", "user_id": "u", "event_id": str(uuid.uuid4())}
    before = REGISTRY.get_sample_value("bookworks_interactions_total", {"result": "spooled"}) or 0
    answer = client.post("/v1/interactions", json={"events": [one]}, headers=key)
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "event_ids": [one["event_id"]], "fallbacks": ["stream"]}
    assert client.get("/v1/users/u", headers=key).json()["history"][0]["work_id"] == "w001"
    assert REGISTRY.get_sample_value("bookworks_interactions_total", {"result": "spooled"}) == before + 1
    platform.history.away = True
    answer = client.post("/v1/interactions", json={"events": [one]}, headers=key)
    assert answer.json()["fallbacks"] == ["stream", "history"]
    assert len(names(folder, ".jsonl")) == 2
    platform.history.away = False
    with no_room(10):
        refused = client.post("/v1/interactions", json={"events": [one]}, headers=key)
    is_problem(refused, 503)
    assert refused.headers["Retry-After"]
    assert str(folder) not in refused.text
    (event_kept, *_) = decoded((folder / names(folder)[0]).read_bytes(), "interactions")
    assert json.loads(event_kept.value)["event_id"] == one["event_id"]


def test_who_signs_up_and_what_is_forgotten_wait_on_the_disk_too(platform, client, key, folder, broker):
    platform.settings.interactions_spool_dir = folder
    event = {"kind": "loan", "work_id": "w001", "user_id": "r001"}
    assert client.post("/v1/interactions", json={"events": [event]}, headers=key).status_code == 200
    platform.stream.away = True
    door = {"username": "ada", "password": "a long pass phrase", "country": "DE", "tastes": {"books": ["w005"]}}
    answer = client.post("/v1/auth/signup", json=door)
    assert (answer.status_code, answer.json()["fallbacks"]) == (201, ["stream"])
    ((reader,), (loved,)) = (
        decoded((folder / name).read_bytes(), topic)
        for topic, end in (("readers", ".readers"), ("interactions", ".jsonl"))
        for name in names(folder, end)
    )
    assert json.loads(reader.value)["country"] == "DE"
    assert json.loads(loved.value)["work_id"] == "w005"
    assert reader.key == loved.key == answer.json()["user_id"].encode()
    assert client.delete("/v1/users/r001/history/w001", headers=key).status_code == 204
    assert client.get("/v1/users/r001", headers=key).json()["history"] == []
    worker(folder).deliver()
    told = [(topic, json.loads(value).get("kind")) for topic, _, value, _ in broker.kept]
    assert told[:2] == [("readers", None), ("interactions", "shelve")]
    assert set(told[2:]) == {("interactions", "forget")}
    assert names(folder) == []


@pytest.mark.parametrize(("refused", "other"), [("readers", "interactions"), ("interactions", "readers")])
def test_trouble_of_one_topic_holds_up_no_other(intake, broker, folder, refused, other):
    def sign_up():
        new = Reader(source="service", received_at=datetime.now(UTC), user_id="u")
        return intake.take([event()], new)

    broker.away = True
    assert sign_up() == ["stream"]
    broker.away, broker.refused = False, refused
    for _ in range(2):
        intake.deliver()
    assert [topic for topic, *_ in broker.kept] == [other], "once"
    assert sign_up() == ["stream"]
    intake.deliver()
    assert [topic for topic, *_ in broker.kept] == [other, other]
    assert intake.take([event()]) == (["stream"] if refused == "interactions" else [])
    broker.refused = None
    intake.deliver()
    assert sorted(topic for topic, *_ in broker.kept).count(refused) >= 2
    assert names(folder) == []


def test_an_outage_reads_no_more_than_is_sent_at_once(intake, broker, folder, monkeypatch):
    monkeypatch.setattr(spool, "_TOGETHER", 3)
    spooled(intake, broker, *(event() for _ in range(10)))
    read, broker.away = [], True
    monkeypatch.setattr(
        Spool, "read", lambda own, name, topic, was=Spool.read: read.append(name) or was(own, name, topic)
    )
    intake.deliver()
    assert len(read) == 3


def test_what_kafka_has_is_not_sent_again_with_what_it_has_not(intake, broker, folder):
    spooled(intake, broker, *(batch := [event() for _ in range(5)]))
    broker.left = 2
    intake.deliver()
    assert len(names(folder)) == 3
    broker.left = None
    intake.deliver()
    assert (sorted(broker.ids), names(folder)) == (sorted(ids_of(*batch)), [])


def test_what_waits_is_counted_and_nobody_else_reads_it(platform, client, key, folder):
    platform.settings.interactions_spool_dir, platform.stream.away = folder, True
    before = REGISTRY.get_sample_value("bookworks_fallbacks_total", {"part": "stream"}) or 0
    door = {"username": "ada", "password": "a long pass phrase", "tastes": {"books": ["w005", "w006"]}}
    assert client.post("/v1/auth/signup", json=door).status_code == 201
    assert REGISTRY.get_sample_value("bookworks_fallbacks_total", {"part": "stream"}) == before + 1
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]


def test_nobody_signs_up_where_neither_kafka_nor_the_disk_takes_the_record(platform, client, folder):
    platform.settings.interactions_spool_dir = folder
    platform.stream.away = True
    with no_room(10):
        is_problem(client.post("/v1/auth/signup", json={"username": "ada", "password": "a long pass phrase"}), 503)
    assert (platform.accounts.rows, names(folder)) == ({}, [])


def test_a_folder_that_cannot_be_used_is_said_at_the_start(tmp_path):
    make_spool_folder(settings())
    wanted = tmp_path / "a" / "b"
    for _ in range(2):
        make_spool_folder(settings(interactions_spool_dir=wanted))
    assert wanted.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="BOOKWORKS_INTERACTIONS_SPOOL_DIR"):
        make_spool_folder(settings(interactions_spool_dir=tmp_path / "file"))


def test_an_empty_folder_is_none(monkeypatch):
    monkeypatch.setenv("BOOKWORKS_INTERACTIONS_SPOOL_DIR", "")
    assert settings().interactions_spool_dir is None
