"""How many of the works that are exactly nearest to readers the vector index finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing

import numpy as np

from analytics.bench.report import Figure
from bookworks import clock
from bookworks.adapters import qdrant, redis
from bookworks.contracts.bundle import LAST_CHAMPION, vector_collection
from bookworks.errors import TransientError
from bookworks.models.bundle import Bundle
from bookworks.models.online_state import state_of
from bookworks.models.reader import ReaderState
from bookworks.settings import Settings

NEAREST, READERS = 200, 200


def mean_recall(bundle: Bundle, collection: qdrant.Collection, states: Iterable[ReaderState]) -> float:
    """Mean over readers of the share of the exact nearest works that the collection finds."""
    found, n = [], min(NEAREST, len(bundle) - 1)
    for state in states:
        vector = bundle.encode_reader(state)
        exact = np.argpartition(-(bundle.item_vectors @ vector), n)[:n]
        indices, _ = collection.search(vector, n)
        found.append(np.isin(exact, indices).mean())
    return float(np.mean(found))


def opened(store: qdrant.VectorStore, version: str) -> qdrant.Collection:
    """The collection of a bundle.

    Raises:
        TransientError: there is none.
    """
    collection = store.open(vector_collection(version))
    if collection is None:
        raise TransientError("The bundle's vector collection is gone", received=version, todo="make it again.")
    return collection


def of_champion(settings: Settings, readers: Sequence[str]) -> Figure:
    """For the bundle that the service of this stack has served last, and these readers as Redis knows them.

    Raises:
        TransientError: no bundle has served, its collection is gone, or Redis does not answer.
    """
    cache = settings.bundle_cache_path
    try:
        bundle = Bundle.load(cache / (cache / LAST_CHAMPION).read_text(encoding="utf-8").strip())
    except OSError as error:
        raise TransientError("No bundle has served yet", received=error, todo="run `bookworks demo` first.") from error
    with closing(redis.connect(settings)) as client:
        states = [_state(bundle, reader, redis.read_reader(client, reader)) for reader in readers]
    with closing(opened(qdrant.connect(settings), bundle.manifest.version)) as collection:
        return Figure(f"vector_recall_at_{NEAREST}", "share", [mean_recall(bundle, collection, states)])


def _state(bundle: Bundle, reader: str, online: redis.OnlineReader) -> ReaderState:
    """The reader as the service understands it, but for ISBNs in other spellings."""

    def index(*ids: str) -> int | None:
        works = (bundle.editions.get(one, one) for one in ids)
        return next((bundle.index_of[work] for work in works if work in bundle.index_of), None)

    state, _ = state_of(bundle, index, reader, online, clock.now())
    return state
