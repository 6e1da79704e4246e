"""The generated world: same bytes for the same seed, valid records, known truth that shows in the events."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from bookworks.contracts.records import RECORD_OF_TOPIC
from bookworks.errors import SettingError
from bookworks.isbn import to_isbn13
from bookworks.streaming import read_record
from simulation import vocabulary
from simulation.generate import AUTHORS_A_WORK, Options, generate
from simulation.text import garble
from simulation.world import _title_parts, make_works
from tests.support.fake_stream import load

SMALL = Options(works=400, readers=300, events=15_000, seed=3)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    generate(SMALL, folder)
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def truth(folder, name):
    with (folder / "truth" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_same_seed_gives_the_same_bytes_and_another_seed_others(world, tmp_path):
    generate(SMALL, tmp_path / "again")
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    assert len(files) == 9
    assert all((world / f).read_bytes() == (tmp_path / "again" / f).read_bytes() for f in files)
    generate(Options(works=400, readers=300, events=15_000, seed=4), tmp_path / "other")
    assert (world / "interactions.jsonl").read_bytes() != (tmp_path / "other" / "interactions.jsonl").read_bytes()


def test_counts_are_exact_and_every_line_keeps_the_contract(world):
    for topic, name in (("catalogue", "catalogue"), ("readers", "readers"), ("interactions", "interactions")):
        for line in (world / f"{name}.jsonl").read_bytes().splitlines():
            assert isinstance(read_record(topic, line), RECORD_OF_TOPIC[topic])
    events = lines(world / "interactions.jsonl")
    assert len(events) == len({event["event_id"] for event in events}) == SMALL.events
    assert len(lines(world / "readers.jsonl")) == SMALL.readers
    times = [event["occurred_at"] for event in events]
    assert times == sorted(times)
    assert times[0] < "2025-07-10"
    assert times[-1] > "2025-12-01"


def test_editions_vary_in_every_known_way_and_belong_to_one_work_each(world):
    editions, catalogue = truth(world, "editions.csv"), lines(world / "catalogue.jsonl")
    assert [row["edition_id"] for row in editions] == [row["edition_id"] for row in catalogue]
    assert len({row["edition_id"] for row in editions}) == len(editions) > SMALL.works
    assert len({row["work_id"] for row in editions}) == SMALL.works
    variants = {v for row in editions for v in row["variants"].split()}
    assert variants == {"subtitle", "series", "typo", "translation", "mojibake", "no_author", "author_reversed",
                        "html", "upper"}  # fmt: skip
    isbns = [row["isbn"] for row in catalogue if row["isbn"]]
    assert all(to_isbn13(isbn) for isbn in isbns)
    assert all(
        row["author"] is None for row, t in zip(catalogue, editions, strict=True) if "no_author" in t["variants"]
    )


@pytest.mark.parametrize(("kind", "broken"), [(0, "Ã¼"), (1, "Ã\x83Â¼"), (2, "Ã¼"), (3, "?¼")])
def test_mojibake_is_of_the_real_kinds(kind, broken):
    assert garble("ü", kind) == broken
    assert garble("plain", kind) == "plain"


def test_clicks_follow_position_and_ratings_follow_taste(tmp_path):
    generate(Options(works=800, readers=600, events=60_000, seed=9), tmp_path)
    events = lines(tmp_path / "interactions.jsonl")
    shown = Counter(e["position"] for e in events if e["kind"] == "impression")
    clicked = Counter(e["position"] for e in events if e["kind"] == "click")
    rate = [clicked[p] / shown[p] for p in range(10)]
    known = [float(row["examination"]) for row in truth(tmp_path, "position_bias.csv")]
    assert np.corrcoef(rate, known)[0, 1] > 0.95
    work_of = {row["edition_id"]: row["work_id"] for row in truth(tmp_path, "editions.csv")}
    genres = [f"g{i}" for i in range(12)]
    works = {r["work_id"]: np.array([float(r[g]) for g in genres]) for r in truth(tmp_path, "works.csv")}
    tastes = {r["user_id"]: np.array([float(r[f"end_{g}"]) for g in genres]) for r in truth(tmp_path, "readers.csv")}
    ratings = [e for e in events if e["kind"] == "rating"]
    likes = [tastes[e["user_id"]] @ works[work_of[e["edition_id"]]] for e in ratings]
    assert np.corrcoef(likes, [e["value"] for e in ratings])[0, 1] > 0.5


def test_neighbours_of_what_was_read_beat_popularity(tmp_path):
    """Books are learnable: the plain item-item filter finds far more of what is read next than the most popular."""
    generate(Options(works=800, readers=600, events=60_000, seed=9), tmp_path)
    work_of = {row["edition_id"]: row["work_id"] for row in truth(tmp_path, "editions.csv")}
    read = [(e["user_id"], work_of[e["edition_id"]]) for e in lines(tmp_path / "interactions.jsonl")
            if e["kind"] in ("rating", "shelve", "loan", "purchase")]  # fmt: skip
    users, works = ({name: i for i, name in enumerate(sorted({r[k] for r in read}))} for k in (0, 1))
    cut = int(0.85 * len(read))
    seen, later = np.zeros((len(users), len(works)), np.float32), defaultdict(set)
    for user, work in read[:cut]:
        seen[users[user], works[work]] = 1
    for user, work in read[cut:]:
        later[users[user]].add(works[work])
    popularity = seen.sum(axis=0)
    weighted = seen / np.sqrt(np.maximum(seen.sum(axis=1, keepdims=True), 1)) / np.sqrt(np.maximum(popularity, 1))

    def recall_at_20(scores):
        top = np.argsort(-np.where(seen > 0, -np.inf, scores), axis=1)[:, :20]
        return np.mean([len(new & set(top[u])) / min(20, len(new)) for u, new in later.items()])

    assert recall_at_20(seen @ (weighted.T @ weighted)) > 1.7 * recall_at_20(np.broadcast_to(popularity, seen.shape))


def test_every_dirty_line_is_refused_and_no_other(tmp_path):
    generate(Options(works=100, readers=80, events=2_000, seed=2, dirt=0.05), tmp_path)
    sender, report = load(tmp_path, "simulate")
    expected = {(row["file"], int(row["line"])) for row in truth(tmp_path, "dirt.csv")}
    names = {"catalogue": "catalogue.jsonl", "readers": "readers.jsonl", "interactions": "interactions.jsonl"}
    refused = {(names[topic], headers["source_line"]) for topic, _, headers in sender.letters}
    assert refused == expected
    assert {row["reason"] for row in truth(tmp_path, "dirt.csv")} > {"truncated", "not_utf8"}
    assert sum(file.sent for file in report.files if file.topic == "interactions") == 2_000


@pytest.mark.parametrize(
    "options", [Options(works=1), Options(readers=0), Options(events=0), Options(dirt=2.0), Options(days=0)]
)
def test_impossible_worlds_are_refused_in_words(options, tmp_path):
    with pytest.raises(SettingError, match=r"out of range.*Allowed"):
        generate(options, tmp_path)


def test_too_many_events_for_so_few_readers_are_refused(tmp_path):
    with pytest.raises(SettingError, match="do not make so many events"):
        generate(Options(works=50, readers=2, events=100_000), tmp_path)


def test_words_never_end_and_are_told_apart():
    for make in (vocabulary.surname, vocabulary.first_name, vocabulary.place, vocabulary.noun):
        made = {make(k) for k in range(20_000)} | {make(vocabulary.MOST - 1)}
        assert len(made) > 0.98 * 20_000
        assert all(word and word[0].isupper() for one in made for word in ((one,) if isinstance(one, str) else one))
    nouns = [vocabulary.noun(k) for k in range(5_000)]
    assert all(len({noun[language] for noun in nouns}) > 4_900 for language in range(4))  # so it can be translated


def test_a_larger_catalogue_has_more_names_and_titles_as_real_ones_do():
    """Book-Crossing: 42,111 records, 18,289 authors with 10,811 surnames, 1.96 works each, 75 % of them with one."""
    works = make_works(36_000, np.random.default_rng(1), AUTHORS_A_WORK * 36_000)
    count = np.bincount(works.author)
    surnames = Counter(name.rpartition(" ")[2] for name in works.author_names)
    assert len(set(works.author_names)) == len(works.author_names) == len(count)
    assert 1.8 < count.mean() < 2.5
    assert 0.65 < (count == 1).mean() < 0.8
    assert 0.002 < count.max() / len(works) < 0.006
    assert 1.5 < len(count) / len(surnames) < 2.1
    assert 0.002 < surnames.most_common(1)[0][1] / len(count) < 0.008
    small = make_works(3_600, np.random.default_rng(1), AUTHORS_A_WORK * 3_600)
    nouns = [len(np.unique(one.nouns)) for one in (small, works)]
    assert 4 < nouns[1] / nouns[0] < 8  # Heaps' law: ten times the titles, 10 ** 0.77 times the words


def test_an_author_of_thousands_of_works_still_gets_titles():
    parts = _title_parts(5_000, np.zeros(5_000, np.int64), np.random.default_rng(1))
    assert len(parts["pattern"]) == 5_000
