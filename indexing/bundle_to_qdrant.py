"""A bundle's vectors into Qdrant: a new collection of the bundle's version, then one alias, then the old ones go.

python -m indexing.bundle_to_qdrant [--version V]
"""

from __future__ import annotations

from pathlib import Path

from bookworks.adapters import qdrant, registry
from bookworks.adapters.qdrant import VectorStore
from bookworks.contracts.bundle import CHAMPION, VECTOR_ALIAS, vector_collection
from bookworks.errors import BookworksError, TransientError
from bookworks.models.bundle import Bundle
from bookworks.settings import Settings
from indexing.entry import main

KEPT = 2
_PREFIX = vector_collection("")


def publish(store: VectorStore, bundle: Bundle, in_use: set[str]) -> list[str]:
    """Write the collection unless it is there and whole, move the alias, drop all but the newest two.

    Args:
        store: where to.
        bundle: whose item vectors and works.
        in_use: collections that must stay, whatever their age.

    Returns:
        The names of the collections that were dropped.
    """
    name = vector_collection(bundle.manifest.version)
    present = store.open(name)
    whole = present is not None and present.size == len(bundle)
    if present is not None:
        present.close()
    if not whole:
        store.create(name, bundle.item_vectors, payloads(bundle))
        _check(store, name, len(bundle))
    store.alias(VECTOR_ALIAS, name)
    return qdrant.drop_old(store, _PREFIX, KEPT, spare={name} | in_use)


def _check(store: VectorStore, name: str, expected: int) -> None:
    written = store.open(name)
    size = 0 if written is None else written.size
    if written is not None:
        written.close()
    if size != expected:
        raise TransientError(f"The collection {name} is not whole", received=f"{size} points", allowed=str(expected))


def payloads(bundle: Bundle) -> list[dict[str, str]]:
    """What a point says of its work."""
    titles = bundle.works["title"].to_pylist()
    return [{"work_id": w, "title": t or ""} for w, t in zip(bundle.work_ids, titles, strict=True)]


def champions_collection(settings: Settings) -> set[str]:
    """The collection that serves now; none when it cannot be known."""
    try:
        with registry.connect(settings) as client:
            version = registry.version_of_alias(client, settings, CHAMPION)
    except BookworksError:
        return set()
    return {vector_collection(version)} if version else set()


def step(settings: Settings, folder: Path) -> str:
    """Publish one bundle's vectors."""
    bundle = Bundle.load(folder)
    dropped = publish(qdrant.connect(settings), bundle, champions_collection(settings))
    name = vector_collection(bundle.manifest.version)
    gone = f", dropped {', '.join(dropped)}" if dropped else ""
    return f"{len(bundle)} vectors in {name}, alias {VECTOR_ALIAS}{gone}"


if __name__ == "__main__":
    main("indexing.bundle_to_qdrant", __doc__, step)
