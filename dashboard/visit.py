"""Who is here, for this tab of the browser: its tokens, and calls whose failures are said in words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import streamlit as st

from bookworks import client
from bookworks.client import ProblemError
from bookworks.errors import BookworksError
from bookworks.settings import get_settings

TRIES = 2  # a person waits
RENEWED_AT = 0.8  # of a token's life
AWAY = "The service is away for the moment. You stay logged in; please try again in a little while."
LOG_IN_AGAIN = "Please log in again."
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
            log_out(LOG_IN_AGAIN)
        st.error(f"{problem.detail}. {problem.problem.get('todo') or ''}".strip())
    except BookworksError as error:
        st.error(f"{error.what}. Please try again in a moment.")
    return None


def went(do: Callable[[], object]) -> bool:
    """Whether `do` did not fail; what failed is said in words on the page."""
    return said(lambda: [do()]) is not None


def done(message: str) -> None:
    """Say so at the next run of the page, which comes at once."""
    st.session_state["told"] = message
    st.rerun()


def log_in(token: client.Token, username: str) -> None:
    """Remember who is here, who has not done anything yet."""
    st.session_state.update(user_id=token.user_id, username=username)
    st.session_state.update(gone=set(), authors_gone=set(), sent=set(), forgotten=Counter())
    keep(token)
    st.rerun()


def keep(token: client.Token) -> None:
    """Keep the tokens, when new ones are due, and when the access token ends."""
    now = time.time()
    st.session_state.update(token=token.access_token, refresh_token=token.refresh_token)
    st.session_state.update(due=now + RENEWED_AT * token.expires_in, ends=now + token.expires_in)


def renew() -> bool:
    """Ask for the next tokens when it is time; whether there is one to go on with.

    Only the service's word that the session has ended logs out. Whatever else fails is told, and asked again at the
    next run of the page; the old token goes on meanwhile as long as it lives.
    """
    if time.time() < st.session_state["due"]:
        return True
    try:
        with service() as books:
            keep(books.refresh(st.session_state["refresh_token"]))
    except BookworksError as error:
        if isinstance(error, ProblemError) and error.status == _TOKEN_GONE:
            log_out(LOG_IN_AGAIN)
        st.warning(AWAY)
    return time.time() < st.session_state["ends"]


def log_out(message: str = "") -> None:
    """Forget who was here."""
    st.session_state.clear()
    st.session_state["message"] = message
    st.rerun()
