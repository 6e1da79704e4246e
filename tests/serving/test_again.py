"""Answers that are given again: when, and when not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from bookworks import clock
from serving import again, policy
from serving.rules import Rules
from tests.serving.fakes import FakePlatform

EVENT = {"user_id": "r001", "kind": "click", "work_id": "w050"}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The readers for whom a slate was made, not given again."""
    from serving import pipeline

    readers, real = [], pipeline.recommend

    def counted(served, user_id, *rest, **more):
        readers.append(user_id)
        return real(served, user_id, *rest, **more)

    monkeypatch.setattr(pipeline, "recommend", counted)
    return readers


def ask(client: TestClient, key: dict[str, str], **fields: object) -> dict:
    answer = client.post("/v1/recommend", json={"user_id": "r001"} | fields, headers=key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_same_question_has_the_same_answer_under_another_decision(client, platform, key, made) -> None:
    first, second = (ask(client, key, surface=surface) for surface in ("home", "mail"))
    assert first["decision_id"] != second["decision_id"]
    assert {**first, "decision_id": 0} == {**second, "decision_id": 0}
    assert made == ["r001"]
    told = [(str(one.decision_id), one.surface, one.tier) for one in platform.decisions.kept]
    assert told == [(first["decision_id"], "home", "warm"), (second["decision_id"], "mail", "warm")]
    again = client.get(f"/v1/decisions/{second['decision_id']}", headers=key).json()
    assert again["answer"] == second


@pytest.mark.parametrize(
    "fields",
    [{"n": 9}, {"user_id": "r002"}, {"exclude": ["w001"]}, {"explain": True}, {"filters": {"year_from": 1990}}],
)
def test_another_question_is_answered_anew(client, key, made, fields) -> None:
    ask(client, key)
    ask(client, key, **fields)
    assert len(made) == 2


def test_what_the_reader_does_counts_in_the_very_next_answer(client, key, made) -> None:
    before = ask(client, key)
    best = before["items"][0]["work_id"]
    client.post("/v1/interactions", json={"events": [EVENT | {"work_id": best}]}, headers=key)
    after = ask(client, key)
    assert best not in [item["work_id"] for item in after["items"]]
    client.post("/v1/interactions", json={"events": [EVENT | {"kind": "dismiss"}]}, headers=key)
    ask(client, key)
    assert len(made) == 3


def test_a_part_that_is_away_is_told_each_time_and_nothing_of_it_is_kept(client, platform, key, made) -> None:
    ask(client, key)
    platform.history.away = True
    assert [ask(client, key)["fallbacks"] for _ in range(2)] == [["history"]] * 2
    platform.history.away = False
    assert ask(client, key)["fallbacks"] == []
    assert len(made) == 3  # the first is still there


def test_another_bundle_other_rules_and_other_vectors_answer_for_themselves(client, platform, key, made) -> None:
    served = platform.bundles.current
    for other in (served, replace(served), replace(served, vectors=None)):
        platform.bundles.current = other
        ask(client, key)
    assert len(made) == 3


def test_the_ranker_is_asked_again_on_another_day(client, platform: FakePlatform, key, made, monkeypatch) -> None:
    now = datetime(2026, 3, 30, 12, tzinfo=UTC)
    platform.history.readers["r001"] = replace(platform.history.read("r001"), history=["w050"], latest_at=now)
    for days in (0, 0.5, 1, 2):
        monkeypatch.setattr(clock, "now", lambda days=days: now + timedelta(days=days))
        ask(client, key)
    assert len(made) == 3


def test_a_new_year_is_another_question(client, key, made, monkeypatch) -> None:
    for now in (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)):
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        ask(client, key)
    assert len(made) == 2


def test_what_is_kept_is_bounded_in_bytes_however_large_the_request_is(client, platform, key) -> None:
    answers = platform.bundles.current.answers
    for i in range(5):
        ask(client, key, n=50, exclude=[f"{i}-{'x' * 190}-{j}" for j in range(500)])
    kept = answers._kept
    assert all(len(one) == 16 for one in kept)
    assert kept.currsize == sum(one.size for one in kept.values()) < 5 * 200_000
    assert kept.maxsize == again.KEPT_BYTES


@pytest.mark.parametrize("rules", [{"exploration": {"share": 0.3}}, {"recently_shown": {"places": 3}}])
def test_what_is_drawn_or_fades_is_made_anew(client, platform, key, made, rules) -> None:
    served = platform.bundles.current
    ruled = policy.Policy.model_validate(rules)
    platform.bundles.current = replace(served, rules=Rules.of(ruled, served.bundle, served.catalogue))
    for _ in range(2):
        ask(client, key)
    assert len(made) == 2


def test_pages_and_visitors_are_not_kept(client, key, made) -> None:
    first = ask(client, key, n=5)
    for _ in range(2):
        ask(client, key, n=5, cursor=first["next"])
    for _ in range(2):
        client.post("/v1/recommend", json={"session": {"history": ["w003"]}}, headers=key).raise_for_status()
    assert len(made) == 5
