"""Where the next page begins: the works that are left, in the order of the first page, signed and bound to a reader.

The order travels with the caller, so a page needs no memory of ours and no later click can shift it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

import numpy as np

from bookworks.settings import Settings
from serving.problems import Problem

FIELD = "body.cursor"
_FORM = b"1"
_SIGNED, _BUNDLE, _LENGTH, _WIDTH = 16, 8, 2, 3  # bytes: signature, bundle, length of the reader's id, a work
_HEAD = _SIGNED + len(_FORM) + _BUNDLE + _LENGTH


def sealed(settings: Settings, version: str, user_id: str, rest: Sequence[int]) -> str:
    """A cursor.

    Args:
        settings: with the secret that signs it.
        version: of the bundle, whose indices `rest` holds.
        user_id: the reader, who alone may use it.
        rest: work indices, the next first.
    """
    reader = user_id.encode()
    works = np.asarray(rest, dtype="<u4").view(np.uint8).reshape(-1, 4)[:, :_WIDTH].tobytes()
    body = _FORM + _digest(version) + len(reader).to_bytes(_LENGTH, "big") + reader + works
    return base64.urlsafe_b64encode(_signature(settings, body) + body).decode().rstrip("=")


def opened(settings: Settings, version: str, cursor: str) -> tuple[str, list[int]]:
    """The reader and the works of a cursor.

    Raises:
        Problem: 403, it is none of ours; 410, its bundle serves no more.
    """
    try:
        content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _unknown(cursor) from None
    body = content[_SIGNED:]
    if len(content) < _HEAD or not hmac.compare_digest(content[:_SIGNED], _signature(settings, body)):
        raise _unknown(cursor)
    start = len(_FORM) + _BUNDLE + _LENGTH
    end = start + int.from_bytes(body[start - _LENGTH : start], "big")
    if body[len(_FORM) : start - _LENGTH] != _digest(version):
        raise Problem(
            410, "The books of this cursor are out of date", field=FIELD, received=cursor,
            allowed="a cursor of the bundle that serves now", todo="ask for the first page again.",
        )  # fmt: skip
    works = np.zeros(((len(body) - end) // _WIDTH, 4), dtype=np.uint8)
    works[:, :_WIDTH] = np.frombuffer(body[end:], dtype=np.uint8).reshape(-1, _WIDTH)
    return body[start:end].decode(), works.view("<u4").ravel().tolist()


def _digest(version: str) -> bytes:
    return hashlib.sha256(version.encode()).digest()[:_BUNDLE]


def _signature(settings: Settings, body: bytes) -> bytes:
    key = b"cursor:" + settings.jwt_secret.get_secret_value().encode()
    return hmac.digest(key, body, "sha256")[:_SIGNED]


def _unknown(cursor: str) -> Problem:
    return Problem(
        403, "The cursor is none of ours", field=FIELD, received=cursor,
        allowed="`next` of an earlier answer, unchanged", todo="ask for the first page again.",
    )  # fmt: skip
