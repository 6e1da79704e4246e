"""Qdrant: versioned collections of vectors and one alias; a server, or the engine in this process.

In the process (`qdrant-edge-py`) a collection is an immutable folder under `Settings.vectors_path`,
written under another name and renamed when complete; the alias is a small file, replaced atomically.
A point's id is its row in the matrix of vectors.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bookworks.errors import BookworksError, TerminalError, TransientError
from bookworks.settings import Settings

Vectors = npt.NDArray[np.float32]
# Ids and scores of the nearest points, best first.
Hits = tuple[npt.NDArray[np.int64], Vectors]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_BATCH = 1000
_HNSW_M, _HNSW_EF_CONSTRUCT, _FULL_SCAN_KB = 24, 200, 4000
_EF_PER_HIT = 3  # entries that a search looks at for each point that it is asked for
_ABANDONED_S = 3600


class Collection(Protocol):
    """One collection opened for reading; safe for several threads."""

    size: int

    def search(self, vector: Vectors, limit: int) -> Hits:
        """The `limit` points with the greatest inner product with `vector` [dim].

        Raises:
            TransientError: the store does not answer.
        """
        ...

    def close(self) -> None:
        """Give back what is held open."""
        ...


class VectorStore(Protocol):
    """Collections and aliases."""

    def create(self, name: str, vectors: Vectors, payloads: Sequence[dict[str, Any]]) -> None:
        """Write a collection from `vectors` [n, dim] and one payload a row; one of that name is replaced."""
        ...

    def open(self, name: str) -> Collection | None:
        """A collection by name or alias, or None when there is none."""
        ...

    def alias(self, alias: str, name: str) -> None:
        """Point `alias` at the collection `name`, in one step."""
        ...

    def target(self, alias: str) -> str | None:
        """The collection that `alias` points at, or None."""
        ...

    def names(self) -> list[str]:
        """Collections, the oldest first."""
        ...

    def drop(self, name: str) -> None:
        """Remove a collection; one that is not there is no error."""
        ...


def connect(settings: Settings, timeout_s: int = 2) -> VectorStore:
    """The store of the settings: a server when `qdrant_url` is set, else the engine in this process.

    Args:
        settings: where it is.
        timeout_s: what a server has for each request; its client counts whole seconds.
    """
    if settings.qdrant_url is None:
        return EdgeStore(settings.vectors_path)
    from qdrant_client import QdrantClient

    key = settings.qdrant_api_key.get_secret_value() or None
    return ServerStore(QdrantClient(url=settings.qdrant_url, api_key=key, timeout=timeout_s, check_compatibility=False))


def drop_old(store: VectorStore, prefix: str, keep: int, spare: set[str]) -> list[str]:
    """Remove all but the newest `keep` collections whose name starts with `prefix`; never those in `spare`.

    Returns:
        The names that were removed.
    """
    mine = [name for name in store.names() if name.startswith(prefix)]
    old = [name for name in mine[: max(0, len(mine) - keep)] if name not in spare]
    for name in old:
        store.drop(name)
    return old


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise TerminalError(
            "The name of a vector collection is not usable",
            received=repr(name),
            allowed="letters, digits, dot, dash and underscore, at most 200",
        )
    return name


class EdgeStore:
    """Collections in folders, searched by Qdrant's engine in this process."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, name: str, vectors: Vectors, payloads: Sequence[dict[str, Any]]) -> None:
        """See `VectorStore.create`; HNSW is built before the folder gets its name."""
        final = self.root / _checked(name)
        self.root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        building = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=self.root))
        try:
            _write_shard(building, vectors, payloads)
            building.chmod(0o755)
            _swap_folder(building, final)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a killed writer left an hour ago or more."""
        for path in self.root.glob(".*"):
            if path.is_dir() and path.stat().st_mtime < time.time() - _ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)

    def open(self, name: str) -> EdgeCollection | None:
        """See `VectorStore.open`."""
        folder = self.root / _checked(self.target(name) or name)
        return EdgeCollection(folder) if folder.is_dir() else None

    def alias(self, alias: str, name: str) -> None:
        """See `VectorStore.alias`."""
        if not (self.root / _checked(name)).is_dir():
            raise TerminalError(
                "An alias needs a collection that is there",
                received=name,
                allowed=", ".join(self.names()) or "none yet",
                todo="run `python -m indexing.bundle_to_qdrant`.",
            )
        path = self._alias_path(alias)
        new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        new.write_text(json.dumps({"collection": name}), encoding="utf-8")
        new.replace(path)

    def target(self, alias: str) -> str | None:
        """See `VectorStore.target`."""
        try:
            return str(json.loads(self._alias_path(alias).read_text(encoding="utf-8"))["collection"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise TerminalError(
                f"The alias file {self._alias_path(alias)} is damaged",
                received=error,
                todo="remove it, then run `python -m indexing.bundle_to_qdrant`.",
            ) from error

    def names(self) -> list[str]:
        """See `VectorStore.names`."""
        if not self.root.is_dir():
            return []
        folders = [p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith(".")]
        return [p.name for p in sorted(folders, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def drop(self, name: str) -> None:
        """See `VectorStore.drop`; who has the collection open keeps reading it."""
        shutil.rmtree(self.root / _checked(name), ignore_errors=True)

    def _alias_path(self, alias: str) -> Path:
        return self.root / f"{_checked(alias)}.alias.json"


def _swap_folder(new: Path, final: Path) -> None:
    """Give `new` the name `final`; one of that name steps aside first."""
    aside = final.with_name(f".{final.name}.old.{uuid.uuid4().hex}")
    if final.exists():
        final.rename(aside)
    new.rename(final)
    os.utime(final)
    shutil.rmtree(aside, ignore_errors=True)


def _write_shard(folder: Path, vectors: Vectors, payloads: Sequence[dict[str, Any]]) -> None:
    import qdrant_edge as edge

    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=vectors.shape[1], distance=edge.Distance.Dot),
        hnsw_config=edge.HnswIndexConfig(m=_HNSW_M, ef_construct=_HNSW_EF_CONSTRUCT, full_scan_threshold=_FULL_SCAN_KB),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=_FULL_SCAN_KB, default_segment_number=1),
        wal_enabled=False,
        max_search_threads=1,  # there is one graph to walk; of more threads each search wakes all
    )
    shard = edge.EdgeShard.create(str(folder), config)
    try:
        for start in range(0, len(vectors), _BATCH):
            rows = range(start, min(start + _BATCH, len(vectors)))
            points = [edge.Point(row, vectors[row].tolist(), payloads[row]) for row in rows]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
    finally:
        shard.close()


class EdgeCollection:
    """One folder of the engine, opened."""

    def __init__(self, folder: Path) -> None:
        import qdrant_edge as edge

        self._edge = edge
        try:
            self._shard = edge.EdgeShard.load(str(folder))
            self.size = self._shard.info().points_count
        except Exception as error:
            raise TerminalError(
                f"The vector collection {folder.name} cannot be opened",
                received=error,
                todo="write it again: `python -m indexing.bundle_to_qdrant`.",
            ) from error

    def search(self, vector: Vectors, limit: int) -> Hits:
        """See `Collection.search`."""
        query = self._edge.Query.Nearest(vector.tolist())
        try:
            params = self._edge.SearchParams(hnsw_ef=_EF_PER_HIT * limit)
            found = self._shard.search(self._edge.SearchRequest(query, limit=limit, params=params))
        except Exception as error:
            raise TransientError("The vector engine does not answer", received=error) from error
        return _hits(found)

    def close(self) -> None:
        """See `Collection.close`."""
        self._shard.close()


class ServerStore:
    """Collections on a Qdrant server, by its own client."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def create(self, name: str, vectors: Vectors, payloads: Sequence[dict[str, Any]]) -> None:
        """See `VectorStore.create`."""
        from qdrant_client import models

        def write() -> None:
            if self.client.collection_exists(_checked(name)):
                self.client.delete_collection(name)
            self.client.create_collection(
                name,
                vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT),
                hnsw_config=models.HnswConfigDiff(m=_HNSW_M, ef_construct=_HNSW_EF_CONSTRUCT),
                metadata={"created_ns": time.time_ns()},
            )
            for start in range(0, len(vectors), _BATCH):
                rows = list(range(start, min(start + _BATCH, len(vectors))))
                batch = models.Batch(ids=rows, vectors=vectors[rows].tolist(), payloads=[payloads[r] for r in rows])
                self.client.upsert(name, batch, wait=True)

        self._call(write)

    def open(self, name: str) -> ServerCollection | None:
        """See `VectorStore.open`."""
        real = self.target(name) or _checked(name)
        if not self._call(lambda: self.client.collection_exists(real)):
            return None
        return ServerCollection(self, real, int(self._call(lambda: self.client.count(real)).count))

    def alias(self, alias: str, name: str) -> None:
        """See `VectorStore.alias`."""
        from qdrant_client import models

        make = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))
        steps: list[Any] = [make]
        if self.target(alias) is not None:
            gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
            steps.insert(0, gone)
        self._call(lambda: self.client.update_collection_aliases(steps))

    def target(self, alias: str) -> str | None:
        """See `VectorStore.target`."""
        for one in self._call(self.client.get_aliases).aliases:
            if one.alias_name == alias:
                return str(one.collection_name)
        return None

    def names(self) -> list[str]:
        """See `VectorStore.names`."""
        present = [one.name for one in self._call(self.client.get_collections).collections]
        return sorted(present, key=lambda name: (self._created_ns(name), name))

    def _created_ns(self, name: str) -> int:
        config = self._call(lambda: self.client.get_collection(name)).config
        return int((config.metadata or {}).get("created_ns", 0))

    def drop(self, name: str) -> None:
        """See `VectorStore.drop`."""
        self._call(lambda: self.client.delete_collection(name))

    def _call(self, do: Any) -> Any:
        try:
            return do()
        except BookworksError:
            raise
        except Exception as error:
            raise server_error(error) from error


class ServerCollection:
    """One collection of a server."""

    def __init__(self, store: ServerStore, name: str, size: int) -> None:
        self._store, self._name, self.size = store, name, size

    def search(self, vector: Vectors, limit: int) -> Hits:
        """See `Collection.search`."""
        from qdrant_client import models

        params = models.SearchParams(hnsw_ef=_EF_PER_HIT * limit)
        try:
            answer = self._store.client.query_points(
                self._name, query=vector.tolist(), limit=limit, with_payload=False, search_params=params
            )
        except Exception as error:
            raise server_error(error) from error
        return _hits(answer.points)

    def close(self) -> None:
        """Nothing is held open."""


def server_error(error: Exception) -> TransientError | TerminalError:
    """Our error for the client's: a refusal is terminal, no answer is transient."""
    status = getattr(error, "status_code", None)
    if (status is not None and 400 <= status < 500) or isinstance(error, ValueError):
        return TerminalError(
            "Qdrant refused the request", received=error, todo="check BOOKWORKS_QDRANT_API_KEY and the collection."
        )
    return TransientError(
        "Qdrant does not answer",
        received=f"{type(error).__name__}: {error}",
        todo="check BOOKWORKS_QDRANT_URL.",
    )


def _hits(points: Sequence[Any]) -> Hits:
    ids = np.fromiter((point.id for point in points), dtype=np.int64, count=len(points))
    scores = np.fromiter((point.score for point in points), dtype=np.float32, count=len(points))
    return ids, scores
