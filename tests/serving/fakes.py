"""Hand-written stand-ins for the outside world of the service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from pydantic import SecretStr

from bookworks.adapters.redis import OnlineReader
from bookworks.contracts.online import book_of, ids_of, surest_id
from bookworks.contracts.records import CONSUMED_KINDS, Decision, Event, Reader, weight_of
from bookworks.contracts.topics import READERS
from bookworks.errors import TransientError
from bookworks.models.bundle import Bundle
from bookworks.models.ordering import top
from bookworks.settings import Settings
from serving.accounts import Account
from serving.auth import Passwords
from serving.bundles import Served
from serving.catalogue import Catalogue
from serving.decisions import Outgoing
from serving.kept import Answer, packed, unpacked
from serving.keys import Key, KeyRing, digest_of
from serving.policy import Policy
from serving.rules import Rules
from serving.sessions import Session
from serving.spool import Intake

KEY = "a key of sixteen characters"
SECRET = "a secret that is long enough for every algorithm of the family: HS512"


def settings(**changed: Any) -> Settings:
    return Settings(jwt_secret=SecretStr(SECRET), service_api_key=SecretStr(KEY), **changed)


class FakeCollection:
    """Exact search; away when told so."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors, self.size, self.away, self.asked = vectors, len(vectors), False, 0

    def search(self, vector: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        if self.away:
            raise TransientError("away")
        self.asked += 1
        scores = self.vectors @ vector
        ids = top(scores, limit)
        return ids, scores[ids]

    def close(self) -> None:
        pass


class FakeHistory:
    """Redis in a dictionary."""

    def __init__(self) -> None:
        self.readers: dict[str, OnlineReader] = {}
        self.logins: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.at: dict[tuple[str, str], datetime] = {}
        self.forgotten: dict[tuple[str, str], datetime] = {}
        self.away = False

    def count_login(self, who: str) -> int:
        if self.away:
            raise TransientError("away")
        self.logins[who] += 1
        return self.logins[who]

    def count_calls(self, who: str, most: int, calls: int = 1) -> tuple[int, int]:
        if self.away:
            raise TransientError("away")
        counted = self.calls[who] + calls
        if counted <= most:
            self.calls[who] = counted
        return counted, 42

    def forget_logins(self, who: str) -> None:
        del self.logins[who]

    def _reader(self, user_id: str) -> OnlineReader:
        if self.away:
            raise TransientError("away")
        return self.readers.setdefault(user_id, OnlineReader())

    def read(self, user_id: str) -> OnlineReader:
        if self.away:
            raise TransientError("away")
        return self.readers.get(user_id, OnlineReader())

    def times(self, user_id: str) -> dict[str, datetime]:
        return {book: self.at[user_id, book] for book in self.read(user_id).history}

    def remember(self, events: Sequence[Event]) -> None:
        for event in events:
            reader = self._reader(event.user_id)
            book, surest = (of(event.edition_id, event.work_id) for of in (book_of, surest_id))
            if event.kind == "forget":
                self.forgotten[event.user_id, surest] = event.occurred_at
                for books in (reader.history, reader.weights, reader.ratings, reader.seen, reader.dismissed):
                    for gone in [one for one in books if ids_of(one)[0] == surest]:
                        books.pop(gone) if isinstance(books, dict) else books.remove(gone)
            elif event.kind == "dismiss":
                reader.dismissed.add(book)
            elif event.kind != "impression" and event.occurred_at > self.forgotten.get(
                (event.user_id, surest), datetime.min.replace(tzinfo=UTC)
            ):
                reader.history.insert(0, book)
                reader.weights[book] = weight_of(event.kind, event.value)
                if event.kind == "rating" and event.value:
                    reader.ratings[book] = event.value
                self.at[event.user_id, book] = event.occurred_at
                if event.kind in CONSUMED_KINDS:
                    reader.seen.add(book)

    def dismiss_authors(self, authors: Mapping[str, Iterable[str]]) -> None:
        for user_id, names in authors.items():
            self._reader(user_id).dismissed_authors.update(names)

    def take_back_authors(self, user_id: str, authors: Iterable[str]) -> None:
        self._reader(user_id).dismissed_authors.difference_update(authors)

    def save_profile(self, user_id: str, profile: Mapping[str, Any]) -> None:
        self._reader(user_id).profile.update({k: v for k, v in profile.items() if v is not None})


class FakeStream:
    """Kafka in a list."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.readers: list[Reader] = []
        self.away = False

    def send(self, records: Iterable[Outgoing]) -> None:
        if self.away:
            raise TransientError("away")
        for one in records:
            if one.topic == READERS.name:
                self.readers.append(Reader.model_validate_json(one.value))
            else:
                self.events.append(Event.model_validate_json(one.value))

    def confirmed(self, records: Sequence[Outgoing]) -> tuple[list[bool], Exception | None]:
        self.send(records)
        return [True] * len(records), None


class FakeAccounts:
    """Postgres in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, Account] = {}
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise TransientError("The accounts cannot be reached")

    def add(self, user_id, username, password_hash, country, birth_year, tastes, then):
        from bookworks import clock

        self._check()
        if self.by_name(username):
            return None
        self.rows[user_id] = Account(user_id, username, password_hash, country, birth_year, tastes, clock.now())
        return then(None, user_id)

    def by_name(self, username: str) -> Account | None:
        self._check()
        return next((row for row in self.rows.values() if row.username == username), None)

    def by_id(self, user_id: str) -> Account | None:
        self._check()
        return self.rows.get(user_id)


class FakeDismissedAuthors:
    """Postgres in a dictionary."""

    def __init__(self, accounts: FakeAccounts) -> None:
        self.accounts, self.kept = accounts, dict[str, set[str]]()

    def add(self, user_id: str, author: str) -> None:
        self.accounts._check()
        self.kept.setdefault(user_id, set()).add(author)

    def remove(self, user_id: str, authors: list[str]) -> None:
        self.accounts._check()
        self.kept.get(user_id, set()).difference_update(authors)

    def of(self, user_id: str) -> list[str]:
        self.accounts._check()
        return sorted(self.kept.get(user_id, set()))


class FakeSessions:
    """Postgres in a dictionary: family -> the number of the token that is good; a token is `family.number`."""

    def __init__(self, accounts: FakeAccounts) -> None:
        self.accounts, self.good, self.readers = accounts, dict[str, int](), dict[str, str]()

    def open(self, user_id: str) -> Session:
        self.accounts._check()
        family = f"family-{len(self.readers)}"
        self.good[family], self.readers[family] = 0, user_id
        return Session(user_id, f"{family}.0")

    def open_in(self, _: None, user_id: str) -> Session:
        return self.open(user_id)

    def refresh(self, token: str) -> Session | None:
        self.accounts._check()
        family, _, number = token.partition(".")
        if self.good.get(family) != (int(number) if number.isdigit() else -1):
            self.good.pop(family, None)
            return None
        self.good[family] += 1
        return Session(self.readers[family], f"{family}.{self.good[family]}")

    def close(self, token: str) -> str | None:
        self.accounts._check()
        family = token.partition(".")[0]
        return None if self.good.pop(family, None) is None else self.readers[family]


class FakeKeys:
    """The table of keys as a list: one for each set of scopes that was asked for."""

    def __init__(self) -> None:
        self.kept: list[Key] = []
        self.away = False

    def add(self, name: str, *scopes: str) -> str:
        secret = f"the secret of {name}"
        self.kept.append(Key(name, digest_of(secret), frozenset(scopes)))
        return secret

    def all(self) -> list[Key]:
        if self.away:
            raise TransientError("away")
        return list(self.kept)


class FakeDecisions:
    def __init__(self) -> None:
        self.kept: list[Decision] = []

    def put(self, decision: Decision) -> None:
        self.kept.append(decision)


class FakeKept:
    """Decisions in a dictionary, shown works in the history, at once."""

    def __init__(self, history: FakeHistory) -> None:
        self._history, self.contents, self.away = history, dict[str, bytes](), False

    def put(self, answer: Answer) -> None:
        self.contents[answer.decision_id] = packed(answer.document())
        if answer.shown:
            self._history._reader(answer.user_id).shown.update(dict.fromkeys(answer.shown, answer.at_ms))

    def find(self, decision_id: str) -> dict[str, Any] | None:
        if self.away:
            raise TransientError("away")
        content = self.contents.get(decision_id)
        return None if content is None else unpacked(content)


class FakePlatform:
    """As `serving.platform.Platform`, with nothing outside."""

    def __init__(self, served: Served | None) -> None:
        self.settings = settings()
        self.bundles = SimpleNamespace(current=served)
        self.history, self.stream, self.accounts = FakeHistory(), FakeStream(), FakeAccounts()
        self.decisions, self.passwords = FakeDecisions(), Passwords()
        self.sessions = FakeSessions(self.accounts)
        self.dismissed_authors = FakeDismissedAuthors(self.accounts)
        self.kept_keys = FakeKeys()
        self.keys = KeyRing(self.settings, self.kept_keys)
        self.kept = FakeKept(self.history)

    @property
    def intake(self) -> Intake:
        """Of the stream and the settings that a test has put there."""
        return Intake(self.settings, self.stream)  # type: ignore[arg-type]


NO_RULES = Policy()


def served(folder: Path, with_vectors: bool = True, policy: Policy = NO_RULES) -> Served:
    bundle = Bundle.load(folder)
    vectors = FakeCollection(bundle.item_vectors) if with_vectors else None
    catalogue = Catalogue(bundle)
    return Served(bundle, catalogue, Rules.of(policy, bundle, catalogue), vectors)
