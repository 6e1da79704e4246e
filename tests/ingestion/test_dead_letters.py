"""A dead letter holds all that was refused, or says that it does not; such a one is never sent again."""

from __future__ import annotations

import pytest

from bookworks.contracts.topics import DLQ_HEADERS
from ingestion.dead_letters import MAX_LETTER_BYTES, Letter, Sender
from ingestion.replay import Outcome, _mended, _send
from ingestion.rows import MAX_ROW_BYTES, Refused
from ingestion.sources import book_crossing
from tests.support.fake_stream import load

READER = b'{"schema_version":1,"source":"simulate","received_at":"2025-01-01T00:00:00Z","user_id":"u"}'


@pytest.fixture
def sent(monkeypatch):
    """A sender whose letters are kept here, as value and headers."""
    kept = []
    monkeypatch.setattr(Sender, "__init__", lambda self: None)
    monkeypatch.setattr(Sender, "send", lambda self, topic, value, headers: kept.append((value, dict(headers))))
    return kept


def letter(value, headers):
    return Letter("readers", 0, 0, {name: text.decode() for name, text in headers.items()}, value)


def test_a_letter_that_kafka_takes_is_whole(sent):
    Sender().letter("readers", b"x" * MAX_LETTER_BYTES, reason="too_long")
    ((value, headers),) = sent
    assert len(value) == MAX_LETTER_BYTES
    assert set(headers) == set(DLQ_HEADERS)
    assert not letter(value, headers).truncated


def test_a_longer_one_is_cut_says_so_and_is_not_replayed(sent):
    raw = READER + b" " * MAX_LETTER_BYTES  # its beginning would be a good record
    Sender().letter("readers", raw, reason="too_long")
    cut = letter(*sent[0])
    assert len(cut.raw) == MAX_LETTER_BYTES
    assert cut.headers["truncated"] == str(len(raw))
    with pytest.raises(Refused, match=f"beginning of {len(raw)} bytes"):
        _mended(cut)


@pytest.mark.parametrize("kind", ["books", "tags", "book_tags"])
def test_a_row_whose_record_needs_look_up_files_is_not_replayed_without_them(kind):
    row = b"1,77,,5,,,,B,2008.0,,A,en" + b"," * 11  # today a good book: its tags are what the letter lacks
    headers = {"source_file": f"goodbooks-10k/{kind}", "reason": "no_title"}
    outcome = Outcome()
    assert not _send(None, None, Letter("catalogue", 0, 0, headers, row), outcome)
    assert outcome.reasons == {"needs_look_up_files": 1}
    assert "load the folder again" in outcome.details["needs_look_up_files"]


def test_a_row_of_the_same_source_that_needs_none_is_replayed():
    headers = {"source_file": "goodbooks-10k/ratings", "reason": "mended"}
    value, key = _mended(Letter("interactions", 0, 0, headers, b"3,1,4"))
    assert (b'"value":8.0' in value, key) == (True, b"goodbooks:3")


def test_a_row_joined_over_lines_is_kept_whole(tmp_path):
    half = b"x" * (MAX_ROW_BYTES - 100)
    row = b'"0449003787";"' + half + b"\n" + half + b'";"B";"1999";"P";"s";"m";"l"'
    (tmp_path / "BX-Books.csv").write_bytes(book_crossing.SOURCE.kinds[0].header[0] + b"\r\n" + row + b"\r\n")
    (tmp_path / "BX-Users.csv").write_bytes(b'"User-ID";"Location";"Age"\r\n')
    (tmp_path / "BX-Book-Ratings.csv").write_bytes(b'"User-ID";"ISBN";"Book-Rating"\r\n')
    sender, _ = load(tmp_path)
    assert [raw for _, raw, _ in sender.letters] == [row]
