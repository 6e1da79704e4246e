"""The readers' page: sign up, get books, say what you think of them, search.

Run: `streamlit run dashboard/readers.py`. Everything is asked of the service through `bookworks.client`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import streamlit as st

from bookworks import client
from bookworks.client import Interaction, ProblemError, Recommendations
from bookworks.errors import BookworksError
from bookworks.settings import get_settings
from dashboard.cards import FOUND, STYLE, card, why

SURFACE = "readers-page"
N = 12
TRIES = 2  # a person waits
RENEWED_AT = 0.8  # of a token's life
STARS = 2.0  # points of a rating for a star
_TOKEN_GONE = 401


def service(token: str | None = None) -> client.Client:
    """A connection to the service, for whoever has this token."""
    return client.Client(get_settings().service_url, token=token, tries=TRIES)


def said(do: Callable[[], Any]) -> Any:
    """What `do` gives; None where it fails, which is then said in words on the page."""
    try:
        return do()
    except ProblemError as problem:
        if problem.status == _TOKEN_GONE and "token" in st.session_state:
            log_out("Please log in again.")
        st.error(f"{problem.detail}. {problem.problem.get('todo') or ''}".strip())
    except BookworksError as error:
        st.error(f"{error.what}. Please try again in a moment.")
    return None


def log_in(token: client.Token, username: str) -> None:
    """Remember who is here, for this tab of the browser."""
    st.session_state.update(user_id=token.user_id, username=username)
    keep(token)
    st.rerun()


def keep(token: client.Token) -> None:
    """Keep the tokens, and when new ones are due."""
    due = time.time() + RENEWED_AT * token.expires_in
    st.session_state.update(token=token.access_token, refresh_token=token.refresh_token, due=due)


def renew() -> None:
    """Ask for the next tokens when it is time; without an answer the old one goes on for a while."""
    if time.time() < st.session_state["due"]:
        return
    try:
        with service() as books:
            keep(books.refresh(st.session_state["refresh_token"]))
    except ProblemError:
        log_out("Please log in again.")
    except BookworksError:
        pass


def log_out(message: str = "") -> None:
    """Forget who was here."""
    st.session_state.clear()
    st.session_state["message"] = message
    st.rerun()


def door() -> None:
    """Logging in and signing up."""
    st.title("Books for you")
    place = st.empty()  # always there, so that the tabs keep which of them is open
    if message := st.session_state.pop("message", ""):
        place.info(message)
    entering, joining = st.tabs(["Log in", "Sign up"])
    with entering, st.form("login"):
        name = st.text_input("Name", autocomplete="username", max_chars=64)
        password = st.text_input("Password", type="password", autocomplete="current-password", max_chars=200)
        if st.form_submit_button("Log in", type="primary"):
            with service() as books:
                token = said(lambda: books.login(name, password))
            if token:
                log_in(token, name)
    with joining, st.form("signup"):
        sign_up()


def sign_up() -> None:
    """The form for a new reader; what it likes gives the first books."""
    name = st.text_input("Name", autocomplete="username", max_chars=64, help="3 to 64 letters, digits or . _ @ + -")
    password = st.text_input(
        "Password", type="password", autocomplete="new-password", max_chars=200, help="At least 10 characters."
    )
    authors = st.text_input("Authors that you like", placeholder="Ursula K. Le Guin; Terry Pratchett")
    subjects = st.text_input("Subjects that you like", placeholder="science fiction; history")
    country = st.text_input("Country", max_chars=100, help="May stay empty.")
    if st.form_submit_button("Sign up", type="primary"):
        with service() as books:
            made = said(
                lambda: books.signup(
                    name,
                    password,
                    authors=_listed(authors),
                    subjects=_listed(subjects),
                    country=country.strip() or None,
                )
            )
        if made:
            log_in(made, name)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()][:50]


def books_for_you(books: client.Client) -> None:
    """The slate; what is rated or sent away leaves it, and the next one knows of it."""
    if st.button("Other books", icon=":material/refresh:"):
        st.session_state.pop("slate", None)
    if "slate" not in st.session_state:
        st.session_state["slate"] = said(lambda: books.recommend(n=N, surface=SURFACE))
        st.session_state["gone"] = set()
    slate: Recommendations | None = st.session_state["slate"]
    if slate is None:
        st.session_state.pop("slate")
        return
    if slate.fallbacks:
        st.caption("A part of the service is away; these books are a little less your own than usual.")
    gone = st.session_state["gone"] | st.session_state.setdefault("authors_gone", set())
    shown = [item for item in slate.items if not {item.work_id, item.author} & gone]
    if not shown:
        st.info("That was all. Ask for other books.")
    for left, right in zip(shown[::2], [*shown[1::2], None], strict=False):
        for column, item in zip(st.columns(2), (left, right), strict=True):
            if item is not None:
                with column, st.container(border=True):
                    st.html(card(item.title, item.author, item.year, item.image_url, why(item.reasons)))
                    shown_by = {"decision_id": slate.decision_id, "position": item.position}
                    opinion(books, item.work_id, item.title, item.author, "slate", **shown_by)


def opinion(books: client.Client, work_id: str, title: str, author: str | None, place: str, **shown: Any) -> None:
    """Stars, `not for me` and `not this author`.

    Args:
        books: the connection.
        work_id: of the book.
        title: of the book.
        author: of the book.
        place: tells this book's buttons from those of the same book elsewhere on the page.
        shown: the slate that showed the book, and where in it.
    """
    st.caption("Have you read it?")
    stars = st.feedback("stars", key=f"stars-{place}-{work_id}")
    sent: set[tuple[str, int]] = st.session_state.setdefault("sent", set())
    if stars is not None and (work_id, stars) not in sent:  # they stay where they are at each run of the page
        rating = Interaction("rating", work_id=work_id, value=(stars + 1) * STARS, surface=SURFACE, **shown)
        if tell(books, rating):
            sent.add((work_id, stars))
            done(work_id, f"{stars + 1} of 5 for “{title[:80]}”.")
    never = st.button("Not for me", key=f"dismiss-{place}-{work_id}", help="Never show this book again.")
    if never and tell(books, Interaction("dismiss", work_id=work_id, surface=SURFACE, **shown)):
        done(work_id, f"“{title[:80]}” will not come again.")
    if author is None:
        return
    none_of_it = st.button("Not this author", key=f"author-{place}-{work_id}", help="None of this author again.")
    if none_of_it and said(lambda: send_away(books, author)):
        st.session_state["authors_gone"].add(author)
        done(work_id, f"Nothing by {author[:80]} will come again.")


def send_away(books: client.Client, author: str) -> bool:
    """No book of this author comes again."""
    books.dismiss_author(st.session_state["user_id"], author)
    return True


def tell(books: client.Client, event: Interaction) -> bool:
    """Send what the reader did; whether it is stored."""
    return said(lambda: books.interactions([event])) is not None


def done(work_id: str, message: str) -> None:
    """Say so at the next run of the page, which shows the book no more."""
    st.session_state.setdefault("gone", set()).add(work_id)
    st.session_state["told"] = message
    st.rerun()


def _plain(text: str) -> str:
    """The text without what Streamlit would read as a sign of its markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|~<>$:&@" else c for c in " ".join(text.split()))


def found(books: client.Client) -> None:
    """Search by words or ISBN."""
    with st.form("search"):
        query = st.text_input("Title, author or ISBN", max_chars=200, placeholder="lord of teh rings")
        mine = st.checkbox("What I like first")
        sought = st.form_submit_button("Search", type="primary")
    if sought and query.strip():
        answer = said(lambda: books.search(query, n=N, personalised=mine))
        if answer is not None:
            st.session_state["found"] = answer
    answer = st.session_state.get("found")
    if answer is None:
        return
    if answer.isbn is not None and not (answer.isbn.valid and answer.items):
        st.info(answer.isbn.detail)
    if not answer.items:
        st.info("Nothing is found. Try fewer words, or only the author's name.")
    for item in answer.items:
        with st.container(border=True):
            st.html(card(item.title, item.author, item.year, item.image_url, why(item.reasons, FOUND)))
            opinion(books, item.work_id, item.title, item.author, "found")


def shelf(books: client.Client) -> None:
    """What the service knows of the reader."""
    me = said(lambda: books.user(st.session_state["user_id"]))
    if me is None:
        return
    likes = f" You like: {_plain(', '.join(me.tastes))}." if me.tastes else ""
    st.caption(f"{me.seen} read, {me.dismissed} sent away.{likes}")
    if not me.history:
        st.info("Nothing yet. Rate a book, and it stands here.")
    for item in me.history:
        st.html(card(item.title or "", None, None, None))


def page() -> None:
    """The whole page."""
    st.set_page_config(page_title="Books for you", page_icon=":material/menu_book:", layout="centered")
    st.html(STYLE)
    if "token" not in st.session_state:
        door()
        return
    renew()
    with st.sidebar:
        st.text(f"Logged in as {st.session_state['username']}")
        if st.button("Log out"):
            with service() as books:
                said(lambda: books.logout(st.session_state["refresh_token"]))
            log_out()
    st.title("Books for you")
    message = st.empty()  # always there: what stands below keeps its place, and the tabs which of them is open
    if told := st.session_state.pop("told", ""):
        message.success(_plain(told))
    with service(st.session_state["token"]) as books:
        yours, search, mine = st.tabs(["For you", "Search", "My shelf"])
        with yours:
            books_for_you(books)
        with search:
            found(books)
        with mine:
            shelf(books)


page()
