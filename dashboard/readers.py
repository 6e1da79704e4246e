"""The readers' page: sign up, get books, say what you think of them, search, take back what you said.

Run: `streamlit run dashboard/readers.py`. Everything is asked of the service through `bookworks.client`.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from bookworks import client
from bookworks.client import Interaction, Recommendations, RecommendedBook
from dashboard.cards import FOUND, STYLE, card, plain, why, why_at_length
from dashboard.door import door, say_what_is_missing
from dashboard.shelf import shelf
from dashboard.visit import done, log_out, renew, said, service, went

SURFACE = "readers-page"
N = 12
STARS = 2.0  # points of a rating for a star


def books_for_you(books: client.Client) -> None:
    """The slate; what is rated or sent away leaves it, and the next one knows of it."""
    if st.button("Other books", icon=":material/refresh:"):
        st.session_state.pop("slate", None)
    if "slate" not in st.session_state:
        st.session_state["slate"] = said(lambda: books.recommend(n=N, surface=SURFACE, explain=True))
        st.session_state["gone"] = set()
    slate: Recommendations | None = st.session_state["slate"]
    if slate is None:
        st.session_state.pop("slate")
        return
    if slate.fallbacks:
        st.caption("A part of the service is away; these books are a little less your own than usual.")
    gone, authors_gone = st.session_state["gone"], st.session_state["authors_gone"]
    shown = [item for item in slate.items if item.work_id not in gone and item.author not in authors_gone]
    if not shown:
        st.info("That was all. Ask for other books.")
    for left, right in zip(shown[::2], [*shown[1::2], None], strict=False):
        for column, item in zip(st.columns(2), (left, right), strict=True):
            if item is not None:
                with column, st.container(border=True):
                    shown_book(books, item, slate)


def shown_book(books: client.Client, item: RecommendedBook, slate: Recommendations) -> None:
    """One book of the slate: why it is here, and what the reader says to it."""
    st.html(card(item.title, item.author, item.year, item.image_url, why(item.reasons)))
    with st.expander("Why this book?"):
        for line in why_at_length(item):
            st.text(line)
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
    key = f"stars-{place}-{work_id}-{st.session_state['forgotten'][work_id]}"
    stars = st.feedback("stars", key=key)
    sent: set[tuple[str, int]] = st.session_state["sent"]
    if stars is not None and (key, stars) not in sent:  # they stay where they are at each run of the page
        rating = Interaction("rating", work_id=work_id, value=(stars + 1) * STARS, surface=SURFACE, **shown)
        if went(lambda: books.interactions([rating])):
            sent.add((key, stars))
            st.session_state["gone"].add(work_id)
            done(f"{stars + 1} of 5 for “{title[:80]}”.")
    with st.container(horizontal=True):
        never = st.button("Not for me", key=f"dismiss-{place}-{work_id}", help="Never show this book again.")
        none_of_it = author is not None and st.button(
            "Not this author", key=f"author-{place}-{work_id}", help="None of this author again."
        )
    dismissal = Interaction("dismiss", work_id=work_id, surface=SURFACE, **shown)
    if never and went(lambda: books.interactions([dismissal])):
        st.session_state["gone"].add(work_id)
        done(f"“{title[:80]}” will not come again.")
    if none_of_it and author and went(lambda: books.dismiss_author(st.session_state["user_id"], author)):
        st.session_state["authors_gone"].add(author)
        done(f"Nothing by {author[:80]} will come again.")


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
    say_what_is_missing(answer)
    for item in answer.items:
        with st.container(border=True):
            st.html(card(item.title, item.author, item.year, item.image_url, why(item.reasons, FOUND)))
            opinion(books, item.work_id, item.title, item.author, "found")


def sidebar() -> None:
    """Who is here, and the way out."""
    st.text(f"Logged in as {st.session_state['username']}")
    if st.button("Log out"):
        with service() as books:
            said(lambda: books.logout(st.session_state["refresh_token"]))
        log_out()


def page() -> None:
    """The whole page."""
    st.set_page_config(page_title="Books for you", page_icon=":material/menu_book:", layout="centered")
    st.html(STYLE)
    if "token" not in st.session_state:
        door()
        return
    with st.sidebar:
        sidebar()
    st.title("Books for you")
    with st.container():  # always there: what stands below keeps its place, and the tabs which of them is open
        good = renew()
        if told := st.session_state.pop("told", ""):
            st.success(plain(told))
    if not good:
        st.button("Try again")
        return
    with service(st.session_state["token"]) as books:
        yours, search, mine = st.tabs(["For you", "Search", "My shelf"])
        with yours:
            books_for_you(books)
        with search:
            found(books)
        with mine:
            shelf(books)


page()
