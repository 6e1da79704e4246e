"""Pages over HTTP, and cursors that are none of ours."""

from dataclasses import replace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import cursor
from serving.problems import Problem
from tests.serving.fakes import settings
from tests.serving.test_api import bearer, is_problem

OURS = settings()
UNHURRIED = hypothesis.settings(deadline=None)


def ask(client, key, **fields):
    return client.post("/v1/recommend", json={"user_id": "r001", "n": 30} | fields, headers=key)


def works(answer):
    return [item["work_id"] for item in answer["items"]]


@UNHURRIED
@given(st.text(max_size=50).filter(lambda text: text.isprintable()), st.lists(st.integers(0, 2**24 - 1), max_size=50))
def test_a_cursor_gives_back_what_went_in(user_id, rest):
    assert cursor.opened(OURS, "v", cursor.sealed(OURS, "v", user_id, rest)) == (user_id, rest)


def test_five_hundred_works_fit_a_request():
    assert len(cursor.sealed(OURS, "v", "ü" * 200, range(500))) < 4000


@UNHURRIED
@given(st.data())
def test_a_changed_cursor_is_refused(data):
    sealed = cursor.sealed(OURS, "v", "u", [1, 2, 3])
    place = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_ é\x00"))
    changed = sealed[:place] + letter + sealed[place + 1 :]
    if changed != sealed and place < len(sealed) - 1:  # the last letter has bits that mean nothing
        with pytest.raises(Problem) as caught:
            cursor.opened(OURS, "v", changed)
        assert caught.value.status == 403


@UNHURRIED
@given(st.text(max_size=100))
def test_any_text_is_a_callers_mistake(text):
    with pytest.raises(Problem) as caught:
        cursor.opened(OURS, "v", text)
    assert caught.value.status == 403


def test_pages_go_on_to_the_end_and_an_earlier_read_changes_none(client, platform, key):
    first = ask(client, key).json()
    clicked = first["items"][0]["work_id"]
    event = {"kind": "loan", "work_id": clicked, "user_id": "r001"}
    client.post("/v1/interactions", json={"events": [event]}, headers=key)
    shown, answer = works(first), first
    while answer["next"] is not None:
        answer = ask(client, key, cursor=answer["next"]).json()
        shown += works(answer)
    assert len(shown) == len(set(shown)) == 120
    assert len({str(one.decision_id) for one in platform.decisions.kept}) == len(platform.decisions.kept)


def test_a_filtered_list_pages_within_its_filter(client, key):
    filters = {"subjects": ["crime"]}
    first = ask(client, key, n=20, filters=filters).json()
    second = ask(client, key, n=20, cursor=first["next"]).json()
    assert second["next"] is None
    assert {int(work[1:]) % 5 for work in works(first) + works(second)} == {0}
    assert len(set(works(first) + works(second))) == 24
    is_problem(ask(client, key, cursor=first["next"], filters=filters), 422, field="body")


def test_a_visitors_pages_keep_its_name(client, platform, key):
    session = {"session": {"history": ["w003"]}, "n": 10}
    first = client.post("/v1/recommend", json=session, headers=key).json()
    second = client.post("/v1/recommend", json=session | {"cursor": first["next"]}, headers=key).json()
    assert second["user_id"] == first["user_id"]
    assert second["decision_id"] != first["decision_id"]
    assert not set(works(first)) & set(works(second))


def test_a_foreign_a_broken_and_an_outdated_cursor(client, platform, key):
    token = ask(client, key).json()["next"]
    for wrong in (token[:-20], "x", "é", token + "AAAA"):
        is_problem(ask(client, key, cursor=wrong), 403, field="body.cursor")
    is_problem(ask(client, key, cursor=""), 422, field="body.cursor")
    is_problem(ask(client, key, cursor="x" * 4001), 422, field="body.cursor")
    is_problem(ask(client, key, cursor=token, user_id="r002"), 403, field="body.cursor")
    own = client.post("/v1/recommend", json={"cursor": token}, headers=bearer(platform, "r002"))
    is_problem(own, 403, field="body.cursor")
    visitor = client.post("/v1/recommend", json={"cursor": token, "session": {}}, headers=key)
    is_problem(visitor, 403, field="body.cursor")
    served = platform.bundles.current
    manifest = served.bundle.manifest
    bundle = served.bundle.with_blend(served.bundle.blend)
    bundle.manifest = manifest.model_copy(update={"version": "another"})
    platform.bundles.current = replace(served, bundle=bundle)
    assert "first page" in is_problem(ask(client, key, cursor=token), 410, field="body.cursor")["todo"]
