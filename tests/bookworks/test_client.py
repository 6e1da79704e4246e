"""The client against the real app, and against a service that is away for a while."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from bookworks import client as package
from bookworks.client import Client, Filters, Interaction, ProblemError, Recommendations, ServiceAwayError, answers
from bookworks.errors import BookworksError, TerminalError
from bookworks.settings import PROJECT_ROOT
from serving.app import make_app
from tests.serving.fakes import KEY, FakePlatform, served
from tests.support.bundles import make_tiny_bundle

NOT_FOR_CALLERS = {("get", "/healthz"), ("get", "/metrics")}  # for what watches the process
PASSWORD = "a long pass phrase"


class App(httpx.BaseTransport):
    """The app in place of the network; takes note of what was asked."""

    def __init__(self, app: Any) -> None:
        self.inner, self.asked = TestClient(app, raise_server_exceptions=False), list[httpx.Request]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path, headers = request.url.raw_path.decode(), dict(request.headers)
        answer = self.inner.request(request.method, path, content=request.read(), headers=headers)
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles"), n_works=60, ranker=True)


@pytest.fixture
def platform(bundle: Path) -> FakePlatform:
    return FakePlatform(served(bundle))


@pytest.fixture
def app(platform: FakePlatform) -> App:
    return App(make_app(platform))


@pytest.fixture
def books(app: App) -> Iterator[Client]:
    with Client("http://service", api_key=KEY, transport=app, sleep=lambda _: None) as client:
        yield client


def test_a_calling_service_goes_through_every_endpoint(books: Client, app: App, platform: FakePlatform) -> None:
    assert books.ready().bundle_version == platform.bundles.current.version
    slate = books.recommend("r001", n=3, exclude=["w001"], explain=True)
    assert [item.position for item in slate.items] == [0, 1, 2]
    first = slate.items[0]
    event = Interaction(
        "rating", work_id=first.work_id, user_id="r001", value=8, decision_id=slate.decision_id, position=0,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert books.interactions([event]).event_ids == [event.event_id]
    (stored,) = platform.stream.events
    assert (stored.value, stored.decision_id) == (8, slate.decision_id)
    again = books.decision(slate.decision_id)
    assert ([item.work_id for item in again.answer.items], again.request["n"]) == (_ids(slate), 3)
    told = books.why_not("w001", "r001", exclude=["w001"])
    assert (told.shown, [reason.step for reason in told.reasons]) == (False, ["request"])
    crime = Filters(subjects=["crime"], year_from=1960)
    one, two = _pages(books, session=["w002"], filters=crime, context={"device": "phone"})
    assert {int(work[1:]) % 5 for work in _ids(one) + _ids(two)} == {0}
    assert not set(_ids(one)) & set(_ids(two))
    assert books.book("w003-e0").title == "Title 3"
    similar = books.similar("w003", n=2, kind="author")
    assert (similar.kind, {item.author for item in similar.items}) == ("author", {"Author 3"})
    found = books.search("titel 26", n=1, language="en", year_from=1900, personalised=True, user_id="r001")
    assert (found.items[0].work_id, found.personalised) == ("w026", True)
    assert books.search("978-0-441-47812-4").isbn.valid is False
    assert books.user("r001").history[0].work_id == first.work_id
    made = books.signup("ada", PASSWORD, country="Germany", authors=["Author 3"], books=["w005", "none"])
    assert made.unknown_books == ["none"]
    assert books.login("ada", PASSWORD).user_id == made.user_id
    _readers_own_data(books, made.user_id)
    assert books.current_models().models[0].name == "item_filter"
    assert _templates(app) == _endpoints(app) - NOT_FOR_CALLERS, "an endpoint has no method of the client in this test"


def _readers_own_data(books: Client, user_id: str) -> None:
    """A session renewed and ended, the history, an author, the export."""
    first = books.login("ada", PASSWORD).refresh_token
    second = books.refresh(first).refresh_token
    with pytest.raises(ProblemError) as spent:
        books.refresh(first)
    assert spent.value.status == 401
    books.logout(second)
    (loved,) = books.history(user_id, n=5).items
    assert (loved.work_id, loved.author) == ("w005", "Author 5")
    books.forget(user_id, "w005")
    assert books.history(user_id).total == 0
    books.dismiss_author(user_id, "Author 3")
    assert books.export(user_id).dismissed_authors == books.user(user_id).dismissed_authors == ["Author 3"]
    books.take_back_author(user_id, "Author 3")
    assert books.user(user_id).dismissed_authors == []


def _ids(slate: Recommendations) -> list[str]:
    return [item.work_id for item in slate.items]


def _pages(books: Client, **asked: Any) -> tuple[Recommendations, Recommendations]:
    """The first two."""
    first = books.recommend(n=3, **asked)
    assert first.next
    return first, books.recommend(n=3, cursor=first.next, session=asked["session"])


def _endpoints(app: App) -> set[tuple[str, str]]:
    paths = app.inner.get("/openapi.json").json()["paths"]
    return {(method, path) for path, methods in paths.items() for method in methods}


def _templates(app: App) -> set[tuple[str, str]]:
    """The endpoints that were asked."""
    patterns = {one: re.compile(re.sub(r"\{[^}]*\}", "[^/]+", one[1])) for one in _endpoints(app)}
    asked = {(request.method.lower(), request.url.path) for request in app.asked}
    return {one for one, pattern in patterns.items() for method, path in asked
            if method == one[0] and pattern.fullmatch(path)}  # fmt: skip


def test_a_reader_acts_for_itself(books: Client, app: App) -> None:
    made = books.signup("ada", PASSWORD, subjects=["crime"])
    with Client("http://service", token=made.access_token, transport=app) as mine:
        assert mine.recommend(n=1).user_id == made.user_id
        assert mine.search("title", personalised=True).personalised
        with pytest.raises(ProblemError) as refused:
            mine.recommend("r001")
    assert (refused.value.status, refused.value.field) == (403, "body.user_id")
    assert refused.value.allowed == "your own user_id or none"


def test_a_problem_says_what_the_service_said(books: Client) -> None:
    with pytest.raises(ProblemError, match=r"less than or equal to 100.*body\.n.*Received: 101") as refused:
        books.recommend("r001", n=101)
    assert isinstance(refused.value, TerminalError)
    assert refused.value.problem["title"] == "Unprocessable Entity"
    with pytest.raises(ProblemError) as missing:
        books.book("no such book?")
    assert (missing.value.status, missing.value.field) == (404, "path.work_id")
    assert missing.value.received == "no such book?"


def test_answers_have_the_fields_of_the_openapi_page(app: App) -> None:
    """What a newer service adds may be missing here; what is here must be there."""
    page = app.inner.get("/openapi.json").json()
    schemas = page["components"]["schemas"]
    names = {"Recommendations": "RecommendResponse", "Similar": "SimilarResponse", "Search": "SearchResponse",
             "Interactions": "InteractionsResponse", "Token": "TokenResponse", "Signup": "SignupResponse",
             "User": "UserResponse", "History": "HistoryResponse",
             "Decision": "DecisionResponse", "WhyNot": "WhyNotResponse"}  # fmt: skip
    kinds = [kind for kind in vars(answers).values()
             if isinstance(kind, type) and issubclass(kind, answers.Answer) and kind is not answers.Answer]  # fmt: skip
    assert len(kinds) > 10
    for kind in kinds:
        there = schemas[names.get(kind.__name__, kind.__name__)]["properties"]
        assert set(kind.model_fields) <= set(there), kind
    assert {kind.__name__ for kind in kinds if issubclass(kind, BaseModel)} >= {"Book", "User"}


class Away(httpx.BaseTransport):
    """Answers one after the other from a list: statuses, errors to raise, answers."""

    def __init__(self, *script: Any) -> None:
        self.script, self.bodies = list(script), list[bytes]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        now = self.script.pop(0)
        if isinstance(now, Exception):
            raise now
        return now


STORED = httpx.Response(200, json={"accepted": 1, "event_ids": [str(uuid.uuid4())], "fallbacks": []})
REFUSED = {"title": "Service Unavailable", "status": 503, "detail": "The stream did not confirm", "todo": "send again."}


def away(after: int | None = 2) -> httpx.Response:
    return httpx.Response(503, json=REFUSED, headers={"Retry-After": str(after)} if after is not None else {})


def told(*script: Any, tries: int = 4) -> tuple[Client, Away, list[float]]:
    waits: list[float] = []
    transport = Away(*script)
    return Client("http://service", transport=transport, sleep=waits.append, tries=tries), transport, waits


def test_a_part_that_is_away_is_waited_for_and_the_same_events_are_sent_again() -> None:
    client, transport, waits = told(away(2), httpx.ReadTimeout("slow"), away(None), STORED)
    assert client.interactions([Interaction("click", work_id="w1", user_id="u")]).accepted == 1
    assert waits == [2.0, 2.0, 4.0]
    assert len(set(transport.bodies)) == 1
    assert uuid.UUID(json.loads(transport.bodies[0])["events"][0]["event_id"]).version == 7


def test_what_stays_away_is_said_in_the_services_words() -> None:
    client, transport, waits = told(*[away(1)] * 3, tries=3)
    with pytest.raises(ServiceAwayError, match=r"The stream did not confirm.*send again"):
        client.recommend("u")
    assert (len(transport.bodies), waits) == (3, [1.0, 1.0])
    client, _, waits = told(away(3600))
    with pytest.raises(ServiceAwayError):
        client.recommend("u")
    assert waits == []
    client, _, _ = told(httpx.ConnectError("refused"), tries=1)
    with pytest.raises(ServiceAwayError, match=r"ConnectError: refused.*bookworks status"):
        client.recommend("u")


@pytest.mark.parametrize("failure", [away(0), httpx.ReadTimeout("slow"), httpx.ConnectError("refused")], ids=repr)
@pytest.mark.parametrize("ask", [lambda one: one.signup("ada", PASSWORD), lambda one: one.refresh("spent once")])
def test_what_is_good_for_one_use_is_tried_once(failure: Any, ask: Callable[[Client], Any]) -> None:
    client, transport, waits = told(failure)
    with pytest.raises(ServiceAwayError):
        ask(client)
    assert (len(transport.bodies), waits) == (1, [])


def test_logging_in_is_tried_again() -> None:
    tokens = {"user_id": "u", "access_token": "t", "token_type": "bearer", "expires_in": 9, "refresh_token": "r"}
    client, transport, _ = told(away(0), httpx.ReadTimeout("slow"), httpx.Response(200, json=tokens))
    assert client.login("ada", PASSWORD).refresh_token == "r"
    assert len(transport.bodies) == 3


def test_a_search_for_a_reader_is_personalised_unless_it_is_told_otherwise(books: Client, app: App) -> None:
    assert books.search("title", user_id="r001").personalised
    assert not books.search("title", user_id="r001", personalised=False).personalised
    assert not books.search("title").personalised
    assert ["personalised" in request.url.params for request in app.asked] == [False, True, False]


def test_interactions_have_the_kinds_that_the_service_takes() -> None:
    from serving.schemas import Interaction as Posted

    assert get_type_hints(Interaction)["kind"] == Posted.model_fields["kind"].annotation


@pytest.mark.parametrize("answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json={"n": 1})])
def test_an_answer_of_something_else_is_an_error_of_ours(answer: httpx.Response) -> None:
    client, _, _ = told(answer)
    with pytest.raises(BookworksError, match="none that this client knows"):
        client.recommend("u")
    client, _, _ = told(httpx.Response(502, text="<html>bad gateway"))
    with pytest.raises(ProblemError, match="bad gateway"):
        client.recommend("u")


def test_the_example_of_the_page_runs(books: Client, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (PROJECT_ROOT / "docs" / "users" / "service.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    monkeypatch.setattr(package, "Client", lambda url, **who: Client(url, transport=app, **who))
    said: list[str] = []
    exec(example, {"key": KEY, "print": lambda *words: said.append(" ".join(map(str, words)))})
    assert any("Title" in line for line in said)
    assert any("less than or equal to 100" in line for line in said)


def test_kinds_of_similar_books_are_those_of_the_service() -> None:
    from bookworks.client.calls import Kind
    from serving.similar import Kind as ofservice

    assert set(get_args(Kind)) == {kind.value for kind in ofservice}
