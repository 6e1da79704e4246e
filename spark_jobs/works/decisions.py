"""What a person decided about works: rows of Postgres, schema identity, that every later clustering respects.

In: merges, splits and answers of the review. Out: `constraints` for the clustering, `labels` for the scorer.
A decision names editions, not works, so that it still holds when the ids of works have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from bookworks.adapters import postgres
from bookworks.clock import now
from bookworks.errors import TerminalError
from bookworks.settings import Settings

Kind = Literal["merge", "split", "same", "different"]

TOGETHER: tuple[Kind, ...] = ("merge", "same")
ANSWERS: tuple[Kind, ...] = ("same", "different")
REVIEWED = "answered in the review"
PAIR = sql.SQL('left_edition, right_edition, probability, readers, "left", "right", joined')
PREPARE_LOCK = 7_207_002  # key of the advisory lock that making the tables holds
TABLES = """
create schema if not exists identity;
create table if not exists identity.decisions (
    decision_id bigint generated always as identity primary key,
    kind text not null check (kind in ('merge', 'split', 'same', 'different')),
    left_editions text[] not null,
    right_editions text[] not null,
    works text[] not null,
    who text not null,
    why text not null,
    at timestamptz not null,
    undone_at timestamptz,
    undone_by text,
    check ((undone_at is null) = (undone_by is null))
);
create table if not exists identity.works_runs (
    version text primary key,
    measured_at timestamptz not null,
    measures jsonb not null,
    complaints text[] not null,
    accepted_at timestamptz,
    accepted_by text,
    why text
);
create table if not exists identity.review_pairs (
    left_edition text not null,
    right_edition text not null,
    probability double precision not null,
    readers bigint not null,
    "left" jsonb not null,
    "right" jsonb not null,
    answered boolean not null default false,
    primary key (left_edition, right_edition)
);
alter table identity.review_pairs
    add column if not exists joined boolean,
    add column if not exists sample timestamptz,
    add column if not exists stratum text,
    add column if not exists weight double precision,
    add column if not exists stratum_weight double precision,
    add column if not exists place int;
"""


@dataclass(frozen=True)
class Decision:
    """One decision as it is stored.

    Args:
        left_editions: merge: editions of the first work; split: those that leave; an answer: the left one.
        right_editions: merge: editions of the other works; split: those that stay; an answer: the right one.
        works: ids at the time of the decision, for the reader only; empty for an answer.
        undone_at: null while the decision stands.
    """

    decision_id: int
    kind: Kind
    left_editions: tuple[str, ...]
    right_editions: tuple[str, ...]
    works: tuple[str, ...]
    who: str
    why: str
    at: datetime
    undone_at: datetime | None = None
    undone_by: str | None = None

    def reasons(self) -> list[tuple[datetime, str]]:
        """When it was made, and undone, and how the history of works says so."""
        told = [(self.at, f"{self.kind} by {self.who}: {self.why}")]
        if self.undone_at is not None:
            told.append((self.undone_at, f"{self.kind} of {self.who} undone by {self.undone_by}"))
        return told


@dataclass(frozen=True)
class ReviewPair:
    """Two editions that the scorer is not sure of.

    Args:
        probability: that they are one work, by the scorer.
        readers: how many readers have either.
        left: what to show of the left edition: title, author, series, year, publisher, language, isbn13, format.
        right: the same of the right edition.
        joined: whether they were in one work when they were put into the queue; null where that is not known.
    """

    left_edition: str
    right_edition: str
    probability: float
    readers: int
    left: Mapping[str, Any]
    right: Mapping[str, Any]
    joined: bool | None = None


@dataclass(frozen=True)
class Constraints:
    """What a clustering must respect; `together` and `apart` never contradict each other, not through chains either.

    Args:
        together: edition ids that must be in one work; each id is in one of the groups at most.
        apart: no edition of the first side may be in a work with one of the second.
    """

    together: list[tuple[str, ...]]
    apart: list[tuple[tuple[str, ...], tuple[str, ...]]]


class Groups:
    """Editions that were put together, and which of these groups must stay apart.

    Each group carries marks: `n` says that it has an edition on the left of the apart number n, `~n` one on its
    right. No group ever carries both.
    """

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._marks: dict[str, set[int]] = {}
        self._aparts = 0

    @classmethod
    def of(cls, constraints: Constraints) -> Groups:
        """The groups that `constraints` describe."""
        groups = cls()
        for editions in constraints.together:
            groups.join(editions)
        for left, right in constraints.apart:
            groups.forbid(left, right)
        return groups

    def same(self, left: str, right: str) -> bool | None:
        """Whether two editions must be in one work (true), must not (false), or neither was decided (null)."""
        a, b = self.root(left), self.root(right)
        if a == b:
            return True
        opposite = {~mark for mark in self._marks.get(a, ())}
        return None if opposite.isdisjoint(self._marks.get(b, ())) else False

    def root(self, edition: str) -> str:
        """The edition that stands for the group of `edition`."""
        parent = self._parent
        while (above := parent.get(edition, edition)) != edition:
            parent[edition] = edition = parent.get(above, above)
        return edition

    def join(self, editions: Iterable[str]) -> None:
        """Put editions together; nothing may forbid it (see `parts`)."""
        roots = {self.root(edition) for edition in editions}
        top = max(roots, key=lambda root: (len(self._marks.get(root, ())), root))
        self._parent[top] = top
        for root in roots - {top}:
            self._parent[root] = top
            self._marks.setdefault(top, set()).update(self._marks.pop(root, ()))

    def forbid(self, left: Iterable[str], right: Iterable[str]) -> None:
        """Keep two sides apart; they may have no group in common."""
        for mark, side in ((self._aparts, left), (~self._aparts, right)):
            for root in {self.root(edition) for edition in side}:
                self._marks.setdefault(root, set()).add(mark)
        self._aparts += 1

    def parts(self, editions: Iterable[str]) -> list[tuple[str, ...]]:
        """Cut a group into parts that may each be joined: an apart that meets it on both sides divides it.

        What belongs to the apart's left side goes; the rest stays in one part, also what is on neither side.
        """
        marks = {edition: self._marks.get(self.root(edition), set()) for edition in sorted(set(editions))}
        seen = set().union(*marks.values())
        contested = {mark for mark in seen if mark >= 0 and ~mark in seen}
        parts: dict[frozenset[int], list[str]] = {}
        for edition, own in marks.items():
            parts.setdefault(frozenset(own & contested), []).append(edition)
        return [tuple(part) for part in parts.values()]

    def together(self) -> list[tuple[str, ...]]:
        """The groups of two editions and more, sorted."""
        members: dict[str, list[str]] = {}
        for edition in sorted(self._parent):
            members.setdefault(self.root(edition), []).append(edition)
        return sorted(tuple(group) for group in members.values() if len(group) > 1)


def constraints(decisions: Iterable[Decision]) -> Constraints:
    """What standing decisions ask of a clustering, where the later beats the earlier.

    The decisions are taken from the newest to the oldest, and each keeps what does not contradict those taken
    before it, chains included (a with b and b with c puts a with c):

    - merge, same: all its editions together. Where a later split or "different" runs through them, those on its
      left side (that left) leave the group and stay together among themselves; the others stay.
    - split, different: none of the left with one of the right. An edition of the left that later decisions put
      together with one of the right has come back and is free; the others of the left still stay out.

    So the newest decision always holds in full, and without it (undone) all is as it was before it.
    """
    groups = Groups()
    apart: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for decision in sorted(decisions, key=lambda one: one.decision_id, reverse=True):
        if decision.kind in TOGETHER:
            for part in groups.parts(decision.left_editions + decision.right_editions):
                groups.join(part)
            continue
        stayed = {groups.root(edition) for edition in decision.right_editions}
        left = tuple(edition for edition in decision.left_editions if groups.root(edition) not in stayed)
        if left:
            groups.forbid(left, decision.right_editions)
            apart.append((left, decision.right_editions))
    return Constraints(groups.together(), apart[::-1])


def prepare(db: psycopg.Connection[Any]) -> None:
    """Make the schema and its tables where they are missing; safe when several do it at once."""
    with db.transaction():
        db.execute("select pg_advisory_xact_lock(%s)", (PREPARE_LOCK,))
        db.execute(TABLES)


def merge(settings: Settings, work_ids: Sequence[str], who: str, why: str) -> Decision:
    """Decide that works are one: all their present editions belong together.

    Raises:
        TerminalError: fewer than two works, an id is unknown, or they are merged already.
        TransientError: Postgres is away.
    """
    wanted = list(dict.fromkeys(work_ids))
    if len(wanted) < 2:
        raise TerminalError("A merge needs two works", received=", ".join(wanted), allowed="two or more different ids")
    with transaction(settings) as db:
        found = _editions_of(db, wanted)
        first, *others = (found[work_id] for work_id in wanted)
        rest = sorted(edition for editions in others for edition in editions)
        _refuse_merged(db, wanted, [*first, *rest])
        return _store(db, "merge", first, rest, wanted, who, why)


def _refuse_merged(db: psycopg.Connection[Any], work_ids: Sequence[str], editions: Sequence[str]) -> None:
    groups = Groups.of(constraints(read(db)))
    if all(groups.same(editions[0], edition) for edition in editions):
        raise TerminalError(
            "These works are merged already",
            received=", ".join(work_ids),
            todo="nothing; the next run of the DAG catalogue gives them one id.",
        )


def split(settings: Settings, work_id: str, edition_ids: Sequence[str], who: str, why: str) -> Decision:
    """Decide that editions do not belong to a work; whether they belong together, the clustering says.

    Raises:
        TerminalError: the work is unknown, an edition is not in it, or the editions are none or all of it.
        TransientError: Postgres is away.
    """
    leaving = set(edition_ids)
    with transaction(settings) as db:
        editions = _editions_of(db, [work_id])[work_id]
        if strange := leaving.difference(editions):
            raise TerminalError(
                f"Editions are not in the work {work_id}",
                received=_shorten(sorted(strange)),
                allowed=_shorten(editions),
            )
        staying = [edition for edition in editions if edition not in leaving]
        if not leaving or not staying:
            raise TerminalError(
                f"A split takes some editions out of the work {work_id} and leaves some",
                received=f"{len(leaving)} of its {len(editions)} editions",
                allowed=_shorten(editions),
            )
        return _store(db, "split", sorted(leaving), staying, [work_id], who, why)


def answer(settings: Settings, left: str, right: str, same: bool, who: str) -> Decision:
    """Store a reviewer's answer: whether two editions are the same work.

    Raises:
        TerminalError: the editions are one, or neither queue nor warehouse knows them.
        TransientError: Postgres is away.
    """
    left, right = sorted((left, right))
    if left == right:
        raise TerminalError("A pair needs two editions", received=left)
    with transaction(settings) as db:
        queued = db.execute(
            "update identity.review_pairs set answered = true where left_edition = %s and right_edition = %s",
            (left, right),
        )
        if queued.rowcount == 0:
            _check_editions(db, {left, right})
        return _store(db, "same" if same else "different", [left], [right], [], who, REVIEWED)


def undo(settings: Settings, decision_id: int, who: str) -> Decision:
    """Take a decision back; constraints, labels and queue are then as if it had never been.

    Raises:
        TerminalError: there is no such decision, or it is undone already.
        TransientError: Postgres is away.
    """
    with transaction(settings) as db:
        row = db.execute(
            "update identity.decisions set undone_at = %s, undone_by = %s"
            " where decision_id = %s and undone_at is null returning decision_id",
            (now(), said("who", who), decision_id),
        ).fetchone()
        found = next((one for one in read(db, undone=True) if one.decision_id == decision_id), None)
        if found is None:
            raise TerminalError(
                "There is no such decision", received=decision_id, todo="see `bookworks works decisions`."
            )
        if row is None:
            raise TerminalError(
                f"Decision {decision_id} is undone already",
                received=f"undone by {found.undone_by} at {found.undone_at}",
            )
        if found.kind in ANSWERS:
            _ask_again(db, found.left_editions[0], found.right_editions[0])
        return found


def _ask_again(db: psycopg.Connection[Any], left: str, right: str) -> None:
    """Put an answered pair back into the queue, unless another answer about it stands."""
    if not any((one.left_editions, one.right_editions) == ((left,), (right,)) for one in read(db)):
        db.execute(
            "update identity.review_pairs set answered = false where left_edition = %s and right_edition = %s",
            (left, right),
        )


def standing(settings: Settings) -> list[Decision]:
    """Decisions that nobody has undone, oldest first."""
    with transaction(settings) as db:
        return read(db)


def history(settings: Settings) -> list[Decision]:
    """All decisions, the undone too, oldest first."""
    with transaction(settings) as db:
        return read(db, undone=True)


def labels(settings: Settings) -> list[tuple[str, str, bool]]:
    """Answers as labels for the scorer: left edition, right edition, same; each pair once, oldest first.

    An answer that a later decision beats is no label.
    """
    decisions = standing(settings)
    groups = Groups.of(constraints(decisions))
    found: dict[tuple[str, str], bool] = {}
    for decision in decisions:
        if decision.kind in ANSWERS:
            pair = (decision.left_editions[0], decision.right_editions[0])
            if groups.same(*pair) is (decision.kind == "same"):
                found[pair] = decision.kind == "same"
    return [(left, right, same) for (left, right), same in found.items()]


def replace_queue(settings: Settings, rows: Iterable[ReviewPair]) -> int:
    """Replace what waits for an answer, in one transaction; a pair that standing decisions answer is left out.

    Pairs of a random sample stay as they were drawn.

    Returns:
        How many pairs wait now, without the sample.
    """
    with transaction(settings) as db:
        groups = Groups.of(constraints(read(db)))
        _copy(db, (pair for pair in rows if groups.same(pair.left_edition, pair.right_edition) is None))
        db.execute("delete from identity.review_pairs where not answered and sample is null")
        stored = db.execute(
            sql.SQL(
                "insert into identity.review_pairs ({pair}, answered)"
                " select distinct on (left_edition, right_edition) {pair}, false"
                " from review_incoming order by left_edition, right_edition, readers desc"
                " on conflict (left_edition, right_edition) do update"
                " set probability = excluded.probability, readers = excluded.readers,"
                ' "left" = excluded."left", "right" = excluded."right", joined = excluded.joined, answered = false,'
                " sample = null"
                " where review_pairs.sample is distinct from (select max(sample) from identity.review_pairs)"
            ).format(pair=PAIR)
        )
        return stored.rowcount


def _copy(db: psycopg.Connection[Any], pairs: Iterable[ReviewPair]) -> None:
    """Send pairs to a table that ends with the transaction; the smaller edition_id to the left."""
    db.execute("create temp table review_incoming (like identity.review_pairs including defaults) on commit drop")
    with db.cursor() as cursor, cursor.copy(sql.SQL("copy review_incoming ({}) from stdin").format(PAIR)) as copy:
        for pair in pairs:
            copy.write_row(pair_row(pair))


def pair_row(pair: ReviewPair) -> tuple[Any, ...]:
    """The columns `PAIR` of a pair, the smaller edition_id to the left."""
    sides = [(pair.left_edition, Jsonb(dict(pair.left))), (pair.right_edition, Jsonb(dict(pair.right)))]
    (left, shown_left), (right, shown_right) = sorted(sides, key=lambda side: side[0])
    return left, right, pair.probability, pair.readers, shown_left, shown_right, pair.joined


_DOUBTFUL = sql.SQL(
    "select {} from identity.review_pairs where not answered and sample is null"
    " order by readers desc, abs(probability - 0.5), left_edition, right_edition"
).format(PAIR)
_SAMPLED = sql.SQL(
    "select {} from identity.review_pairs where not answered"
    " and sample = (select max(sample) from identity.review_pairs) order by place"
).format(PAIR)


def queue(settings: Settings, n: int, sample: bool = False) -> list[ReviewPair]:
    """At most `n` pairs that wait for an answer: most readers first, then nearest to a probability of 0.5.

    Args:
        settings: where Postgres is.
        n: how many.
        sample: the pairs of the random sample instead, in random order.
    """
    with transaction(settings) as db:
        groups = Groups.of(constraints(read(db)))
        with db.cursor(name="review_queue") as cursor:
            cursor.execute(_SAMPLED if sample else _DOUBTFUL)
            pairs = (ReviewPair(*row) for row in cursor)
            return list(islice((p for p in pairs if groups.same(p.left_edition, p.right_edition) is None), n))


def is_answered(settings: Settings, pair: ReviewPair) -> bool:
    """Whether the standing decisions say something about a pair, be it through others."""
    return Groups.of(constraints(standing(settings))).same(pair.left_edition, pair.right_edition) is not None


@contextmanager
def transaction(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection with the tables made, in a transaction of its own.

    Raises:
        TerminalError: the catalogue has not been loaded yet.
        TransientError: Postgres is away.
    """
    with postgres.connect(settings, settings.warehouse_db, autocommit=True) as db:
        prepare(db)
        try:
            with db.transaction():
                yield db
        except psycopg.errors.UndefinedTable:
            raise TerminalError("The warehouse has no works yet", todo="run the DAG catalogue first.") from None


def read(db: psycopg.Connection[Any], undone: bool = False) -> list[Decision]:
    """The decisions that stand, or all; oldest first."""
    rows = db.execute(
        "select decision_id, kind, left_editions, right_editions, works, who, why, at, undone_at, undone_by"
        " from identity.decisions where %s or undone_at is null order by decision_id",
        (undone,),
    )
    return [
        Decision(number, kind, tuple(left), tuple(right), tuple(works), *rest)
        for number, kind, left, right, works, *rest in rows
    ]


def _store(
    db: psycopg.Connection[Any],
    kind: Kind,
    left: Sequence[str],
    right: Sequence[str],
    works: Sequence[str],
    who: str,
    why: str,
) -> Decision:
    at, who, why = now(), said("who", who), said("why", why)
    row = db.execute(
        "insert into identity.decisions (kind, left_editions, right_editions, works, who, why, at)"
        " values (%s, %s, %s, %s, %s, %s, %s) returning decision_id",
        (kind, list(left), list(right), list(works), who, why, at),
    ).fetchone()
    (decision_id,) = row or (0,)
    return Decision(decision_id, kind, tuple(left), tuple(right), tuple(works), who, why, at)


def _editions_of(db: psycopg.Connection[Any], work_ids: Sequence[str]) -> dict[str, list[str]]:
    """The editions of each work, sorted.

    Raises:
        TerminalError: a work has none.
    """
    rows = db.execute(
        "select work_id, array_agg(edition_id order by edition_id) from raw.edition_works"
        " where work_id = any(%s) group by work_id",
        (list(work_ids),),
    )
    found: dict[str, list[str]] = dict(rows.fetchall())
    if unknown := [work_id for work_id in work_ids if work_id not in found]:
        raise TerminalError(
            "No such work",
            received=_shorten(unknown),
            allowed="a work_id of raw.edition_works",
            todo="look the book up again; a merge or split may have given it another id.",
        )
    return found


def _check_editions(db: psycopg.Connection[Any], editions: set[str]) -> None:
    rows = db.execute("select edition_id from raw.edition_works where edition_id = any(%s)", (list(editions),))
    if unknown := editions.difference(row[0] for row in rows):
        raise TerminalError(
            "No such edition", received=_shorten(sorted(unknown)), allowed="an edition_id of raw.edition_works"
        )


def said(name: str, text: str) -> str:
    """`text`, which must say something."""
    if not text.strip():
        raise TerminalError(f"A decision says {name}", received="nothing", todo="it is kept with the decision.")
    return text.strip()


def _shorten(names: Sequence[str], most: int = 10) -> str:
    """The first names, and how many more there are."""
    more = f", … and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
