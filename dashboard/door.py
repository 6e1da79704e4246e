"""The door of the readers' page: logging in, and signing up with books, authors and subjects that one likes."""

from __future__ import annotations

import streamlit as st

from bookworks.client import FoundBook, Search, Signup
from dashboard.cards import named, plain
from dashboard.visit import log_in, said, service

OFFERED = 6  # books of a search
LOVED_MAX = 10
LIKES_MAX = 50  # what the service takes


def door() -> None:
    """Logging in and signing up."""
    st.title("Books for you")
    place = st.empty()  # always there, so that the tabs keep which of them is open
    if message := st.session_state.pop("message", ""):
        place.info(message)
    entering, joining = st.tabs(["Log in", "Sign up"])
    with entering, st.form("login"):
        enter()
    with joining:
        with st.container():  # one place, however much is in it, so that the form below keeps what is typed
            loved = loved_books()
        with st.form("signup"):
            sign_up(loved)


def enter() -> None:
    """The form for a reader who has been here."""
    name = st.text_input("Name", autocomplete="username", max_chars=64)
    password = st.text_input("Password", type="password", autocomplete="current-password", max_chars=200)
    if st.form_submit_button("Log in", type="primary"):
        with service() as books:
            token = said(lambda: books.login(name, password))
        if token:
            log_in(token, name)


def loved_books() -> dict[str, str]:
    """Search for books that the new reader loves, and pick some; work id -> name."""
    loved: dict[str, str] = st.session_state.setdefault("loved", {})
    with st.form("loving"):
        words = st.text_input("Three books that you love", max_chars=200, placeholder="Title, author or ISBN")
        sought = st.form_submit_button("Find")
    if sought and words.strip():
        with service() as books:
            st.session_state["offered"] = said(lambda: books.search(words, n=OFFERED))
    answer: Search | None = st.session_state.get("offered")
    if answer is not None:
        say_what_is_missing(answer)
        offer(answer.items, loved)
    if loved:
        st.caption("You love these; press one to take it out:")
    with st.container(horizontal=True):
        for work_id, name in loved.items():
            st.button(
                plain(name), icon=":material/favorite:", key=f"loved-{work_id}", on_click=loved.pop, args=(work_id,)
            )
    return loved


def offer(found: list[FoundBook], loved: dict[str, str]) -> None:
    """A button for each book that was found and is not yet loved."""
    if len(loved) >= LOVED_MAX:
        return
    new = [item for item in found if item.work_id not in loved]
    if new:
        st.caption("Press those that you love:")
    with st.container(horizontal=True):
        for item in new:
            name = named(item.title, item.author)
            add = {"on_click": loved.update, "args": ({item.work_id: name},)}
            st.button(plain(name), icon=":material/add:", key=f"offer-{item.work_id}", **add)


def say_what_is_missing(answer: Search) -> None:
    """In words, where nothing is found, or an ISBN is wrong or of no book."""
    if answer.isbn is not None and not (answer.isbn.valid and answer.items):
        st.info(answer.isbn.detail)
    if not answer.items:
        st.info("Nothing is found. Try fewer words, or only the author's name.")


def sign_up(loved: dict[str, str]) -> None:
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
            made: Signup | None = said(
                lambda: books.signup(
                    name,
                    password,
                    authors=_listed(authors),
                    subjects=_listed(subjects),
                    books=list(loved),
                    country=country.strip() or None,
                )
            )
        if made:
            if unknown := [loved[book] for book in made.unknown_books]:
                st.session_state["told"] = f"Welcome. These are no longer in the catalogue: {'; '.join(unknown)}."
            log_in(made, name)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()][:LIKES_MAX]
