"""What readers do: they find books by themselves, and they answer to slates by taste and position.

The period is cut into segments. In each, a reader's taste is the point on the line from start to
end; what was read before adds loyalty to its author and pulls the next volume of its series.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulation.world import Floats, Ints, Readers, Works

SEGMENTS = 6
SLATE_LENGTH = 10
SLATE_SHARE = 0.35  # of all events are impressions and what follows from them
READER_BLOCK = 512  # readers scored at once: bounds memory to block x works floats

AFFINITY_GAIN = 6.0
POPULARITY_GAIN = 0.55
QUALITY_GAIN = 0.25
AUTHOR_LOYALTY = 1.6
NEXT_VOLUME = 3.0
CLICK_GAIN, CLICK_THRESHOLD = 7.0, 0.62

SURFACES = ("home", "similar", "mail")
SURFACE_SHARES = (0.6, 0.25, 0.15)
SURFACE_BIAS = {"home": 1.0, "similar": 0.9, "mail": 0.6}  # multiplies the chance that a slate is looked at


def examination(position: NDArray[np.integer]) -> NDArray[np.float64]:
    """Chance that a reader looks at a position (from 0): the known position bias, 1 / (1 + 0.35 p)."""
    return np.asarray(1.0 / (1.0 + 0.35 * position))


@dataclass
class Actions:
    """Columns of events in the making; `kind` indexes `KINDS`. Slates have a number from 0, others -1."""

    reader: list[Ints] = field(default_factory=list)
    work: list[Ints] = field(default_factory=list)
    kind: list[Ints] = field(default_factory=list)
    value: list[Floats] = field(default_factory=list)
    at: list[NDArray[np.float64]] = field(default_factory=list)  # share of the period, 0 to 1
    slate: list[Ints] = field(default_factory=list)
    position: list[Ints] = field(default_factory=list)
    surface: list[Ints] = field(default_factory=list)  # index into SURFACES, -1: found without us
    session: list[Ints] = field(default_factory=list)

    def add(self, **columns: NDArray[np.generic]) -> None:
        """Append one block of rows; all columns have one length."""
        for name, values in columns.items():
            getattr(self, name).append(values)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """All rows, one array a column."""
        return {name: np.concatenate(blocks) for name, blocks in vars(self).items()}


KINDS = ("impression", "click", "rating", "shelve", "loan", "purchase", "view", "dismiss")
IMPRESSION, CLICK, RATING, SHELVE, LOAN, PURCHASE, VIEW, DISMISS = range(len(KINDS))


def utilities(works: Works, taste: Floats, readers_history: Histories, block: slice) -> Floats:
    """How much each reader of the block wants each work: float32 [readers, works]; -inf where read already."""
    score = AFFINITY_GAIN * taste @ works.vectors.T
    score += POPULARITY_GAIN * works.log_popularity + QUALITY_GAIN * works.quality
    score += AUTHOR_LOYALTY * np.minimum(readers_history.authors[block][:, works.author], 2)
    readers_history.add_next_volumes(score, block)
    readers_history.mask_read(score, block)
    return np.asarray(score, dtype=np.float32)


class Histories:
    """What each reader has read so far."""

    def __init__(self, works: Works, n_readers: int) -> None:
        self.authors = np.zeros((n_readers, len(works.author_names)), dtype=np.float32)
        self._works = works
        self._read: list[tuple[Ints, Ints]] = []
        by_volume = {(int(s), int(v)): i for i, (s, v) in enumerate(zip(works.series, works.volume, strict=True))}
        self._next = np.array(
            [by_volume.get((int(s), int(v) + 1), -1) if s >= 0 else -1
             for s, v in zip(works.series, works.volume, strict=True)], dtype=np.int64,
        )  # fmt: skip

    def add(self, reader: Ints, work: Ints) -> None:
        """Note that `reader[i]` has read `work[i]`."""
        self._read.append((reader, work))
        np.add.at(self.authors, (reader, self._works.author[work]), 0.5)

    def _pairs(self, block: slice) -> tuple[Ints, Ints]:
        if not self._read:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        reader, work = (np.concatenate(column) for column in zip(*self._read, strict=True))
        inside = (reader >= block.start) & (reader < block.stop)
        return reader[inside] - block.start, work[inside]

    def add_next_volumes(self, score: Floats, block: slice) -> None:
        """Raise the volume after each one read."""
        reader, work = self._pairs(block)
        follow = self._next[work]
        score[reader[follow >= 0], follow[follow >= 0]] += NEXT_VOLUME

    def mask_read(self, score: Floats, block: slice) -> None:
        """Nobody reads a work twice."""
        score[self._pairs(block)] = -np.inf


def simulate(works: Works, readers: Readers, n_events: int, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    """Columns of at least `n_events` events, not yet in order of time."""
    actions = Actions()
    histories = Histories(works, len(readers))
    per_slate = SLATE_LENGTH + 1.6
    slates = n_events * SLATE_SHARE / per_slate
    # A reader cannot read more works than there are; what the most active cannot do, all share again.
    organic = n_events * (1 - SLATE_SHARE) / 1.45
    serial = 0
    for segment in range(SEGMENTS):
        middle = (segment + 0.5) / SEGMENTS
        for start in range(0, len(readers), READER_BLOCK):
            block = slice(start, min(start + READER_BLOCK, len(readers)))
            taste = _taste(readers, block, middle)
            score = utilities(works, taste, histories, block)
            finds = _counts(readers.activity[block], organic / SEGMENTS, len(works) // (2 * SEGMENTS), rng)
            shows = _counts(readers.activity[block], slates / SEGMENTS, len(works) // SLATE_LENGTH, rng)
            picks = _gumbel_top(score, int(finds.max(initial=0)), rng)
            _find(actions, works, readers, histories, picks=picks, counts=finds, block=block, segment=segment, rng=rng)
            serial = _show(
                actions,
                works,
                taste=taste,
                score=score,
                counts=shows,
                block=block,
                segment=segment,
                serial=serial,
                rng=rng,
            )
    return actions.columns()


def _taste(readers: Readers, block: slice, t: float) -> Floats:
    mixed = (1 - t) * readers.taste_start[block] + t * readers.taste_end[block]
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)


def _counts(activity: Floats, expected: float, most: int, rng: np.random.Generator) -> Ints:
    """How often each reader acts in this segment."""
    return np.minimum(rng.poisson(activity * expected * 1.03 + 0.02), max(most, 1))


def _gumbel_top(score: Floats, k: int, rng: np.random.Generator) -> Ints:
    """`k` works a reader, drawn without replacement with chances softmax(score) (Gumbel top-k), best first."""
    k = min(k, score.shape[1])
    noisy = score - np.log(rng.standard_exponential(score.shape, dtype=np.float32) + 1e-20)
    if k == 0:
        return np.empty((len(score), 0), dtype=np.int64)
    top = np.argpartition(-noisy, k - 1, axis=1)[:, :k]
    return np.take_along_axis(top, np.argsort(-np.take_along_axis(noisy, top, axis=1), axis=1), axis=1)


def liking(works: Works, taste: Floats, work: Ints) -> NDArray[np.float64]:
    """Cosine of taste and work, plus a little for its quality: what clicks and ratings go by."""
    return np.einsum("ij,ij->i", taste, works.vectors[work]) + 0.06 * works.quality[work]


def _rating(like: NDArray[np.float64], bias: Floats, rng: np.random.Generator) -> Floats:
    raw = 2.0 + 7.0 * like + bias + rng.normal(0, 0.9, len(like))
    return np.rint(raw).clip(1, 10).astype(np.float32)


def _find(
    actions: Actions, works: Works, readers: Readers, histories: Histories, *, picks: Ints, counts: Ints, block: slice,
    segment: int, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Books that readers find by themselves: a view first for four in nine, then what they do with them."""
    rows, ranks = np.nonzero(np.arange(picks.shape[1]) < counts[:, None])
    work, reader = picks[rows, ranks], rows + block.start
    n = len(rows)
    session_rank = ranks // 3  # three finds a session
    at = (segment + _hash01(reader * 1_000 + session_rank + segment * 77_777_777)) / SEGMENTS
    at = at + rng.random(n) * 2e-6 + ranks % 3 * 4e-6
    taste = _taste(readers, block, (segment + 0.5) / SEGMENTS)[rows]
    kind = rng.choice([RATING, SHELVE, LOAN, PURCHASE], n, p=[0.55, 0.15, 0.2, 0.1])
    value = np.where(kind == RATING, _rating(liking(works, taste, work), readers.bias[reader], rng), np.nan)
    session = (reader * 4_096 + segment * 512 + session_rank) * 2
    none = np.full(n, -1)
    common = {"slate": none, "position": none, "surface": none}
    actions.add(reader=reader, work=work, kind=kind, value=value, at=at, session=session, **common)
    seen = rng.random(n) < 0.45
    few = {name: column[seen] for name, column in common.items()}
    actions.add(reader=reader[seen], work=work[seen], kind=np.full(seen.sum(), VIEW), at=at[seen] - 2e-6,
                value=np.full(seen.sum(), np.nan), session=session[seen], **few)  # fmt: skip
    histories.add(reader, work)


def _hash01(key: Ints) -> NDArray[np.float64]:
    """A repeatable share of 1 for each key (splitmix64), so that a session's events lie together."""
    z = key.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z >> np.uint64(11)) / float(1 << 53))


def _show(
    actions: Actions, works: Works, *, taste: Floats, score: Floats, counts: Ints, block: slice, segment: int,
    serial: int, rng: np.random.Generator,
) -> int:  # fmt: skip
    """Slates: impressions, then clicks by position and taste, then what follows a click. Returns the next number."""
    rows = np.repeat(np.arange(len(counts)), counts)
    if len(rows) == 0:
        return serial
    slates = _slates(works, score, rows, rng)
    n = len(rows)
    surface = rng.choice(len(SURFACES), n, p=SURFACE_SHARES)
    at = (segment + rng.random(n)) / SEGMENTS
    work = slates.ravel()
    position = np.tile(np.arange(SLATE_LENGTH), n)
    flat = {
        "reader": np.repeat(rows + block.start, SLATE_LENGTH), "work": work, "position": position,
        "slate": np.repeat(serial + np.arange(n), SLATE_LENGTH), "surface": np.repeat(surface, SLATE_LENGTH),
        "session": np.repeat((serial + np.arange(n)) * 2 + 1, SLATE_LENGTH),
    }  # fmt: skip
    when = np.repeat(at, SLATE_LENGTH)
    nothing = np.full(len(work), np.nan)
    actions.add(**flat, kind=np.full(len(work), IMPRESSION), value=nothing, at=when)
    like = liking(works, taste[np.repeat(rows, SLATE_LENGTH)], work)
    look = examination(position) * np.array([SURFACE_BIAS[s] for s in SURFACES])[flat["surface"]]
    clicked = rng.random(len(work)) < look / (1 + np.exp(-CLICK_GAIN * (like - CLICK_THRESHOLD)))
    dismissed = ~clicked & (rng.random(len(work)) < 0.01 * (1 - like.clip(0, 1)))
    _follow(actions, flat, when=when + 1e-6 * (1 + position), kind=CLICK, chosen=clicked, rng=rng)
    _follow(actions, flat, when=when + 1e-6 * (1 + position), kind=DISMISS, chosen=dismissed, rng=rng)
    bought = clicked & (rng.random(len(work)) < 0.3 * like.clip(0, 1))
    _follow(actions, flat, when=when + 1e-6 * (12 + position), kind=-1, chosen=bought, rng=rng, like=like)
    return serial + n


def _follow(
    actions: Actions, flat: dict[str, Ints], *, when: NDArray[np.float64], kind: int, chosen: NDArray[np.bool_],
    rng: np.random.Generator, like: NDArray[np.float64] | None = None,
) -> None:  # fmt: skip
    """Add what the chosen impressions led to; kind -1 is drawn from rating, shelve and purchase."""
    n = int(chosen.sum())
    kinds = np.full(n, kind) if kind >= 0 else rng.choice([RATING, SHELVE, PURCHASE], n, p=[0.5, 0.3, 0.2])
    value = np.full(n, np.nan)
    if like is not None:
        value = np.where(kinds == RATING, _rating(like[chosen], np.zeros(n, np.float32), rng), np.nan)
    actions.add(**{k: v[chosen] for k, v in flat.items()}, kind=kinds, value=value, at=when[chosen])


def _slates(works: Works, score: Floats, rows: Ints, rng: np.random.Generator) -> Ints:
    """Ten works a slate: five by fame, five from what suits the reader, in random order: [len(rows), 10]."""
    pool = min(60, score.shape[1])
    fame = _gumbel_top(np.tile(works.log_popularity * 1.5, (1, 1)), min(400, len(works)), rng)[0]
    own = _gumbel_top(score, pool, rng)
    popular = fame[_distinct(len(rows), len(fame), SLATE_LENGTH, rng)]
    suited = np.take_along_axis(own[rows], _distinct(len(rows), pool, SLATE_LENGTH, rng), axis=1)
    mixed = np.concatenate([suited[:, :5], popular], axis=1)
    repeated = (mixed[:, :5, None] == mixed[:, None, 5:]).any(axis=1)
    order = np.concatenate([np.zeros((len(rows), 5)), repeated], axis=1)
    kept = np.take_along_axis(mixed, np.argsort(order, axis=1, kind="stable"), axis=1)[:, :SLATE_LENGTH]
    return np.take_along_axis(kept, np.argsort(rng.random(kept.shape), axis=1), axis=1)


def _distinct(rows: int, n: int, k: int, rng: np.random.Generator) -> Ints:
    """`k` different numbers below `n` for each row."""
    if rows == 0:
        return np.empty((0, k), dtype=np.int64)
    return np.argpartition(rng.random((rows, n), dtype=np.float32), min(k, n - 1), axis=1)[:, :k]
