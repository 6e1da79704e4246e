"""Every endpoint over HTTP, in this process, with stand-ins for the servers."""

import json
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from bookworks import clock
from serving import auth, door, routes, schemas
from serving.app import make_app
from serving.middleware import BODY_MAX, BodyLimit, endpoint_of
from serving.policy import Policy
from serving.rules import Rules
from tests.serving.fakes import KEY, FakePlatform
from tests.serving.test_auth import WRONG

PROTECTED = [
    ("POST", "/v1/recommend", {"user_id": "r001"}),
    ("POST", "/v1/interactions", {"events": [{"kind": "click", "work_id": "w001", "user_id": "r001"}]}),
    ("GET", "/v1/users/r001", None),
    ("POST", "/v1/why-not", {"user_id": "r001", "book": "w001"}),
]
FOR_SERVICES = [("GET", "/v1/models/current", None)]


def bearer(platform, user_id):
    return {"Authorization": f"Bearer {auth.issue(platform.settings, user_id)[0]}"}


def is_problem(answer, status, **members):
    body = answer.json()
    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["detail"]
    assert status >= 500 or body["allowed"], body
    for name, value in members.items():
        assert body[name] == value
    return body


@pytest.mark.parametrize(("method", "path", "body"), PROTECTED + FOR_SERVICES)
def test_without_a_token_or_with_a_wrong_one(client, method, path, body):
    is_problem(client.request(method, path, json=body), 401)
    is_problem(client.request(method, path, json=body, headers={"X-API-Key": "wrong"}), 401)
    is_problem(client.request(method, path, json=body, headers={"X-API-Key": ""}), 401)
    is_problem(client.request(method, path, json=body, headers={"Authorization": "Basic dTpw"}), 401)
    for token in WRONG.values():
        headers = {"Authorization": f"Bearer {token}", "X-API-Key": KEY}
        assert "WWW-Authenticate" in client.request(method, path, json=body, headers=headers).headers
        is_problem(client.request(method, path, json=body, headers=headers), 401)


@pytest.mark.parametrize(("method", "path", "body"), PROTECTED)
def test_another_readers_token_is_refused_and_the_own_one_and_a_service_are_not(
    client, platform, key, method, path, body
):
    is_problem(client.request(method, path, json=body, headers=bearer(platform, "r002")), 403)
    assert client.request(method, path, json=body, headers=bearer(platform, "r001")).status_code == 200
    assert client.request(method, path, json=body, headers=key).status_code == 200
    assert len(platform.stream.events) in {0, 2}


def test_an_explanation_is_given_when_asked_for(client, key):
    body = {"user_id": "r001", "n": 5}
    client.post(
        "/v1/interactions", json={"events": [{"user_id": "r001", "kind": "click", "work_id": "w003"}]}, headers=key
    )
    plain, told = (client.post("/v1/recommend", json=body | {"explain": e}, headers=key).json() for e in (False, True))
    assert [item["work_id"] for item in plain["items"]] == [item["work_id"] for item in told["items"]]
    assert {item["explanation"] for item in plain["items"]} == {None}
    for item in told["items"]:
        added = item["explanation"]["contributions"]
        assert 0 < item["explanation"]["probability"] < 1
        assert [abs(value) for value in added.values()] == sorted(map(abs, added.values()), reverse=True)
    is_problem(client.post("/v1/recommend", json=body | {"explain": "perhaps"}, headers=key), 422)


def test_a_recommendation_says_how_it_came_about_and_is_told_to_the_stream(client, platform, key):
    body = client.post("/v1/recommend", json={"user_id": "r001", "n": 5, "surface": "email"}, headers=key).json()
    assert uuid.UUID(body["decision_id"]).version == 7
    assert body["bundle_version"] == platform.bundles.current.version
    assert (body["tier"], body["fallbacks"], len(body["items"])) == ("warm", [], 5)
    first = body["items"][0]
    assert first["title"].startswith("Title")
    assert first["author"].startswith("Author")
    assert set(first["reasons"]) <= set(first["sources"])
    assert [item["position"] for item in body["items"]] == list(range(5))
    (kept,) = platform.decisions.kept
    assert str(kept.decision_id) == body["decision_id"]
    assert (kept.user_id, kept.surface, kept.n, kept.tier) == ("r001", "email", 5, "warm")
    assert [item.work_id for item in kept.items] == [item["work_id"] for item in body["items"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 0}, "body.n"),
        ({"n": 101}, "body.n"),
        ({"n": "five"}, "body.n"),
        ({"user_id": ""}, "body.user_id"),
        ({"user_id": "x" * 201}, "body.user_id"),
        ({"user_id": "a\nb"}, "body.user_id"),
        ({"user_id": 5}, "body.user_id"),
        ({"surface": None}, "body.surface"),
        ({"exclude": "w001"}, "body.exclude"),
        ({"exclude": ["w"] * 1001}, "body.exclude"),
        ({"number": 5}, "body.number"),
        ({"cursor": 5}, "body.cursor"),
        ({"filters": {"language": "en"}}, "body.filters.language"),
        ({"filters": {"languages": "en"}}, "body.filters.languages"),
        ({"filters": {"authors": [""]}}, "body.filters.authors.0"),
        ({"filters": {"subjects": ["s"] * 21}}, "body.filters.subjects"),
        ({"filters": {"year_from": "old"}}, "body.filters.year_from"),
        ({"filters": {"year_from": True}}, "body.filters.year_from"),
        ({"session": {"history": ["w001"] * 101}}, "body.session.history"),
        ({"session": {"books": []}}, "body.session.books"),
        ({"context": {"Device Name": "x"}}, "body.context.Device Name.[key]"),
        ({"context": {"device": 5}}, "body.context.device"),
        ({"context": {f"k{i}": "x" for i in range(21)}}, "body.context"),
        ([], "body"),
    ],
)
def test_a_malformed_recommend_request_names_the_field(client, key, body, field):
    is_problem(client.post("/v1/recommend", json=body, headers=key), 422, field=field)


def test_filters_narrow_a_slate_and_notes_tell_what_no_book_has(client, key):
    filters = {"authors": ["Author 3", "Nobody"], "subjects": ["history"], "year_from": 1960}
    body = client.post("/v1/recommend", json={"user_id": "u", "n": 20, "filters": filters}, headers=key).json()
    assert {item["author"] for item in body["items"]} == {"Author 3"}
    assert [item["year"] for item in body["items"] if item["year"] < 1960] == []
    assert len(body["items"]) == len([i for i in range(120) if i % 15 == 3 and i >= 10])
    assert [(note["field"], note["received"]) for note in body["notes"]] == [("body.filters.authors.1", "Nobody")]
    none = client.post("/v1/recommend", json={"user_id": "u", "filters": {"languages": ["xx"]}}, headers=key)
    assert (none.status_code, none.json()["items"]) == (200, [])
    assert none.json()["notes"][0]["field"] == "body.filters.languages.0"


def test_a_visitor_is_recommended_books_by_its_session_and_context_is_kept(client, platform, key):
    session = {"history": ["w003", "w008-e0", "nothing", "w003"]}
    body = {"session": session, "context": {"device": "phone", "locale": "de-DE"}}
    answer = client.post("/v1/recommend", json=body, headers=key).json()
    assert (answer["tier"], answer["user_id"]) == ("session", f"visitor-{answer['decision_id']}")
    assert {"w003", "w008"} & {item["work_id"] for item in answer["items"]} == set()
    assert [(note["field"], note["received"]) for note in answer["notes"]] == [("body.session.history.2", "nothing")]
    assert platform.history.readers == {}
    assert platform.decisions.kept[-1].context == body["context"]
    known = {"user_id": "new", "n": 10}
    for work in ("w008", "w003"):
        event = {"kind": "loan", "work_id": work, "user_id": "new"}
        client.post("/v1/interactions", json={"events": [event]}, headers=key)
    same = client.post("/v1/recommend", json=known, headers=key).json()
    assert [item["work_id"] for item in same["items"]] == [item["work_id"] for item in answer["items"]]
    nobody = client.post("/v1/recommend", json={"session": {}}, headers=key).json()
    assert nobody["tier"] == "cold"


def under(platform, **policy):
    one = platform.bundles.current
    platform.bundles.current = replace(one, rules=Rules.of(Policy.model_validate(policy), one.bundle, one.catalogue))


def test_an_answer_tells_what_was_drawn_put_forward_and_relaxed(client, platform, key):
    under(
        platform,
        limits={"publisher": 1},
        exploration={"share": 0.2, "pool": 10},
        promoted={"books": ["w119"], "share": 0.1},
    )
    body = client.post("/v1/recommend", json={"user_id": "u", "n": 10}, headers=key).json()
    assert body["relaxed"] == ["publisher"], "there are four of them"
    (kept,) = platform.decisions.kept
    assert (kept.relaxed, {item.propensity for item in kept.items}) == (["publisher"], {1.0})
    under(platform, exploration={"share": 0.2, "pool": 10}, promoted={"books": ["w119"], "share": 0.1})
    items = client.post("/v1/recommend", json={"user_id": "u", "n": 10}, headers=key).json()["items"]
    assert [item["propensity"] for item in items] == [1.0] * 8 + [0.2] * 2
    assert [item["reasons"][0] for item in items[7:]] == ["promoted", "exploration", "exploration"]
    assert [item.propensity for item in platform.decisions.kept[-1].items] == [1.0] * 8 + [0.2] * 2


def test_what_was_shown_is_remembered_only_where_a_rule_asks_for_it(client, platform, key):
    first = client.post("/v1/recommend", json={"user_id": "u"}, headers=key).json()
    assert platform.history.readers == {}
    under(platform, recently_shown={"places": 30})
    same = client.post("/v1/recommend", json={"user_id": "u"}, headers=key).json()
    other = client.post("/v1/recommend", json={"user_id": "u"}, headers=key).json()
    works = [[item["work_id"] for item in one["items"]] for one in (first, same, other)]
    assert works[0] == works[1]
    assert not set(works[1]) & set(works[2])
    assert set(platform.history.readers["u"].shown) == set(works[1]) | set(works[2])
    client.post("/v1/recommend", json={"session": {}}, headers=key)
    assert set(platform.history.readers) == {"u"}
    is_problem(client.get("/v1/users/u", headers=key), 404)


def test_a_session_is_for_a_calling_service_alone(client, platform, key):
    session = {"history": ["w003"]}
    both = {"user_id": "u", "session": session}
    is_problem(client.post("/v1/recommend", json=both, headers=key), 422, field="body")
    own = client.post("/v1/recommend", json={"session": session}, headers=bearer(platform, "r001"))
    is_problem(own, 403, field="body.session")


def test_a_service_must_name_a_reader(client, key):
    is_problem(client.post("/v1/recommend", json={}, headers=key), 403, field="body.user_id")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b'{"n": NaN}', b"[" * 5000])
def test_a_body_that_is_no_json_is_a_callers_mistake(client, key, content):
    answer = client.post("/v1/recommend", content=content, headers={**key, "Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    is_problem(answer, answer.status_code)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/auth/login", rb'{"username":{"\udfff":1},"password":"x"}'),
        ("/v1/auth/login", rb'{"username":"ada","password":"\ud800"}'),
        ("/v1/auth/login", rb'{"username":"ada","password":"x","\udfff":1}'),
        ("/v1/auth/signup", rb'{"username":"ada","password":"long enough \ud800"}'),
        ("/v1/auth/signup", rb'{"username":"ada","password":"long enough","country":"\ud800"}'),
        ("/v1/recommend", rb'{"user_id":{"\ud800":1}}'),
        ("/v1/recommend", rb'{"user_id":"\ud800"}'),
    ],
)
def test_half_a_character_is_a_callers_mistake(client, platform, key, path, content):
    """It does not pass the entrance, and the app behind would not fall over it either."""
    headers = {**key, "Content-Type": "application/json"}
    is_problem(client.post(path, content=content, headers=headers), 400)
    behind = TestClient(make_app(platform), raise_server_exceptions=False)
    is_problem(behind.post(path, content=content, headers=headers), 422)


def test_parts_that_are_away_are_named(client, platform, key):
    platform.history.away = True
    platform.bundles.current.vectors.away = True
    body = client.post("/v1/recommend", json={"user_id": "r001"}, headers=key).json()
    assert body["fallbacks"] == ["history", "vector_index"]
    assert len(body["items"]) == 10


def test_without_a_bundle_the_answer_says_what_to_do(key):
    client = TestClient(make_app(FakePlatform(None)), raise_server_exceptions=False)
    for answer in (
        client.post("/v1/recommend", json={"user_id": "r001"}, headers=key),
        client.get("/readyz"),
        client.get("/v1/books/w001"),
        client.get("/v1/books/w001/similar"),
        client.get("/v1/models/current", headers=key),
        client.get("/v1/search?q=title"),
    ):
        assert "promote" in is_problem(answer, 503)["todo"]
        assert answer.headers["Retry-After"]
    assert client.get("/healthz").json() == {"status": "ok"}
    events = {"events": [{"kind": "click", "edition_id": "e", "user_id": "u"}]}
    assert client.post("/v1/interactions", json=events, headers=key).status_code == 200
    assert client.get("/v1/users/u", headers=key).json()["tier"] is None


def test_ready_names_the_bundle(client, platform):
    assert client.get("/readyz").json() == {
        "status": "ready",
        "bundle_version": platform.bundles.current.version,
        "vector_index": True,
    }


@pytest.mark.parametrize("book", ["w003", "w003-e0", "w003-e1"])
def test_a_book_by_work_or_edition(client, book):
    body = client.get(f"/v1/books/{book}").json()
    assert (body["work_id"], body["title"], body["author"], body["year"]) == ("w003", "Title 3", "Author 3", 1953)
    assert {"w003-e0", "w003-e1"} < set(body["editions"])


def test_a_book_that_is_not_there(client):
    for path in ("/v1/books/nothing", "/v1/books/nothing/similar", "/v1/books/9789999999999"):
        assert is_problem(client.get(path), 404)["field"] == "path.work_id"
    is_problem(client.get("/v1/books/" + "x" * 201), 422, field="path.work_id")
    is_problem(client.get("/v1/books/w001/similar?n=0"), 422, field="query.n")


def test_similar(client):
    body = client.get("/v1/books/w003-e0/similar?n=3").json()
    assert body["work_id"] == "w003"
    assert len(body["items"]) == 3
    assert all(item["reasons"] for item in body["items"])


def test_interactions_are_stored_and_change_the_next_answer(client, platform, key):
    ask = {"user_id": "new"}
    before = client.post("/v1/recommend", json=ask, headers=key).json()
    shown = before["items"][0]["work_id"]
    event_id = str(uuid.uuid4())
    event = {"kind": "click", "work_id": shown, "event_id": event_id, "decision_id": before["decision_id"]}
    answer = client.post("/v1/interactions", json={"events": [event]}, headers=bearer(platform, "new"))
    assert answer.json() == {"accepted": 1, "event_ids": [event_id], "fallbacks": []}
    after = client.post("/v1/recommend", json=ask, headers=key).json()
    assert (before["tier"], after["tier"]) == ("cold", "session")
    assert shown not in [item["work_id"] for item in after["items"]]
    (stored,) = platform.stream.events
    assert (stored.source, stored.user_id, str(stored.decision_id)) == ("service", "new", before["decision_id"])


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"work_id": "w001"}, "body.events.0.kind"),
        ({"kind": "like", "work_id": "w001"}, "body.events.0.kind"),
        ({"kind": "click"}, "body.events.0"),
        ({"kind": "rating", "work_id": "w001"}, "body.events.0"),
        ({"kind": "rating", "work_id": "w001", "value": 11}, "body.events.0.value"),
        ({"kind": "click", "work_id": "w001", "value": 1}, "body.events.0"),
        ({"kind": "click", "work_id": "w001", "occurred_at": "2026-01-01T00:00:00"}, "body.events.0.occurred_at"),
        ({"kind": "click", "work_id": "w001", "event_id": "1"}, "body.events.0.event_id"),
        ({"kind": "click", "work_id": "w001", "position": -1}, "body.events.0.position"),
        ({"kind": "click", "work_id": "w001", "works": 1}, "body.events.0.works"),
    ],
)
def test_a_malformed_interaction_names_the_field_and_nothing_is_stored(client, platform, key, event, field):
    good = {"kind": "click", "work_id": "w001", "user_id": "u"}
    is_problem(
        client.post("/v1/interactions", json={"events": [event | {"user_id": "u"}]}, headers=key), 422, field=field
    )
    assert (
        client.post("/v1/interactions", json={"events": [event | {"user_id": "u"}, good]}, headers=key).status_code
        == 422
    )
    assert platform.stream.events == []


def test_interactions_batches_and_times(client, platform, key):
    one = {"kind": "view", "work_id": "w001", "user_id": "u"}
    is_problem(client.post("/v1/interactions", json={"events": []}, headers=key), 422, field="body.events")
    is_problem(client.post("/v1/interactions", json={"events": [one] * 1001}, headers=key), 422, field="body.events")
    tomorrow = (clock.now() + timedelta(days=1)).isoformat()
    late = {"events": [one | {"occurred_at": tomorrow}]}
    is_problem(client.post("/v1/interactions", json=late, headers=key), 409, field="body.events.0.occurred_at")
    assert client.post("/v1/interactions", json={"events": [one] * 1000}, headers=key).json()["accepted"] == 1000
    assert len({event.event_id for event in platform.stream.events}) == 1000


def test_interactions_need_the_stream_and_can_do_without_the_history(client, platform, key):
    body = {"events": [{"kind": "click", "work_id": "w001", "user_id": "u"}]}
    platform.stream.away = True
    answer = client.post("/v1/interactions", json=body, headers=key)
    is_problem(answer, 503)
    assert answer.headers["Retry-After"]
    assert platform.history.readers == {}
    assert client.post("/v1/recommend", json={"user_id": "u"}, headers=key).status_code == 200
    platform.stream.away, platform.history.away = False, True
    assert client.post("/v1/interactions", json=body, headers=key).json()["fallbacks"] == ["history"]


def test_one_event_id_for_two_different_events_is_refused(client, platform, key):
    click = {"kind": "click", "work_id": "w001", "user_id": "u", "event_id": str(uuid.uuid4())}
    body = {"events": [click, click | {"work_id": "w002"}]}
    is_problem(client.post("/v1/interactions", json=body, headers=key), 409, field="body.events.1.event_id")
    assert platform.stream.events == []
    for harmless in (click, click | {"user_id": "v"}):
        body = {"events": [click, harmless]}
        assert client.post("/v1/interactions", json=body, headers=key).status_code == 200


def signup(client, **changed):
    body = {"username": "Ada", "password": "a long pass phrase"} | changed
    return client.post("/v1/auth/signup", json=body)


def test_signing_up_with_tastes_gives_a_better_start(client, platform):
    tastes = {"authors": ["Author 3"], "subjects": ["Crime"], "books": ["w005-e0", "nothing"]}
    answer = signup(client, country="Germany", age=30, tastes=tastes)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["unknown_books"], body["fallbacks"]) == (["nothing"], [])
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    slate = client.post("/v1/recommend", json={}, headers=headers).json()
    assert slate["user_id"] == body["user_id"]
    assert "w005" not in [item["work_id"] for item in slate["items"]]
    me = client.get(f"/v1/users/{body['user_id']}", headers=headers).json()
    assert (me["username"], me["country"], me["age_bin"]) == ("ada", "DE", "25-34")
    assert me["tastes"] == ["Author 3", "Crime"]
    assert [item["work_id"] for item in me["history"]] == ["w005"]
    assert platform.stream.readers[0].country == "DE"
    assert "password" not in json.dumps(me)


def test_tastes_alone_answer_a_new_reader(client):
    body = signup(client, tastes={"subjects": ["crime"]}).json()
    slate = client.post("/v1/recommend", json={}, headers={"Authorization": f"Bearer {body['access_token']}"}).json()
    assert slate["tier"] == "tastes"
    assert slate["items"][0]["reasons"][0] == "tastes"


def test_logging_in(client):
    user_id = signup(client).json()["user_id"]
    body = client.post("/v1/auth/login", json={"username": "ADA", "password": "a long pass phrase"}).json()
    assert body["user_id"] == user_id
    for wrong in ({"username": "ada", "password": "wrong"}, {"username": "bob", "password": "a long pass phrase"}):
        is_problem(client.post("/v1/auth/login", json=wrong), 401, detail="Name or password is wrong")
    is_problem(signup(client), 409, field="body.username")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"password": "short"}, "body.password"),
        ({"username": "a"}, "body.username"),
        ({"username": "a b c"}, "body.username"),
        ({"birth_year": 1800}, "body.birth_year"),
        ({"birth_year": clock.now().year + 1}, "body.birth_year"),
        ({"birth_year": 1990, "age": 30}, "body"),
        ({"tastes": {"authors": [""]}}, "body.tastes.authors.0"),
        ({"country": "x" * 201}, "body.country"),
    ],
)
def test_a_malformed_signup_names_the_field_and_shows_no_password(client, changed, field):
    answer = signup(client, **changed)
    is_problem(answer, 422, field=field)
    assert "short" not in answer.json().get("received", "")


@pytest.mark.parametrize(
    "body",
    [
        "a long pass phrase",
        ["a long pass phrase"],
        {"username": "ada", "pasword": "a long pass phrase"},
        {"username": "ada", "password": {"value": "a long pass phrase"}},
        {"username": "ada", "password": "a long pass phrase", "old": "a long pass phrase"},
    ],
)
def test_a_password_in_the_wrong_place_does_not_come_back(client, body):
    for route in ("signup", "login"):
        answer = client.post(f"/v1/auth/{route}", json=body)
        is_problem(answer, 422)
        assert "phrase" not in answer.text
        assert answer.json()["allowed"]


@pytest.mark.parametrize(
    ("at", "status"),
    [("1971-01-01T00:00:00+14:00", 200), ("2198-12-31T23:59:59-12:00", 409), ("1970-01-01T00:00:00Z", 422),
     ("0001-01-01T00:00:00+14:00", 422), ("9999-12-31T23:59:59-14:00", 422), ("2199-06-01T00:00:00Z", 422)],
)  # fmt: skip
def test_a_time_at_the_edge_of_what_can_be_kept(client, key, at, status):
    event = {"kind": "click", "work_id": "w001", "user_id": "u", "occurred_at": at}
    assert client.post("/v1/interactions", json={"events": [event]}, headers=key).status_code == status


def test_without_postgres_only_the_door_is_shut(client, platform, key):
    platform.accounts.away = True
    is_problem(signup(client), 503)
    is_problem(client.post("/v1/auth/login", json={"username": "ada", "password": "x"}), 503)
    assert client.post("/v1/recommend", json={"user_id": "u"}, headers=key).status_code == 200
    assert client.get("/v1/users/u", headers=key).json()["fallbacks"] == ["accounts"]


def test_without_kafka_nobody_signs_up_and_no_account_is_left(client, platform):
    platform.stream.away = True
    answer = signup(client, tastes={"books": ["w005"]})
    is_problem(answer, 503)
    assert answer.headers["Retry-After"]
    assert platform.accounts.rows == {}
    platform.stream.away = False
    assert signup(client, tastes={"books": ["w005"]}).status_code == 201
    assert [event.work_id for event in platform.stream.events] == ["w005"]


def test_a_taken_name_tells_the_stream_nothing(client, platform):
    signup(client)
    is_problem(signup(client), 409)
    assert len(platform.stream.readers) == 1


def test_failed_logins_are_limited_and_a_success_begins_anew(client, platform):
    right, wrong = ({"username": "ada", "password": word} for word in ("a long pass phrase", "wrong"))
    platform.settings.login_attempts_per_minute = 2
    signup(client)
    for _ in range(2):
        assert client.post("/v1/auth/login", json=wrong).status_code == 401
        assert client.post("/v1/auth/login", json=right).status_code == 200
    for _ in range(2):
        assert client.post("/v1/auth/login", json=wrong).status_code == 401
    for body in (wrong, right):
        answer = client.post("/v1/auth/login", json=body)
        is_problem(answer, 429, allowed="2 a minute")
        assert answer.headers["Retry-After"]
    assert client.post("/v1/auth/login", json=wrong | {"username": "bob"}).status_code == 401
    platform.history.away = True
    assert client.post("/v1/auth/login", json=right).status_code == 200, "without Redis there is no limit"


def test_a_crowd_at_the_door_does_not_hold_up_recommendations(client, key, monkeypatch):
    login = {"username": "ada", "password": "x"}
    monkeypatch.setattr(door._SIGN_UPS, "waiting", 8)
    answer = signup(client)
    is_problem(answer, 503)
    assert answer.headers["Retry-After"]
    is_problem(client.post("/v1/auth/login", json=login), 401)
    monkeypatch.setattr(door._LANE, "waiting", 16)
    is_problem(client.post("/v1/auth/login", json=login), 503)
    assert client.post("/v1/recommend", json={"user_id": "u"}, headers=key).status_code == 200


def test_a_reader_that_nobody_knows(client, key):
    is_problem(client.get("/v1/users/nobody", headers=key), 404, field="path.user_id")
    assert client.get("/v1/users/r001", headers=key).json()["tier"] == "warm"


@pytest.mark.parametrize(
    "path", ["/v1/users/%00", "/v1/users/a%0Ab", "/v1/books/%00", "/v1/books/a%0Ab/similar", "/v1/users/" + "x" * 201]
)
def test_an_id_in_the_path_is_held_to_the_same_rules_as_in_a_body(client, key, path):
    assert is_problem(client.get(path, headers=key), 422)["field"].startswith("path.")


def test_other_paths_and_methods_are_problems(client):
    is_problem(client.get("/nothing"), 404)
    is_problem(client.get("/v1/recommend"), 405)


def test_a_fault_of_ours_tells_the_caller_nothing(client, platform, key):
    platform.decisions.put = None
    body = is_problem(client.post("/v1/recommend", json={"user_id": "u"}, headers=key), 500)
    assert "NoneType" not in json.dumps(body)


def test_too_many_waiting_interactions_are_refused_at_once(client, key, monkeypatch):
    monkeypatch.setattr(routes._LANE, "waiting", 64)
    body = {"events": [{"kind": "click", "work_id": "w001", "user_id": "u"}]}
    is_problem(client.post("/v1/interactions", json=body, headers=key), 503)


def test_a_body_that_is_too_large(platform, key):
    client = TestClient(BodyLimit(make_app(platform)))
    large = b" " * (BODY_MAX + 1)
    headers = {**key, "Content-Type": "application/json"}
    is_problem(client.post("/v1/recommend", content=large, headers=headers), 413)
    parts = (large[i : i + 65536] for i in range(0, len(large), 65536))
    is_problem(client.post("/v1/recommend", content=parts, headers=headers), 413)
    assert client.post("/v1/recommend", json={"user_id": "u"}, headers=key).status_code == 200


def test_paths_have_few_names_in_the_metrics():
    assert endpoint_of("/v1/books/w1") == "/v1/books/{work_id}"
    assert endpoint_of("/v1/books/w1/similar") == "/v1/books/{work_id}/similar"
    assert endpoint_of("/v1/decisions/d1") == "/v1/decisions/{decision_id}"
    assert endpoint_of("/v1/why-not") == "/v1/why-not"
    assert endpoint_of("/v1/users/u1") == "/v1/users/{user_id}"
    assert endpoint_of("/v1/recommend") == "/v1/recommend"
    assert endpoint_of("/v1/users/u1/history/w1") == "/v1/users/{user_id}/history/{work_id}"
    for _, path in ENDPOINTS:
        assert endpoint_of(path.replace("{", "").replace("}", "")) == path
    assert endpoint_of("/wp-admin.php") == "other"


ENDPOINTS = {
    ("post", "/v1/recommend"),
    ("get", "/v1/books/{work_id}"),
    ("get", "/v1/books/{work_id}/similar"),
    ("post", "/v1/interactions"),
    ("get", "/v1/users/{user_id}"),
    ("get", "/v1/users/{user_id}/history"),
    ("delete", "/v1/users/{user_id}/history/{work_id}"),
    ("put", "/v1/users/{user_id}/dismissed-authors/{author}"),
    ("delete", "/v1/users/{user_id}/dismissed-authors/{author}"),
    ("get", "/v1/users/{user_id}/export"),
    ("post", "/v1/auth/signup"),
    ("post", "/v1/auth/login"),
    ("post", "/v1/auth/refresh"),
    ("post", "/v1/auth/logout"),
    ("get", "/v1/decisions/{decision_id}"),
    ("post", "/v1/why-not"),
    ("get", "/v1/models/current"),
    ("get", "/v1/search"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}


def objects_in(value):
    """Every object of a JSON document, the document itself among them."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects_in(one)


def test_the_openapi_page_is_complete(client):
    page = client.get("/openapi.json").json()
    assert page["openapi"].startswith("3.1")
    assert {(method, path) for path, methods in page["paths"].items() for method in methods} == ENDPOINTS
    schemas = page["components"]["schemas"]
    for reference in (one["$ref"] for one in objects_in(page) if "$ref" in one):
        assert reference.rpartition("/")[2] in schemas
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    for path, methods in page["paths"].items():
        for method, one in methods.items():
            assert one["summary"], (method, path)
            assert "422" not in one["responses"] or "application/problem+json" in one["responses"]["422"]["content"]
    for _, path, _ in PROTECTED + FOR_SERVICES:
        for one in page["paths"][path.replace("r001", "{user_id}")].values():
            assert one["security"], path
    assert set(page["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}


def test_the_docs_page_needs_no_other_machine(client):
    html = client.get("/docs").text
    assert "http://" not in html
    assert "https://" not in html
    assert client.get("/docs/files/swagger-ui-bundle.js").status_code == 200
    assert client.get("/", follow_redirects=False).headers["location"] == "/docs"


@pytest.mark.parametrize("explain", [False, True])
def test_an_answer_is_what_its_schema_says_field_by_field(client, key, explain):
    client.post(
        "/v1/interactions", json={"events": [{"user_id": "u", "kind": "click", "work_id": "w003"}]}, headers=key
    )
    body = client.post("/v1/recommend", json={"user_id": "u", "explain": explain}, headers=key).json()
    assert schemas.RecommendResponse.model_validate(body).model_dump(mode="json") == body
