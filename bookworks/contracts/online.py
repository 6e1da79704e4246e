"""Redis: what the service knows of a reader right now. `{}` is the reader's id.

Each key is written idempotently: the same event twice leaves the same state.
"""

from __future__ import annotations

DAY_S = 86_400

HISTORY = "reader:{}:history"  # sorted set: work_id, scored by time in ms
HISTORY_WEIGHTS = "reader:{}:weights"  # hash: work_id -> weight 0..1
SEEN = "reader:{}:seen"  # set: work_ids read or owned, never recommended again
DISMISSED = "reader:{}:dismissed"  # set: work_ids the reader sent away
PROFILE = "reader:{}:profile"  # hash: country, age_bin, tastes (JSON)
# Not of a reader; `{}` is a digest of name and address.
LOGIN_ATTEMPTS = "login:{}:attempts"  # number: log-ins in this minute that did not succeed, or not yet

HISTORY_LENGTH = 200
TTL_S = 400 * DAY_S
WORK_OF_EDITION = "editions"  # hash: edition_id -> work_id, replaced at each publish
LOGIN_WINDOW_S = 60
