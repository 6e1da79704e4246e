"""Redis: what the service knows of a reader right now. `{}` is the reader's id.

Each key is written idempotently: the same event twice leaves the same state. A book is kept as its event named it
(`book_of`) and never translated: which work that is, the bundle that serves says when it is read, so a merge, a split
or a rollback counts at once.
"""

from __future__ import annotations

DAY_S = 86_400

HISTORY = "reader:{}:history"  # sorted set: books, scored by time in ms
HISTORY_WEIGHTS = "reader:{}:weights"  # hash: book -> weight 0..1
RATINGS = "reader:{}:ratings"  # hash: book of the history -> time in ms and value, 0 to 10, of its latest rating
SEEN = "reader:{}:seen_at"  # sorted set: books read or owned, never recommended again, scored by time in ms
DISMISSED = "reader:{}:dismissed_at"  # sorted set: books the reader sent away, scored by time in ms
FORGOTTEN = (
    "reader:{}:forgotten_at"  # sorted set: surest ids of books, scored by the ms up to which events do not count
)
DISMISSED_AUTHORS = "reader:{}:dismissed_authors"  # set: ids or names of authors the reader sent away
SHOWN = "reader:{}:shown"  # sorted set: works shown, scored by the time in ms of the last time
PROFILE = "reader:{}:profile"  # hash: country, age_bin, tastes (JSON)
DECISIONS = "reader:{}:decisions"  # list: keys of the decisions that are kept, the latest first
OF_READER = (
    HISTORY, HISTORY_WEIGHTS, RATINGS, SEEN, DISMISSED, FORGOTTEN, DISMISSED_AUTHORS, SHOWN, PROFILE, DECISIONS,
)  # fmt: skip
# Not of a reader: `{}` is the decision's id, and a digest of name and address.
DECISION = "decision:{}"  # bytes: what was answered and why, packed by the service
LOGIN_ATTEMPTS = "login:{}:attempts"  # number: log-ins in this minute that did not succeed, or not yet
# Not of a reader: there once all dismissed authors were written from the service's data base.
DISMISSED_AUTHORS_KNOWN = "dismissed_authors:known"
# Not of a reader; `{}` is class of routes, kind of caller, caller.
CALLS = "calls:{}"  # number: requests in this minute

HISTORY_LENGTH = 200
MARKED_LENGTH = 10_000  # of the books read, sent away and forgotten, each: the oldest leave first
SHOWN_LENGTH = 200
DECISIONS_LENGTH = 100
SHOWN_TTL_S = 30 * DAY_S
TTL_S = 400 * DAY_S
LOGIN_WINDOW_S = 60
CALLS_WINDOW_S = 60

BETWEEN = "\x1f"  # not printable, so no id of the service holds it


def book_of(edition_id: str | None, work_id: str | None) -> str:
    """A book as a reader's state keeps it: the ids of its event, edition first; at least one is given."""
    return BETWEEN.join(one for one in (edition_id, work_id) if one)


def ids_of(book: str) -> list[str]:
    """The ids of a kept book, the surest first: an edition stays itself when its work is merged or split."""
    return book.split(BETWEEN)


def surest_id(edition_id: str | None, work_id: str | None) -> str:
    """The id by which a book is forgotten."""
    return ids_of(book_of(edition_id, work_id))[0]
