"""Redis: a client with the platform's settings, and the state of a reader (keys in `bookworks.contracts.online`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE
from redis.retry import Retry

from bookworks.contracts import online
from bookworks.contracts.records import CONSUMED_KINDS, FORGET, Event, weight_of
from bookworks.errors import TransientError
from bookworks.settings import Settings

# One event on one book of one reader. Every step is commutative and may be repeated: the newest time and the greatest
# weight win, and of too many books the oldest leave, so service and consumer may write in any order. (A book that has
# left the history leaves its weight too: coming back, it has that of its later events.)
_REMEMBER = """
local book, at, weight, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6]
redis.call('EXPIRE', KEYS[5], ttl)
if at <= tonumber(redis.call('ZSCORE', KEYS[5], ARGV[8]) or '-1') then return 0 end
local function put(key, most)
  redis.call('ZADD', key, 'GT', at, book)
  redis.call('EXPIRE', key, ttl)
  local surplus = redis.call('ZRANGE', key, 0, -(tonumber(most) + 1))
  for _, one in ipairs(surplus) do redis.call('ZREM', key, one) end
  return surplus
end
if ARGV[5] == '1' then
  put(KEYS[4], ARGV[9])
else
  local known = tonumber(redis.call('HGET', KEYS[2], book) or '-1')
  if weight > known then redis.call('HSET', KEYS[2], book, ARGV[3]) end
  redis.call('EXPIRE', KEYS[2], ttl)
  if ARGV[10] ~= '' then
    local before, value = string.match(redis.call('HGET', KEYS[6], book) or '-1 -1', '(%S+) (%S+)')
    before, value = tonumber(before), tonumber(value)
    if at > before or at == before and tonumber(ARGV[10]) > value then
      redis.call('HSET', KEYS[6], book, ARGV[2] .. ' ' .. ARGV[10])
    end
    redis.call('EXPIRE', KEYS[6], ttl)
  end
  for _, one in ipairs(put(KEYS[1], ARGV[7])) do
    redis.call('HDEL', KEYS[2], one)
    redis.call('HDEL', KEYS[6], one)
  end
end
if ARGV[4] == '1' then put(KEYS[3], ARGV[9]) end
return 1
"""
# A reader takes back what it did with one book up to a time. A second time it changes nothing, so the consumer may come
# long after the service, when the reader has read the book again; what is later than that time stays. (Weights have no
# times: that of such a book may then be one from before.)
_FORGET = """
local id, at = ARGV[1], tonumber(ARGV[2])
if tonumber(redis.call('ZSCORE', KEYS[5], id) or '-1') >= at then return 0 end
redis.call('ZADD', KEYS[5], at, id)
redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -(tonumber(ARGV[5]) + 1))
redis.call('EXPIRE', KEYS[5], ARGV[3])
local function meant(book) return book == id or string.sub(book, 1, #id + #ARGV[4]) == id .. ARGV[4] end
for _, key in ipairs({KEYS[1], KEYS[3], KEYS[4]}) do
  for _, book in ipairs(redis.call('ZRANGE', key, '-inf', at, 'BYSCORE')) do
    if meant(book) then
      redis.call('ZREM', key, book)
      if key == KEYS[1] then redis.call('HDEL', KEYS[2], book) end
    end
  end
end
for _, book in ipairs(redis.call('HKEYS', KEYS[6])) do
  if meant(book) and tonumber(string.match(redis.call('HGET', KEYS[6], book), '%S+')) <= at then
    redis.call('HDEL', KEYS[6], book)
  end
end
return 1
"""
# So many more in a window that begins with its first: how many there were with them, and in how many ms it ends. Those
# that are too many do not count.
_COUNT = """
local calls = redis.call('INCRBY', KEYS[1], ARGV[2])
if calls == tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
if calls > tonumber(ARGV[3]) then redis.call('DECRBY', KEYS[1], ARGV[2]) end
return {calls, redis.call('PTTL', KEYS[1])}
"""
# A decision for a while; of a reader's too many the oldest leave.
_KEEP = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('LPUSH', KEYS[2], KEYS[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
while redis.call('LLEN', KEYS[2]) > tonumber(ARGV[3]) do redis.call('DEL', redis.call('RPOP', KEYS[2])) end
"""
_READER_KEYS = (
    online.HISTORY, online.HISTORY_WEIGHTS, online.SEEN, online.DISMISSED, online.FORGOTTEN, online.RATINGS,
)  # fmt: skip
_IN_ONE_PIPELINE = 1000


def connect(settings: Settings, timeout_s: float = 2.0, patient: bool = True) -> redis.Redis:
    """A client that decodes to text; connects at the first command, gives up after `timeout_s`.

    Args:
        settings: where Redis is.
        timeout_s: for connecting, and for each answer.
        patient: try again with pauses, which add up to seconds; else once more, at once.
    """
    options: dict[str, Any] = {} if patient else {"retry": Retry(NoBackoff(), 1)}
    return redis.Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        password=settings.redis_password.get_secret_value() or None,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        **options,
    )


@dataclass(frozen=True)
class OnlineReader:
    """What Redis knows of one reader. A book is what `bookworks.contracts.online.book_of` made of its event.

    Attributes:
        history: books, the latest first.
        weights: book -> weight, 0 to 1.
        ratings: book -> latest rating, above 0 to 10.
        seen: books read or owned.
        dismissed: books sent away.
        profile: country, age_bin, tastes (decoded from JSON).
        dismissed_authors: ids or names of authors sent away.
        latest_at: time of the latest event of the history.
        shown: works of the last slates -> when they were last shown, ms since 1970; says nothing of the reader.
    """

    history: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    ratings: dict[str, float] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    dismissed: set[str] = field(default_factory=set)
    profile: dict[str, Any] = field(default_factory=dict)
    dismissed_authors: set[str] = field(default_factory=set)
    latest_at: datetime | None = None
    shown: dict[str, float] = field(default_factory=dict, compare=False)


def remember(client: redis.Redis, events: Iterable[Event]) -> int:
    """Put events into their readers' state; the same event twice, or in another order, leaves the same state.

    An event of kind `forget` takes back what came before it, whenever that is written.

    Args:
        client: from `connect`.
        events: any number; impressions are passed over.

    Returns:
        How many events were written.

    Raises:
        TransientError: Redis does not answer; some may have been written.
    """
    remember_one, forget_one = client.register_script(_REMEMBER), client.register_script(_FORGET)
    written = 0
    with _translated():
        pipe = client.pipeline(transaction=False)
        for event in events:
            if event.kind == "impression":
                continue
            keys = [key.format(event.user_id) for key in _READER_KEYS]
            script, args = (forget_one, _forgotten(event)) if event.kind == FORGET else (remember_one, _done(event))
            script(keys=keys, args=args, client=pipe)
            written += 1
            if len(pipe) >= _IN_ONE_PIPELINE:
                pipe.execute()
        pipe.execute()
    return written


def _at_ms(event: Event) -> int:
    return int(event.occurred_at.timestamp() * 1000) if event.occurred_at else 0


def _done(event: Event) -> list[Any]:
    """Arguments of `_REMEMBER`."""
    return [
        online.book_of(event.edition_id, event.work_id),
        _at_ms(event),
        round(weight_of(event.kind, event.value), 4),
        int(event.kind in CONSUMED_KINDS),
        int(event.kind == "dismiss"),
        online.TTL_S,
        online.HISTORY_LENGTH,
        online.surest_id(event.edition_id, event.work_id),
        online.MARKED_LENGTH,
        f"{event.value:g}" if event.kind == "rating" and event.value else "",
    ]


def _forgotten(event: Event) -> list[Any]:
    """Arguments of `_FORGET`."""
    return [
        online.surest_id(event.edition_id, event.work_id),
        _at_ms(event),
        online.TTL_S,
        online.BETWEEN,
        online.MARKED_LENGTH,
    ]


def save_profile(client: redis.Redis, user_id: str, profile: Mapping[str, Any]) -> None:
    """Replace the given fields of a reader's profile; `tastes` is stored as JSON, None is left out.

    Raises:
        TransientError: Redis does not answer.
    """
    save_profiles(client, {user_id: profile})


def save_profiles(client: redis.Redis, profiles: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace the given fields of several readers' profiles, user id -> profile.

    Raises:
        TransientError: Redis does not answer; some may have been written.
    """
    pipe = client.pipeline(transaction=False)
    with _translated():
        for user_id, profile in profiles.items():
            fields = {
                name: json.dumps(value) if name == "tastes" else str(value)
                for name, value in profile.items()
                if value is not None
            }
            key = online.PROFILE.format(user_id)
            if fields:
                pipe.hset(key, mapping=cast("Any", fields))
                pipe.expire(key, online.TTL_S)
            if len(pipe) >= _IN_ONE_PIPELINE:
                pipe.execute()
        pipe.execute()


def read_reader(client: redis.Redis, user_id: str) -> OnlineReader:
    """Everything known of one reader, in one round trip; an unknown reader is empty.

    Raises:
        TransientError: Redis does not answer in time.
    """
    history, weights, seen, dismissed, _, ratings = (key.format(user_id) for key in _READER_KEYS)
    pipe = client.pipeline(transaction=False)
    pipe.zrevrange(history, 0, online.HISTORY_LENGTH - 1, withscores=True)
    pipe.hgetall(weights)
    pipe.hgetall(ratings)
    pipe.zrange(seen, 0, -1)
    pipe.zrange(dismissed, 0, -1)
    pipe.hgetall(online.PROFILE.format(user_id))
    pipe.zrange(online.SHOWN.format(user_id), 0, -1, withscores=True)
    pipe.smembers(online.DISMISSED_AUTHORS.format(user_id))
    with _translated():
        timed, raw_weights, rated, read, away_ids, profile, shown, authors = pipe.execute()
    return OnlineReader(
        history=[book for book, _ in timed],
        weights={book: float(weight) for book, weight in raw_weights.items()},
        ratings={book: float(value.partition(" ")[2]) for book, value in rated.items()},
        seen=set(read),
        dismissed=set(away_ids),
        profile=_decoded(profile),
        dismissed_authors=set(authors),
        latest_at=datetime.fromtimestamp(timed[0][1] / 1000, UTC) if timed and timed[0][1] > 0 else None,
        shown=dict(shown),
    )


def keep_answers(
    client: redis.Redis,
    documents: Iterable[tuple[str, str, bytes]],
    ttl_s: int,
    shown: Iterable[tuple[str, Iterable[str], float]],
) -> None:
    """Keep decisions for a while, and which works were last shown to readers.

    Args:
        client: from `connect`.
        documents: decision id, its reader, document; of one reader the latest `online.DECISIONS_LENGTH` are kept.
        ttl_s: life of a decision in seconds, at least 1 where there is any.
        shown: reader, its works, when they were shown (ms since 1970).

    Raises:
        TransientError: Redis does not answer, or has no room; some may have been written.
    """
    pipe = client.pipeline(transaction=False)
    for decision_id, user_id, document in documents:
        keys = [online.DECISION.format(decision_id), online.DECISIONS.format(user_id)]
        # Not as a registered script: a pipeline asks Redis first, in a round of its own, whether it has that.
        pipe.eval(_KEEP, len(keys), *keys, document, ttl_s, online.DECISIONS_LENGTH)
    for user_id, works, at_ms in shown:
        key = online.SHOWN.format(user_id)
        pipe.zadd(key, dict.fromkeys(works, at_ms), gt=True)
        pipe.zremrangebyrank(key, 0, -(online.SHOWN_LENGTH + 1))
        pipe.expire(key, online.SHOWN_TTL_S)
    with _translated():
        pipe.execute()


def read_decision(client: redis.Redis, decision_id: str) -> bytes | None:
    """What `keep_answers` kept of a decision.

    Raises:
        TransientError: Redis does not answer.
    """
    command: Any = client.execute_command
    with _translated():
        return cast("bytes | None", command("GET", online.DECISION.format(decision_id), **{NEVER_DECODE: True}))


def dismiss_authors(client: redis.Redis, authors: Mapping[str, Iterable[str]]) -> None:
    """Note authors whom readers do not want to see, user id -> ids or names; they are kept until they are taken back.

    Raises:
        TransientError: Redis does not answer; some may have been written.
    """
    pipe = client.pipeline(transaction=False)
    with _translated():
        for user_id, names in authors.items():
            pipe.sadd(online.DISMISSED_AUTHORS.format(user_id), *names)
            if len(pipe) >= _IN_ONE_PIPELINE:
                pipe.execute()
        pipe.execute()


def take_back_authors(client: redis.Redis, user_id: str, authors: Iterable[str]) -> None:
    """Show these authors again.

    Raises:
        TransientError: Redis does not answer.
    """
    with _translated():
        client.srem(online.DISMISSED_AUTHORS.format(user_id), *authors)


def has_dismissed_authors(client: redis.Redis) -> bool:
    """Whether all were written (`note_dismissed_authors`) since this Redis was last empty.

    Raises:
        TransientError: Redis does not answer.
    """
    with _translated():
        return bool(client.exists(online.DISMISSED_AUTHORS_KNOWN))


def note_dismissed_authors(client: redis.Redis) -> None:
    """Note that all were written.

    Raises:
        TransientError: Redis does not answer.
    """
    with _translated():
        client.set(online.DISMISSED_AUTHORS_KNOWN, 1)


def read_times(client: redis.Redis, user_id: str) -> dict[str, datetime]:
    """When the reader last had to do with each book, as far as that is known; also long ago, or to send it away.

    Raises:
        TransientError: Redis does not answer in time.
    """
    pipe = client.pipeline(transaction=False)
    for key in (online.DISMISSED, online.SEEN, online.HISTORY):
        pipe.zrange(key.format(user_id), 0, -1, withscores=True)
    with _translated():
        rows = sorted(chain.from_iterable(pipe.execute()), key=itemgetter(1))  # of two times the later one
    return {book: datetime.fromtimestamp(at_ms / 1000, UTC) for book, at_ms in rows if at_ms > 0}


def _decoded(profile: dict[str, str]) -> dict[str, Any]:
    decoded: dict[str, Any] = dict(profile)
    if "tastes" in decoded:
        decoded["tastes"] = json.loads(decoded["tastes"])
    return decoded


def count_login(client: redis.Redis, who: str) -> int:
    """Count one more attempt to log in; returns how many there were in the running minute, this one included.

    Raises:
        TransientError: Redis does not answer.
    """
    key = online.LOGIN_ATTEMPTS.format(who)
    pipe = client.pipeline(transaction=True)
    pipe.set(key, 0, ex=online.LOGIN_WINDOW_S, nx=True)
    pipe.incr(key)
    with _translated():
        _, count = pipe.execute()
    return int(count)


def forget_logins(client: redis.Redis, who: str) -> None:
    """Begin the count anew, after a success.

    Raises:
        TransientError: Redis does not answer.
    """
    with _translated():
        client.delete(online.LOGIN_ATTEMPTS.format(who))


def count_calls(client: redis.Redis, who: str, most: int, calls: int = 1) -> tuple[int, int]:
    """Count more calls, in one round trip; returns how many there were in the running minute, and its rest in s.

    Where these are more than `most`, the last ones are not counted.

    Raises:
        TransientError: Redis does not answer.
    """
    script = client.register_script(_COUNT)
    with _translated():
        counted, left_ms = cast(
            "Any", script(keys=[online.CALLS.format(who)], args=[online.CALLS_WINDOW_S * 1000, calls, most])
        )
    return int(counted), max(1, -(-int(left_ms) // 1000))


@contextmanager
def _translated() -> Iterator[None]:
    """What Redis says as an error of ours."""
    try:
        yield
    except redis.RedisError as error:
        raise away(error) from error


def away(error: Exception) -> TransientError:
    """Our error for a Redis that does not answer."""
    return TransientError(
        "Redis does not answer",
        received=f"{type(error).__name__}: {error}",
        todo="check `bookworks status redis` and the BOOKWORKS_REDIS_… settings.",
    )
