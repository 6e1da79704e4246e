"""The readers' page, against the real app in this process."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from bookworks import client
from bookworks.client import BookPath, ProblemError, RecommendedBook, ServiceAwayError
from bookworks.models.bundle_files import BundleContent
from bookworks.settings import PROJECT_ROOT
from dashboard.cards import NO_TITLE, card, drawn_cover, is_picture, why, why_at_length
from serving.app import make_app
from tests.bookworks.test_client import App
from tests.serving.fakes import FakePlatform, served
from tests.support.bundles import make_tiny_bundle

PAGE = str(PROJECT_ROOT / "dashboard" / "readers.py")
PASSWORD = "a long pass phrase"
ATTACK = "<script>window.taken=1</script><img src=x onerror=window.taken=1>[a](javascript:alert(1)) :red[b] $x$ **c**"
LONG = "A title that does not end " * 40


def with_odd_titles(content: BundleContent) -> BundleContent:
    """The most popular works have titles and covers as bad catalogues have them."""
    works = content.works
    odd = {"title": [ATTACK, None, LONG, "", "\"quoted\" 'title'"], "author": [ATTACK, None, "Å" * 300, "", "A & B"]}
    odd["image_url"] = ["/etc/passwd", "javascript:alert(1)", 'https://covers.test/1.jpg?a=1&b="2"', "", None]
    order = content.popularity["global"][:5]
    for name, values in odd.items():
        column = works[name].to_pylist()
        for index, value in zip(order, values, strict=True):
            column[index] = value
        works = works.set_column(works.column_names.index(name), name, pa.array(column, pa.string()))
    return replace(content, works=works)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_tiny_bundle(tmp_path_factory.mktemp("page"), n_works=60, change=with_odd_titles)


@pytest.fixture
def platform(bundle: Any) -> FakePlatform:
    return FakePlatform(served(bundle))


@pytest.fixture
def page(platform: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page, whose client talks to the app of `platform`; waiting takes no time."""
    app, real = App(make_app(platform)), client.Client
    patient = {"transport": app, "sleep": lambda _: None}
    monkeypatch.setattr(client, "Client", lambda url, **who: real(url, **who | patient))
    return AppTest.from_file(PAGE, default_timeout=60).run()


def sign_up(page: AppTest, name: str = "ada", subjects: str = "", password: str = PASSWORD) -> AppTest:
    fields = list(page.tabs[1].text_input)[1:]  # the first one asks for a loved book
    for field, value in zip(fields, [name, password, "Author 3; Author 4", subjects, "Germany"], strict=True):
        field.set_value(value)
    return button(page, "Sign up").click().run()


def titles(page: AppTest, tab: int = 0) -> list[str]:
    return [
        match[1] for one in page.tabs[tab].get("html") for match in re.finditer(r'<h3 title="([^"]*)"', one.proto.body)
    ]


def button(page: AppTest, label: str) -> Any:
    return next(one for one in page.button if one.label == label)


def test_signing_up_gives_books_and_says_why(page: AppTest, platform: FakePlatform) -> None:
    assert page.title[0].value == "Books for you"
    sign_up(page, subjects="crime")
    assert not page.exception
    assert not page.error
    (reader,) = platform.accounts.rows.values()
    assert (reader.username, reader.country, reader.tastes) == ("ada", "DE", ["Author 3", "Author 4", "crime"])
    assert len(titles(page)) == 12
    assert "it has what you said that you like" in page.get("html")[1].proto.body
    assert page.sidebar.text[0].value == "Logged in as ada"


def love(page: AppTest, words: str, *names: str) -> None:
    """Find books at the door, and pick some of them."""
    page.tabs[1].text_input[0].set_value(words)
    button(page, "Find").click().run()
    for name in names:
        button(page, name).click().run()


def test_loved_books_are_found_picked_and_put_back_at_the_door(page: AppTest, platform: FakePlatform) -> None:
    love(page, "titel 26", "Title 26, Author 11")
    love(page, "9780000000002", "Title 2, Author 2")
    love(page, "title 17", "Title 17, Author 2")
    button(page, "Title 17, Author 2").click().run()  # back among those that were found
    assert button(page, "Title 17, Author 2").key == "offer-w017"
    sign_up(page)
    assert not page.exception
    assert [(event.kind, event.work_id) for event in platform.stream.events] == [("shelve", "w026"), ("shelve", "w002")]
    assert not {"w026", "w002"} & {item.work_id for item in platform.decisions.kept[-1].items}
    assert sorted(titles(page, 2)) == ["Title 2", "Title 26"]


def test_the_door_says_what_is_not_found_and_takes_no_book_that_is_gone(page: AppTest, platform: FakePlatform) -> None:
    love(page, "xyzzyx")
    assert "Nothing is found" in page.tabs[1].info[0].value
    page.session_state["loved"] = {"w999": "Lost *Book*"}
    sign_up(page)
    assert page.success[0].value.endswith(r"no longer in the catalogue\: Lost \*Book\*\.")
    assert platform.stream.events == []


def test_logging_in_and_out_and_a_wrong_password(page: AppTest) -> None:
    sign_up(page)
    button(page, "Log out").click().run()
    assert [tab.label for tab in page.tabs] == ["Log in", "Sign up"]
    for password, error in (("wrong", 1), (PASSWORD, 0)):
        page.tabs[0].text_input[0].set_value("ada")
        page.tabs[0].text_input[1].set_value(password)
        page.tabs[0].button[0].click().run()
        assert len(page.error) == error
    assert [tab.label for tab in page.tabs] == ["For you", "Search", "My shelf"]


def test_a_refused_sign_up_says_why_and_shows_no_password(page: AppTest) -> None:
    sign_up(page, password="short")
    assert "at least 10" in page.error[0].value
    assert "short" not in page.error[0].value


def test_a_rating_is_stored_once_with_its_slate_and_the_book_goes(page: AppTest, platform: FakePlatform) -> None:
    sign_up(page)
    first = titles(page)[0]
    page.get("feedback")[0].set_value(3).run()
    assert not page.exception
    (event,) = platform.stream.events
    (decision,) = platform.decisions.kept
    assert (event.kind, event.value, event.surface, event.position) == ("rating", 8.0, "readers-page", 0)
    assert event.decision_id == decision.decision_id
    assert "4 of 5" in page.success[0].value
    assert first not in titles(page)
    page.run()
    assert len(platform.stream.events) == 1, "a run of the page sends nothing again"
    shelf = [one.proto.body for one in page.tabs[2].get("html")]
    assert len(shelf) == 1
    button(page, "Other books").click().run()
    assert event.work_id not in [item.work_id for item in platform.decisions.kept[-1].items]


def test_a_book_that_is_sent_away_never_comes_again(page: AppTest, platform: FakePlatform) -> None:
    sign_up(page)
    next(one for one in page.button if (one.key or "").startswith("dismiss-slate-")).click().run()
    (event,) = platform.stream.events
    assert (event.kind, event.position) == ("dismiss", 0)
    button(page, "Other books").click().run()
    assert event.work_id not in [item.work_id for item in platform.decisions.kept[-1].items]


def test_an_author_who_is_sent_away_never_comes_again(page: AppTest, platform: FakePlatform) -> None:
    sign_up(page)
    author = platform.bundles.current.catalogue.columns["author"]
    index_of = platform.bundles.current.bundle.index_of
    first = platform.decisions.kept[-1].items[5].work_id
    button_of = next(one for one in page.button if one.key == f"author-slate-{first}")
    button_of.click().run()
    assert not page.exception
    assert "will come again" in page.success[0].value
    button(page, "Other books").click().run()
    assert author[index_of[first]] not in [author[index_of[item.work_id]] for item in platform.decisions.kept[-1].items]


def test_an_author_is_taken_back_from_the_shelf(page: AppTest, platform: FakePlatform) -> None:
    sign_up(page)
    before, third = titles(page), platform.decisions.kept[-1].items[5].work_id
    next(one for one in page.button if one.key == f"author-slate-{third}").click().run()
    (author,) = platform.history.read(page.session_state["user_id"]).dismissed_authors
    assert author in [one.value for one in page.tabs[2].text]
    assert len(titles(page)) < len(before)
    button(page, "Take back").click().run()
    assert not page.exception
    assert "may come again" in page.success[0].value
    assert platform.dismissed_authors.of(page.session_state["user_id"]) == []
    assert titles(page) == before, "the slate has the author's books again"
    assert "Take back" not in [one.label for one in page.button]


def rate_first(page: AppTest) -> str:
    """Rate the first book of a new reader; its title."""
    sign_up(page)
    page.get("feedback")[5].set_value(4).run()
    (title,) = titles(page, 2)
    return title


def test_a_book_is_forgotten_and_may_be_rated_again(page: AppTest, platform: FakePlatform) -> None:
    title = rate_first(page)
    search(page, title)
    page.tabs[1].get("feedback")[0].set_value(2).run()
    button(page, "Forget").click().run()
    assert "is forgotten" in page.success[0].value
    assert platform.stream.events[-1].kind == "forget"
    assert titles(page, 2) == []
    page.run()
    assert platform.stream.events[-1].kind == "forget", "its stars are empty, so that no old rating is sent again"
    page.tabs[1].get("feedback")[0].set_value(2).run()
    assert (platform.stream.events[-1].kind, titles(page, 2)) == ("rating", [title])


def test_a_book_that_stays_or_is_gone_already_is_told_in_words(
    page: AppTest, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    title = rate_first(page)
    with monkeypatch.context() as deaf:
        deaf.setattr(platform.history, "remember", lambda _: None)
        button(page, "Forget").click().run()
    assert page.warning[0].value == f"“{title}” is still on your shelf. Please try again in a few minutes."
    assert titles(page, 2) == [title]
    platform.stream.away = True
    button(page, "Forget").click().run()
    assert "again" in page.error[0].value
    assert titles(page, 2) == [title]
    platform.stream.away = False

    def forgotten_elsewhere(*_: str) -> None:
        platform.history.readers.clear()
        raise ProblemError(404, {"detail": "There is no such book, here or in the history"})

    monkeypatch.setattr(client.calls.Client, "forget", forgotten_elsewhere)
    button(page, "Forget").click().run()
    assert not page.exception
    assert "is forgotten" in page.success[0].value


def test_a_book_whose_clock_was_ahead_is_forgotten_too(page: AppTest, platform: FakePlatform) -> None:
    rate_first(page)
    book = platform.stream.events[-1].work_id
    platform.history.at[page.session_state["user_id"], book] += timedelta(minutes=4)
    button(page, "Forget").click().run()
    assert "is forgotten" in page.success[0].value
    assert titles(page, 2) == []


def test_tokens_are_renewed_in_time_and_ended_at_the_end(page: AppTest) -> None:
    sign_up(page)
    before = page.session_state["refresh_token"]
    page.session_state["due"] = 0.0
    page.run()
    assert page.session_state["refresh_token"] != before
    page.session_state["due"], page.session_state["refresh_token"] = 0.0, before
    page.run()
    assert page.info[0].value == "Please log in again."


@pytest.mark.parametrize(
    "error", [ServiceAwayError("away"), ProblemError(429, {"detail": "Too many calls"}), ProblemError(503, {})], ids=str
)
def test_a_session_outlives_a_service_that_is_away(
    page: AppTest, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sign_up(page)
    kept = page.session_state["refresh_token"]

    def refresh(*_: object) -> None:
        raise error

    with monkeypatch.context() as refusing:
        refusing.setattr(client.calls.Client, "refresh", refresh)
        page.session_state["due"] = 0.0
        page.run()
        assert "away for the moment" in page.warning[0].value
        assert len(titles(page)) == 12, "the access token still lives"
        page.session_state["ends"] = 0.0
        page.run()
        assert "away for the moment" in page.warning[0].value
        assert (len(page.tabs), page.session_state["refresh_token"]) == (0, kept)
    button(page, "Try again").click().run()
    assert (len(page.warning), len(titles(page))) == (0, 12)
    assert page.session_state["refresh_token"] != kept


def search(page: AppTest, query: str, mine: bool = False) -> AppTest:
    page.tabs[1].text_input[0].set_value(query)
    if mine:
        page.tabs[1].checkbox[0].check()
    return page.tabs[1].button[0].click().run()


def test_search_finds_and_its_books_can_be_rated(page: AppTest, platform: FakePlatform) -> None:
    sign_up(page)
    search(page, "titel 26", mine=True)
    assert titles(page, 1)[0] == "Title 26"
    page.tabs[1].get("feedback")[0].set_value(4).run()
    (event,) = platform.stream.events
    assert (event.work_id, event.value, event.decision_id, event.position) == ("w026", 10.0, None, None)
    search(page, "xyzzyx")
    assert "Nothing is found" in page.tabs[1].info[0].value
    search(page, "978-0-441-47812-4")
    assert "This is no ISBN" in page.tabs[1].info[0].value


def test_what_is_away_is_said_in_words(page: AppTest, platform: FakePlatform) -> None:
    sign_up(page)
    platform.stream.away = True
    next(one for one in page.button if (one.key or "").startswith("dismiss-slate-")).click().run()
    assert "stream did not confirm" in page.error[0].value or "away" in page.error[0].value
    assert not page.exception
    platform.stream.away, platform.bundles.current = False, None
    button(page, "Other books").click().run()
    assert "No bundle is loaded" in page.error[0].value
    assert not page.exception


def test_a_token_that_is_no_longer_good_leads_to_the_door(page: AppTest, platform: FakePlatform) -> None:
    sign_up(page)
    page.session_state["token"] = "no longer"
    page.run()
    assert [tab.label for tab in page.tabs] == ["Log in", "Sign up"]
    assert page.info[0].value == "Please log in again."


class Parsed(HTMLParser):
    """Tags with their attributes, and the text between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.words = list[tuple[str, dict[str, str | None]]](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_titles_that_are_markup_missing_or_endless_are_only_text(page: AppTest) -> None:
    sign_up(page)
    cards = [Parsed(one.proto.body) for one in page.tabs[0].get("html")]
    shown = " ".join(one.words for one in cards)
    assert "<script>window.taken=1</script>" in shown
    assert NO_TITLE in shown
    assert {tag for one in cards for tag, _ in one.tags} <= {"article", "div", "h3", "p", "img"}
    assert [a["src"] for one in cards for tag, a in one.tags if tag == "img"] == ['https://covers.test/1.jpg?a=1&b="2"']


@settings(max_examples=100, deadline=None)
@given(title=st.text(max_size=400), author=st.none() | st.text(max_size=100), image=st.none() | st.text(max_size=60))
def test_no_text_becomes_markup(title: str, author: str | None, image: str | None) -> None:
    parsed = Parsed(card(title, author, 2000, image, "x"))
    assert [tag for tag, _ in parsed.tags if tag != "img"] == ["article", "div", "div", "h3", "p", "p"]
    assert all(is_picture(str(a["src"])) for tag, a in parsed.tags if tag == "img")
    allowed = {"class", "style", "title", "src", "alt", "loading", "referrerpolicy"}
    assert {name for _, attributes in parsed.tags for name in attributes} <= allowed
    style = next(str(a["style"]) for _, a in parsed.tags if "style" in a)
    picture = b64decode(re.search(r"base64,([A-Za-z0-9+/=]*)'\)$", style)[1])
    root = ElementTree.fromstring(picture)
    assert {one.tag.rpartition("}")[2] for one in root.iter()} == {"svg", "rect", "text", "tspan"}


@pytest.mark.parametrize(
    "address",
    ["/etc/passwd", "file:///etc/passwd", "javascript:alert(1)", "data:text/html,x", "//a", "http://", "http://[", ""],
)
def test_only_addresses_of_the_web_are_pictures(address: str) -> None:
    assert not is_picture(address)
    assert "<img" not in card("t", "a", None, address)


def test_a_drawn_cover_is_the_same_each_time_and_cuts_what_is_long() -> None:
    assert drawn_cover("Dune", "Frank Herbert") == drawn_cover("Dune", "Frank Herbert")
    assert "…" in drawn_cover(LONG, None)
    assert why(["item_filter", "unheard of"]) == "Because readers of your books read it."
    assert why([]) == ""


def test_why_says_each_reason_with_its_share_and_how_likely_it_is() -> None:
    book = RecommendedBook(
        position=0, work_id="w", title="t", author=None, year=None, image_url=None, score=1.0, propensity=1.0,
        reasons=["exploration", "vectors", "popularity", "unheard of"], explanation={"probability": 0.072},
        sources={"vectors": 0.6, "popularity": 0.2, "same_author": -0.1, "unheard of": 0.0},
        paths=[
            BookPath(relation="same_author", work_id="a", title="Emma", weight=0.9, rating=9.0),
            BookPath(relation="next_in_series", work_id="b", title="", weight=0.8, rating=None),
            BookPath(relation="something new", work_id="c", title="c", weight=0.8, rating=None),
        ],
    )  # fmt: skip
    assert why_at_length(book) == [
        "It is something else, to try.",
        "It is near to your taste: 75% of what speaks for it.",
        "Many readers like it: 25% of what speaks for it.",
        "It is by the author of “Emma”, which you rated 9.",
        "It comes after “(without a title)”.",
        "Of 100 readers like you, about 7 would read it.",
    ]
    assert "fewer than one" in why_at_length(book.model_copy(update={"explanation": {"probability": 0.001}}))[-1]
    assert why_at_length(book.model_copy(update={"reasons": [], "explanation": None, "paths": []})) == [
        "The service gives no reason."
    ]
