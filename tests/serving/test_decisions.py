"""A decision again, and why a book is not in a slate, over HTTP."""

import json
import uuid
from dataclasses import replace

import numpy as np
import pytest

from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.online import DAY_S
from bookworks.models.bundle import Order
from serving import pipeline
from serving.whynot import _rank
from tests.serving.test_api import bearer, is_problem, under


def recommend(client, key, **fields):
    return client.post("/v1/recommend", json={"user_id": "r001", "n": 10} | fields, headers=key).json()


def why_not(client, key, book, **fields):
    answer = client.post("/v1/why-not", json={"user_id": "r001", "n": 10, "book": book} | fields, headers=key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rules_of(answer):
    return [(reason["step"], reason["rule"]) for reason in answer["reasons"]]


def test_a_decision_is_found_again_exactly_with_what_made_it(client, platform, key):
    platform.history.readers["r001"] = OnlineReader(history=["w003"], weights={"w003": 1.0})
    under(platform, limits={"author": 1}, blocked=[{"name": "no poems", "subjects": ["poetry"]}])
    answer = recommend(client, key, explain=True, filters={"year_from": 1980}, context={"device": "phone"})
    again = client.get(f"/v1/decisions/{answer['decision_id']}", headers=key).json()
    assert again["answer"] == answer
    assert again["request"] == {
        "user_id": "r001", "explain": True, "filters": {"year_from": 1980}, "context": {"device": "phone"},
    }  # fmt: skip
    assert again["rules"]["limits"] == {"author": 1, "series": 1}
    assert again["rules"]["blocked"] == ["no poems"]
    explained = {item["work_id"]: item["explanation"] for item in answer["items"] if item["explanation"]}
    assert explained
    assert again["explanations"] == explained, "the kept features lead to the same explanation"
    assert set(again["features"]) == set(explained)
    names = platform.bundles.current.bundle.ranker.trees.names
    assert all(list(features) == names for features in again["features"].values())


def test_what_a_bundle_that_serves_no_more_has_decided_is_told_without_its_features(client, platform, key):
    platform.history.readers["r001"] = OnlineReader(history=["w003"], weights={"w003": 1.0})
    answer = recommend(client, key)
    served = platform.bundles.current
    bundle = served.bundle.with_blend(served.bundle.blend)
    bundle.manifest = served.bundle.manifest.model_copy(update={"version": "another"})
    platform.bundles.current = replace(served, bundle=bundle)
    again = client.get(f"/v1/decisions/{answer['decision_id']}", headers=key).json()
    assert (again["answer"], again["features"], again["explanations"]) == (answer, {}, {})
    platform.bundles.current = None
    assert client.get(f"/v1/decisions/{answer['decision_id']}", headers=key).json()["answer"] == answer


def test_a_reader_finds_its_own_decisions_and_no_others(client, platform, key):
    path = f"/v1/decisions/{recommend(client, key)['decision_id']}"
    assert client.get(path, headers=bearer(platform, "r001")).status_code == 200
    other = is_problem(client.get(path, headers=bearer(platform, "r002")), 404, field="path.decision_id")
    assert "r001" not in json.dumps(other)
    is_problem(client.get(f"/v1/decisions/{uuid.uuid4()}", headers=key), 404)
    is_problem(client.get("/v1/decisions/5", headers=key), 422, field="path.decision_id")
    is_problem(client.get(path), 401)
    platform.kept.away = True
    is_problem(client.get(path, headers=key), 503)


def test_why_not_agrees_with_the_slate_on_every_book(client, platform, key):
    platform.history.readers["r001"] = OnlineReader(
        history=["w003", "w008"], weights={"w003": 1.0, "w008": 0.5}, seen={"w020"}, dismissed={"w021"}
    )
    under(platform, limits={"author": 1, "publisher": 3}, series_in_order=True)
    slate = recommend(client, key)
    positions = {item["work_id"]: item["position"] for item in slate["items"]}
    scores = {item["work_id"]: item["score"] for item in slate["items"]}
    ranks = {}
    for i in range(120):
        told = why_not(client, key, f"w{i:03d}")
        assert told["shown"] is (told["work_id"] in positions)
        assert told["position"] == positions.get(told["work_id"])
        assert bool(told["reasons"]) is not told["shown"], told
        if told["shown"]:
            assert told["score"] == pytest.approx(scores[told["work_id"]], abs=2e-6)
        if told["rank"] is not None:
            ranks[told["rank"]] = told
    assert sorted(ranks) == list(range(1, 117)), "120 works less two read, one owned and one sent away"
    assert {step for told in ranks.values() for step, _ in rules_of(told)} == {"candidates", "rules"}
    assert platform.decisions.kept[1:] == [], "asking why is no decision"


def test_why_not_names_what_hides_a_book(client, platform, key):
    platform.history.readers["r001"] = OnlineReader(
        history=["w003-e0"], weights={"w003-e0": 1.0}, dismissed={"w021"}, profile={"birth_year": "2015"}
    )
    under(platform, blocked=[{"name": "grown-ups", "subjects": ["crime"], "under_age": 18}])
    assert rules_of(why_not(client, key, "no such book")) == [("catalogue", "unknown")]
    assert rules_of(why_not(client, key, "w003-e1")) == [("history", "looked_at")]
    platform.history.readers["r001"].seen.add("w003-e0")
    assert rules_of(why_not(client, key, "w003-e1")) == [("history", "read")]
    assert rules_of(why_not(client, key, "w021")) == [("history", "dismissed")]
    assert rules_of(why_not(client, key, "w005")) == [("blocked", "grown-ups")]
    filters = {"authors": ["Author 1"], "year_to": 1950, "languages": ["en"]}
    everything = why_not(client, key, "w005", exclude=["w005-e0"], filters=filters)
    assert rules_of(everything) == [
        ("request", "exclude"), ("filters", "authors"), ("filters", "year_to"), ("blocked", "grown-ups"),
    ]  # fmt: skip
    assert (everything["work_id"], everything["title"], everything["rank"]) == ("w005", "Title 5", None)


def test_why_not_tells_of_twins(client, platform, key):
    catalogue = platform.bundles.current.catalogue
    catalogue.twin_keys[3] = catalogue.twin_keys[7] = "twins"
    catalogue.indices_of_twin["twins"] = [3, 7]
    platform.history.readers["r001"] = OnlineReader(history=["w003"], weights={"w003": 1.0})
    assert rules_of(why_not(client, key, "w007")) == [("history", "twin_of_read")]
    platform.history.readers["r001"] = OnlineReader(dismissed={"w003"})
    assert rules_of(why_not(client, key, "w007")) == [("history", "twin_of_dismissed")]
    platform.history.readers.clear()
    assert rules_of(why_not(client, key, "w007", exclude=["w003"])) == [("request", "exclude")]
    shown = why_not(client, key, "w003", n=100), why_not(client, key, "w007", n=100)
    assert [told["shown"] for told in shown].count(True) == 1
    (hidden,) = [told for told in shown if not told["shown"]]
    assert ("rules", "twin_of_shown") in rules_of(hidden)


def test_why_not_names_limits_volumes_places_and_what_was_moved(client, platform, key):
    under(platform, limits={"author": 1}, series_in_order=True, relax=[])
    first = recommend(client, key, n=1)["items"][0]
    same_author = f"w{(int(first['work_id'][1:]) + 15) % 120:03d}"
    told = why_not(client, key, same_author, n=1)
    assert ("rules", "author") in rules_of(told)
    assert told["reasons"][-1]["detail"] == "The slate has its 1 of this author"
    volume = why_not(client, key, "w018", n=10, filters={"year_from": 1968, "year_to": 1970})
    assert rules_of(volume) == [("rules", "series_in_order")]
    assert volume["reasons"][0]["detail"] == "Earlier volumes are not read: 1"
    under(platform)
    order = [item["work_id"] for item in recommend(client, key, n=100)["items"]]
    last = why_not(client, key, order[50], n=10)
    assert last["rank"] > 10
    assert rules_of(last)[0][1] in {"beyond_slate", "not_a_candidate"}
    under(platform, recently_shown={"places": 100})
    now_ms = pipeline.clock.now().timestamp() * 1000
    platform.history.readers["r001"] = OnlineReader(shown={order[0]: now_ms})
    moved = why_not(client, key, order[0], n=10)
    assert (moved["rank"], rules_of(moved)[0]) == (1, ("rank", "moved_back"))
    platform.history.readers["r001"] = OnlineReader(shown={order[0]: now_ms - 60 * DAY_S * 1000})
    assert why_not(client, key, order[0], n=10)["shown"]


def test_the_draw_is_left_aside(client, platform, key):
    plain = [item["work_id"] for item in recommend(client, key)["items"]]
    under(platform, exploration={"share": 0.5, "pool": 30})
    assert all(why_not(client, key, work)["shown"] for work in plain)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_id": "u"}, "body.book"),
        ({"user_id": "u", "book": ""}, "body.book"),
        ({"user_id": "u", "book": "w001", "cursor": "x"}, "body"),
    ],
)
def test_a_malformed_question_names_the_field(client, key, body, field):
    is_problem(client.post("/v1/why-not", json=body, headers=key), 422, field=field)
    is_problem(client.post("/v1/why-not", json={"book": "w001"}, headers=key), 403, field="body.user_id")


def test_without_the_ranker_there_are_no_candidates(client, platform, key):
    served = platform.bundles.current
    platform.bundles.current = replace(served, bundle=served.bundle.with_blend(served.bundle.blend))
    assert why_not(client, key, "w001")["candidate"] is None
    answer = recommend(client, key)
    again = client.get(f"/v1/decisions/{answer['decision_id']}", headers=key).json()
    assert (again["features"], again["explanations"]) == ({}, {})


def test_ranks_count_ties_as_the_order_does():
    order = Order(np.arange(4), np.array([0.5, 0.9, 0.5, -np.inf], dtype=np.float32))
    assert [_rank(order, i) for i in order.first(4)] == [1, 2, 3]
