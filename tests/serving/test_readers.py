"""Readers' own data: history, taking a book out of it, authors sent away, export."""

import threading
import time
import uuid

import pytest

from bookworks import clock
from serving import readers
from serving.database import Database
from serving.dismissals import DismissedAuthors, Restorer
from tests.serving.fakes import FakeHistory
from tests.serving.test_api import bearer, is_problem, signup

ME = "new"


@pytest.fixture
def did(client, platform):
    """Posts events of the reader."""

    def post(*events):
        answer = client.post("/v1/interactions", json={"events": list(events)}, headers=bearer(platform, ME))
        assert answer.status_code == 200, answer.text

    return post


@pytest.fixture
def call(client, platform):
    """Calls an address below the reader's own, as the reader."""

    def ask(method, path, **options):
        return client.request(method, f"/v1/users/{ME}{path}", headers=bearer(platform, ME), **options)

    return ask


def shown(client, platform):
    answer = client.post("/v1/recommend", json={"n": 100}, headers=bearer(platform, ME))
    return {item["work_id"] for item in answer.json()["items"]}


def test_the_whole_history_page_by_page(did, call, platform):
    did(*({"kind": "click", "work_id": f"w{i:03d}"} for i in range(7)))
    did(
        {"kind": "loan", "work_id": "w001"}, {"kind": "view", "edition_id": "w001-e0"}, {"kind": "view", "work_id": "?"}
    )
    platform.history.readers[ME].seen.add("w050")
    first = call("GET", "/history?n=3").json()
    assert (first["total"], first["next"], len(first["items"])) == (9, 3, 3)
    second = call("GET", f"/history?n=3&offset={first['next']}").json()
    last = call("GET", f"/history?n=3&offset={second['next']}").json()
    assert last["next"] is None
    items = first["items"] + second["items"] + last["items"]
    assert [item["work_id"] for item in items] == ["?", "w001", "w006", "w005", "w004", "w003", "w002", "w000", "w050"]
    known = {item["work_id"]: item for item in items}
    assert (known["w001"]["title"], known["w001"]["author"], known["w001"]["read"]) == ("Title 1", "Author 1", True)
    assert (known["w001"]["weight"], known["w000"]["read"], known["w050"]["at"]) == (1.0, False, None)
    assert known["?"]["title"] is None
    assert call("GET", "/history?offset=9").json()["items"] == []
    for wrong in ("n=0", "n=101", "offset=-1", "offset=x"):
        is_problem(call("GET", f"/history?{wrong}"), 422)


def test_a_book_that_is_taken_out_is_gone_and_may_come_again(client, did, call, platform):
    did(
        {"kind": "loan", "work_id": "w001"},
        {"kind": "view", "edition_id": "w001-e0", "work_id": "w001"},
        {"kind": "click", "work_id": "w002"},
        {"kind": "dismiss", "work_id": "w003"},
    )
    assert not {"w001", "w002", "w003"} & shown(client, platform)
    old = list(platform.stream.events)
    for book in ("w001-e1", "w003"):
        answer = call("DELETE", f"/history/{book}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert [item["work_id"] for item in call("GET", "/history").json()["items"]] == ["w002"]
    assert {"w001", "w003"} <= shown(client, platform)
    platform.history.remember(old)
    assert [item["work_id"] for item in call("GET", "/history").json()["items"]] == ["w002"]
    told = [event for event in platform.stream.events if event.kind == "forget"]
    assert {event.work_id or event.edition_id for event in told} >= {"w001", "w001-e0", "w001-e1", "w003"}
    assert {event.edition_id for event in told if event.work_id} == {None}
    assert {event.user_id for event in told} == {ME}
    did({"kind": "click", "work_id": "w001"})
    assert "w001" not in shown(client, platform)


def test_a_book_that_the_catalogue_does_not_have_can_be_taken_out(did, call, platform):
    did({"kind": "click", "edition_id": "e-unknown", "work_id": "w-unknown"}, {"kind": "click", "work_id": "later"})
    assert call("DELETE", "/history/w-unknown").status_code == 204
    assert platform.history.readers[ME].history == ["later"]
    platform.bundles.current = None
    assert call("DELETE", "/history/later").status_code == 204
    (last,) = [event for event in platform.stream.events if event.kind == "forget"][-1:]
    assert (last.edition_id, last.work_id) == ("later", "later"), "the catalogue of a later day knows which it is"
    is_problem(call("DELETE", "/history/nothing"), 404, field="path.work_id")


def test_a_clock_that_is_ahead_does_not_save_a_book(did, call, platform):
    soon = clock.now() + readers.timedelta(minutes=4)
    did({"kind": "click", "work_id": "w001", "occurred_at": soon.isoformat()})
    did({"kind": "dismiss", "work_id": "w002", "occurred_at": soon.isoformat()})
    for work in ("w001", "w002"):
        assert call("DELETE", f"/history/{work}").status_code == 204
    happened = [event for event in platform.stream.events if event.kind != "forget"]
    assert all(event.occurred_at <= event.received_at < soon for event in happened), "an event is not of the future"
    reader = platform.history.readers[ME]
    assert (reader.history, reader.dismissed) == ([], set())
    did({"kind": "loan", "work_id": "w001"})
    assert reader.history == ["w001"], "what is done after it counts again"


def test_nothing_is_forgotten_by_half(did, call, platform):
    did({"kind": "click", "work_id": "w001"})
    platform.stream.away = True
    answer = call("DELETE", "/history/w001")
    is_problem(answer, 503)
    assert answer.headers["Retry-After"]
    assert platform.history.readers[ME].history == ["w001"]
    platform.stream.away, platform.history.away = False, True
    for method, path in (("DELETE", "/history/w001"), ("GET", "/history"), ("GET", "/export")):
        is_problem(call(method, path), 503)
    assert [event.kind for event in platform.stream.events] == ["click"]


def test_nobody_posts_a_forgetting(client, platform):
    body = {"events": [{"kind": "forget", "work_id": "w001"}]}
    answer = client.post("/v1/interactions", json=body, headers=bearer(platform, ME))
    is_problem(answer, 422, field="body.events.0.kind")


@pytest.mark.parametrize(("author", "again"), [("Author 3", "author 3"), ("a3", "Author 3"), ("AUTHOR  3", "a3")])
def test_not_this_author_counts_at_the_next_answer_until_it_is_taken_back(client, call, platform, author, again):
    catalogue = platform.bundles.current.catalogue
    author, again = (catalogue.author_keys[3] if name == "a3" else name for name in (author, again))
    theirs = {catalogue.work_ids[i] for i in catalogue.of_author("Author 3")}
    assert len(theirs) > 1
    assert theirs & shown(client, platform)
    assert call("PUT", f"/dismissed-authors/{author}").status_code == 204
    assert not theirs & shown(client, platform)
    assert call("PUT", f"/dismissed-authors/{author}").status_code == 204
    assert client.get(f"/v1/users/{ME}", headers=bearer(platform, ME)).json()["dismissed_authors"] == [author]
    assert call("DELETE", f"/dismissed-authors/{again}").status_code == 204
    assert theirs & shown(client, platform)
    assert platform.dismissed_authors.of(ME) == []
    assert call("DELETE", f"/dismissed-authors/{again}").status_code == 204


def test_an_author_who_is_none_and_parts_that_are_away(call, platform):
    is_problem(call("PUT", "/dismissed-authors/Nobody"), 404, field="path.author")
    for part in (platform.history, platform.accounts):
        part.away = True
        is_problem(call("PUT", "/dismissed-authors/Author 3"), 503)
        is_problem(call("DELETE", "/dismissed-authors/Author 3"), 503)
        part.away = False
    platform.dismissed_authors.kept[ME] = {f"a{i}" for i in range(1000)}
    is_problem(call("PUT", "/dismissed-authors/Author 3"), 422, allowed="1000 authors")
    platform.dismissed_authors.kept[ME] = {f"a{i}" for i in range(999)} | {"Author 3"}
    assert call("PUT", "/dismissed-authors/Author 3").status_code == 204, "a repeat changes nothing"


def test_the_export_is_a_file_with_all_and_without_the_password(client, platform):
    made = signup(client, country="Germany", birth_year=1990, tastes={"subjects": ["Crime"], "books": ["w005"]}).json()
    user_id, me = made["user_id"], {"Authorization": f"Bearer {made['access_token']}"}
    client.post("/v1/interactions", json={"events": [{"kind": "dismiss", "work_id": "w007"}]}, headers=me)
    client.put(f"/v1/users/{user_id}/dismissed-authors/Author 3", headers=me)
    answer = client.get(f"/v1/users/{user_id}/export", headers=me)
    assert answer.headers["content-disposition"].startswith("attachment")
    body = answer.json()
    assert (
        body["account"].items() >= {"username": "ada", "country": "DE", "birth_year": 1990, "tastes": ["Crime"]}.items()
    )
    assert [(one["work_id"], one["read"]) for one in body["history"]] == [("w005", True)]
    assert (body["dismissed_books"], body["dismissed_authors"]) == (["w007"], ["Author 3"])
    assert "argon2" not in answer.text
    assert body["in_model"] is False
    assert client.get("/v1/users/r001/export", headers=bearer(platform, "r001")).json()["in_model"] is True
    is_problem(client.get("/v1/users/nobody/export", headers=bearer(platform, "nobody")), 404)


class Forgetful(FakeHistory):
    """A Redis that may have lost what it had."""

    def __init__(self):
        super().__init__()
        self.known = False

    def has_dismissed_authors(self):
        return self.known

    def restore_dismissed_authors(self, authors):
        self.dismiss_authors(authors)
        self.known = True


@pytest.mark.integration
def test_dismissed_authors_survive_the_loss_of_redis(stack):
    database, history = Database(stack.need("postgres")), Forgetful()
    try:
        kept, user_id = DismissedAuthors(database), f"u-{uuid.uuid4()}"
        for author in ("b", "a", "a"):
            kept.add(user_id, author)
        kept.remove(user_id, ["b", "never"])
        assert kept.of(user_id) == ["a"]
        history.away = True
        restorer = Restorer(kept, history)
        restorer.check()
        assert not history.known
        history.away = False
        restorer.check()
        assert history.read(user_id).dismissed_authors == {"a"}
        kept.add(user_id, "later")
        restorer.check()
        assert history.read(user_id).dismissed_authors == {"a"}, "it is written once, not again and again"
    finally:
        database.close()


@pytest.mark.integration
def test_an_author_taken_back_while_all_are_written_again_stays_taken_back(stack):
    database, history = Database(stack.need("postgres")), Forgetful()
    kept, user_id, done = DismissedAuthors(database), f"u-{uuid.uuid4()}", []
    kept.add(user_id, "a")

    def take_back():
        kept.remove(user_id, ["a"])
        history.take_back_authors(user_id, ["a"])
        done.append(True)

    meanwhile = threading.Thread(target=take_back)
    restore = history.restore_dismissed_authors

    def slowly(authors):
        meanwhile.start()
        time.sleep(0.3)
        assert not done
        restore(authors)

    history.restore_dismissed_authors = slowly
    try:
        Restorer(kept, history).check()
        meanwhile.join()
        assert history.known
        assert history.read(user_id).dismissed_authors == set()
    finally:
        database.close()
