"""Search over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookworks.adapters.redis import OnlineReader
from serving.app import make_app
from serving.policy import Policy
from serving.rules import Rules
from tests.serving.fakes import KEY, FakePlatform, served
from tests.serving.test_api import bearer, is_problem

RIGHT = "9780441478125"  # no work of the tiny bundle has it


def ask(client, headers=None, **params):
    answer = client.get("/v1/search", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_search_names_the_books_and_what_found_them(client, platform):
    body = ask(client, q="Titel 26", n=3)
    first = body["items"][0]
    assert (first["work_id"], first["title"], first["author"], first["year"], first["language"]) == (
        "w026",
        "Title 26",
        "Author 11",
        1976,
        "en",
    )
    assert first["reasons"][0] == "words"
    assert (body["query"], body["isbn"], body["personalised"], body["fallbacks"]) == ("Titel 26", None, False, [])
    assert body["bundle_version"] == platform.bundles.current.version
    assert len(body["items"]) == 3


def test_filters(client):
    found = ask(client, q="title", n=100, author="Author 3", year_from=1960, year_to=2000, subject="history")["items"]
    assert {item["author"] for item in found} == {"Author 3"}
    assert {item["work_id"] for item in found} == {"w018", "w033", "w048"}
    assert ask(client, q="title", language="de")["items"] == []


def test_works_that_are_most_likely_one_book_are_shown_once(client, platform):
    keys = platform.bundles.current.catalogue.twin_keys
    before = keys[27]
    keys[27] = keys[26]
    try:
        found = [item["work_id"] for item in ask(client, q="title 26 27", n=100)["items"]]
    finally:
        keys[27] = before
    assert len({"w026", "w027"} & set(found)) == 1
    assert {"w026", "w027"} <= {item["work_id"] for item in ask(client, q="title 26 27", n=100)["items"]}


def test_what_a_list_blocks_is_found_by_those_alone_who_may_see_it(client, platform, key):
    served = platform.bundles.current
    rules = Policy.model_validate({"blocked": [{"name": "grown-ups", "books": ["w026"], "under_age": 18}]})
    platform.bundles.current = replace(served, rules=Rules.of(rules, served.bundle, served.catalogue))
    for user_id, year in (("old", 1980), ("young", 2020)):
        platform.history.readers[user_id] = OnlineReader(profile={"birth_year": str(year)})

    def found(**asked):
        return "w026" in [item["work_id"] for item in ask(client, headers=key, q="title 26", **asked)["items"]]

    assert [found(), found(user_id="young"), found(user_id="old")] == [False, False, True]


def test_nothing_found_is_an_empty_list(client):
    assert ask(client, q="xyzzyx")["items"] == ask(client, q="!?")["items"] == ask(client, q="   ")["items"] == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "query.q"),
        ({"q": ""}, "query.q"),
        ({"q": "x" * 201}, "query.q"),
        ({"q": "x", "n": 0}, "query.n"),
        ({"q": "x", "n": 101}, "query.n"),
        ({"q": "x", "year_from": "then"}, "query.year_from"),
        ({"q": "x", "year_from": 10**20}, "query.year_from"),
        ({"q": "x", "language": ""}, "query.language"),
        ({"q": "x", "author": "a\nb"}, "query.author"),
        ({"q": "x", "limit": 5}, "query.limit"),
    ],
)
def test_a_malformed_search_names_the_field(quick, params, field):
    is_problem(quick.get("/v1/search", params=params), 422, field=field)


def test_an_isbn_finds_its_book(client):
    for typed in ("9780000000003", "978-0000000003", "w003"):
        body = ask(client, q=typed)
        assert body["isbn"] is None or [item["work_id"] for item in body["items"]] == ["w003"]
    assert ask(client, q="9780000000003")["items"][0]["reasons"] == ["isbn"]


def test_a_right_isbn_that_the_catalogue_lacks_and_a_wrong_one_are_told_apart(client):
    body = ask(client, q="978-0-441-47812-5")
    assert (body["isbn"]["valid"], body["isbn"]["isbn13"], body["items"]) == (True, "9780441478125", [])
    assert "no such book" in body["isbn"]["detail"]
    body = ask(client, q="978-0-441-47812-4")
    assert (body["isbn"]["valid"], body["isbn"]["isbn13"], body["items"]) == (False, None, [])
    assert "This is no ISBN" in body["isbn"]["detail"]


def test_an_isbn_with_a_slip_finds_the_book_that_is_meant(platform):
    catalogue = platform.bundles.current.catalogue
    catalogue._bundle.editions[RIGHT] = "w003"
    try:
        body = ask(TestClient(make_app(platform)), q="978-0-441-47812-4")
    finally:
        del catalogue._bundle.editions[RIGHT]
    assert [(item["work_id"], item["reasons"]) for item in body["items"]] == [("w003", ["isbn_slip"])]
    assert (body["isbn"]["valid"], body["isbn"]["received"]) == (False, "978-0-441-47812-4")


def test_who_may_ask_for_whom(client, platform, key):
    mine = bearer(platform, "r001")
    for headers, params in ((mine, {}), (mine, {"user_id": "r001"}), (key, {"user_id": "r001"})):
        assert ask(client, headers, q="title", personalised=True, **params)["personalised"]
    assert ask(client, mine, q="title")["personalised"] is False
    personal = {"q": "title", "personalised": True}
    is_problem(client.get("/v1/search", params=personal | {"user_id": "r001"}), 401, field="query.personalised")
    is_problem(client.get("/v1/search", params=personal, headers=key), 403, field="query.user_id")
    other = client.get("/v1/search", params=personal | {"user_id": "r002"}, headers=mine)
    is_problem(other, 403, field="query.user_id")
    is_problem(client.get("/v1/search?q=title", headers={"X-API-Key": "wrong"}), 401)


def test_what_the_reader_likes_comes_sooner(client, platform, key):
    """The reader of crime, work after work: titles match alike, so that taste decides."""
    crime = [f"w{i:03d}" for i in range(0, 60, 5)]
    platform.history.readers["fan"] = OnlineReader(history=crime, weights=dict.fromkeys(crime, 1.0))
    plain, mine = (
        [int(item["work_id"][1:]) for item in ask(client, key, q="title", n=20, **more)["items"]]
        for more in ({}, {"user_id": "fan", "personalised": True})
    )
    assert sum(i % 5 == 0 for i in mine) > sum(i % 5 == 0 for i in plain)
    platform.history.away = True
    assert ask(client, key, q="title", user_id="r001", personalised=True)["fallbacks"] == ["history"]


def test_without_the_vector_index_it_answers_and_says_so(client, platform):
    with_index = ask(client, q="title 26")
    platform.bundles.current.vectors.away = True
    without = ask(client, q="title 26")
    assert (with_index["fallbacks"], without["fallbacks"]) == ([], ["vector_index"])
    assert without["items"] == with_index["items"]


@pytest.fixture(scope="module")
def quick(tiny_bundle):
    return TestClient(make_app(FakePlatform(served(tiny_bundle))), raise_server_exceptions=False)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    q=st.one_of(
        st.text(max_size=220), st.text("0123456789-xX ", max_size=20), st.text("titleauthor \"'()*:~^", max_size=40)
    ),
    more=st.fixed_dictionaries(
        {},
        optional={
            "n": st.integers(-1, 101),
            "language": st.text(max_size=5),
            "author": st.text(max_size=20),
            "subject": st.text(max_size=20),
            "year_from": st.integers(-(10**6), 10**6),
            "year_to": st.integers(-(10**6), 10**6),
        },
    ),
)
def test_no_query_is_a_fault_of_ours(quick, q, more):
    answer = quick.get("/v1/search", params={"q": q} | more, headers={"X-API-Key": KEY})
    assert answer.status_code in {200, 422}, answer.text
    if answer.status_code == 422:
        assert answer.json()["field"].startswith("query.")
    else:
        assert len(answer.json()["items"]) <= more.get("n", 10)


@pytest.mark.parametrize(
    "path", ["/v1/search?q=%FF%FE", "/v1/search?q=%ED%A0%80", "/v1/search?q=a&q=b", "/v1/search?q=%00"]
)
def test_bytes_that_are_no_text_are_no_fault_of_ours(quick, path):
    assert quick.get(path).status_code in {200, 422}


@pytest.mark.parametrize(
    ("filters", "noted"),
    [
        ({"year_from": 2000, "year_to": 1999}, {"year_to": "1999"}),
        ({"language": "xx", "subject": "gardening"}, {"language": "xx", "subject": "gardening"}),
        ({"author": "Nobody"}, {"author": "Nobody"}),
        ({"language": "EN", "subject": "crime", "author": "author", "year_from": 1950, "year_to": 1950}, {}),
    ],
)
def test_filters_that_leave_nothing_find_nothing_and_say_so(quick, filters, noted):
    body = ask(quick, q="title", **filters)
    assert {note["field"]: note["received"] for note in body["notes"]} == {f"query.{n}": v for n, v in noted.items()}
    assert bool(body["items"]) == (not noted)


def test_a_named_reader_makes_a_search_personal_unless_told_otherwise(client, key):
    asked = {"q": "title", "user_id": "r001"}
    answers = [client.get("/v1/search", params=asked | more, headers=key) for more in ({}, {"personalised": False})]
    assert [answer.json()["personalised"] for answer in answers] == [True, False]
    is_problem(client.get("/v1/search", params=asked), 401, field="query.personalised")
