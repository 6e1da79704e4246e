"""The reader's shelf: what the service knows of a reader, and how to take it back."""

from __future__ import annotations

import streamlit as st

from bookworks import client
from bookworks.client import ProblemError
from dashboard.cards import card, cut, plain
from dashboard.visit import done, said, went

N = 50
_NO_SUCH_BOOK = 404


def shelf(books: client.Client) -> None:
    """Tastes, authors who were sent away, and the books of the history."""
    user_id = st.session_state["user_id"]
    me = said(lambda: books.user(user_id))
    if me is None:
        return
    likes = f" You like: {plain(', '.join(me.tastes))}." if me.tastes else ""
    st.caption(f"{me.seen} read, {me.dismissed} sent away.{likes}")
    if me.fallbacks:
        st.caption("A part of the service is away; not all that it knows may stand here.")
    if me.dismissed_authors:
        st.subheader("Authors who were sent away")
    for author in me.dismissed_authors:
        author_away(books, author)
    history = said(lambda: books.history(user_id, n=N))
    if history is not None:
        st.subheader("Your books")
        row_of_books(books, history)


def author_away(books: client.Client, author: str) -> None:
    """An author who was sent away, and the way back."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(cut(author, 120))
        back = st.button("Take back", key=f"back-{author}", help="Books of this author may come again.")
    if back and went(lambda: books.take_back_author(st.session_state["user_id"], author)):
        st.session_state["authors_gone"].discard(author)
        done(f"Books by {author[:80]} may come again.")


def row_of_books(books: client.Client, history: client.History) -> None:
    """The books that the reader had to do with, the latest first."""
    if not history.items:
        st.info("Nothing yet. Rate a book, and it stands here.")
    for item in history.items:
        with st.container(border=True):
            st.html(card(item.title or "", item.author, None, None))
            if st.button("Forget", key=f"forget-{item.work_id}", help="Forget all that you did with this book."):
                take_off(books, item.work_id, item.title or "The book")
    if history.next is not None:
        st.caption(f"These are the latest {len(history.items)} of {history.total}.")


def take_off(books: client.Client, work_id: str, title: str) -> None:
    """Have a book forgotten, and say what came of it."""
    stays = said(lambda: is_there_still(books, work_id))
    if stays:
        st.warning(f"“{plain(title[:80])}” is still on your shelf. Please try again in a few minutes.")
    elif stays is not None:
        st.session_state["forgotten"][work_id] += 1  # so that its stars are empty again
        done(f"“{title[:80]}” is forgotten.")


def is_there_still(books: client.Client, work_id: str) -> bool:
    """Forget a book; whether it is in the history all the same. One that is gone already is no error."""
    user_id = st.session_state["user_id"]
    try:
        books.forget(user_id, work_id)
    except ProblemError as problem:
        if problem.status != _NO_SUCH_BOOK:
            raise
    return work_id in [item.work_id for item in books.history(user_id, n=N).items]
