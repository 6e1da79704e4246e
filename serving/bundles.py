"""The bundle that is served: follows MLflow's alias `champion`, loads a new one beside the old, then swaps."""

from __future__ import annotations

import gc
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

from bookworks.adapters import qdrant, registry
from bookworks.adapters.qdrant import Collection, VectorStore
from bookworks.contracts.bundle import CHAMPION, LAST_CHAMPION, vector_collection
from bookworks.errors import BookworksError, BundleError, TerminalError, TransientError
from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import check_files
from bookworks.models.reader import Nearest, ReaderState
from bookworks.settings import Settings
from serving import metrics, policy
from serving.again import Answers
from serving.breaker import Breaker
from serving.catalogue import Catalogue
from serving.repeat import Repeated
from serving.rules import Rules

logger = logging.getLogger("bookworks.serving")

_KEPT = 3
_WARM_UP_CALLS = 5
_REFUSED_AGAIN_S = 60.0


@dataclass(frozen=True)
class Served:
    """One loaded bundle with all that goes with it; a request takes it once and keeps it to its end."""

    bundle: Bundle
    catalogue: Catalogue
    rules: Rules
    vectors: Collection | None
    vectors_breaker: Breaker = field(default_factory=lambda: Breaker("The vector index"))
    answers: Answers = field(default_factory=Answers, init=False)  # so others for other vectors

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.bundle.manifest.version


class Refusal(NamedTuple):
    """A version that could not be loaded, and when it is worth another try."""

    version: str
    again_at: float


class BundleKeeper:
    """Holds the served bundle in `current`, and the one before it, to go back at once; a thread follows the alias."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._policy = settings, policy.load(settings.rules_file)
        self._cache: Path = settings.bundle_cache_path
        self._registry: httpx.Client = registry.connect(settings)
        self._store: VectorStore | None = None
        self._refusal = Refusal("", 0.0)
        self._said: dict[str, str | None] = {}
        self._repeated = Repeated("bundles", settings.bundle_poll_seconds, self.refresh)
        self.current: Served | None = None
        self._before: Served | None = None

    def start(self) -> None:
        """Load what there is, then follow the alias."""
        self._repeated.start()

    def wait_for_first(self, timeout_s: float) -> bool:
        """Wait until the champion was looked for once, and loaded or refused; whether that is so."""
        return self._repeated.wait_for_first(timeout_s)

    def close(self) -> None:
        """Stop following."""
        self._repeated.close()
        self._registry.close()

    def refresh(self) -> None:
        """One look at the alias: load and swap when it moved, open vectors that were missing."""
        wanted = self._wanted()
        current = self.current
        if wanted and (current is None or wanted != current.version) and not self._refused(wanted):
            self._load(wanted)
        elif current is not None and current.vectors is None:
            self._open_missing_vectors(current)

    def _wanted(self) -> str | None:
        """The champion's version; when MLflow is away and nothing serves yet, the one that served last."""
        try:
            version = registry.version_of_alias(self._registry, self._settings, CHAMPION)
            self._say("champion", None)
        except BookworksError as error:
            self._say("champion", f"the champion is not known for now: {error}")
            version = None if self.current else self._last_champion()
        return version

    def _refused(self, version: str) -> bool:
        return version == self._refusal.version and time.monotonic() < self._refusal.again_at

    def _load(self, version: str) -> None:
        try:
            served = self._in_memory(version) or self._prepare(version)
        except BookworksError as error:
            self._refuse(version, error)
            if self.current is None and (last := self._last_champion()) not in {None, version}:
                self._load_last(str(last))
            return
        self._swap(served)

    def _in_memory(self, version: str) -> Served | None:
        """The bundle before, if it is that one."""
        return self._before if self._before is not None and self._before.version == version else None

    def _load_last(self, version: str) -> None:
        try:
            self._swap(self._prepare(version))
        except BookworksError as error:
            logger.warning("the last champion %s cannot serve either: %s", version, error)

    def _prepare(self, version: str) -> Served:
        folder = registry.fetch_bundle(self._settings, version, self._cache)
        with _uncollected():
            bundle = self._loaded(folder, version)
            catalogue = Catalogue(bundle)
            rules = Rules.of(self._policy, bundle, catalogue)
        served = Served(bundle, catalogue, rules, self._open_vectors(bundle))
        _warm_up(served)
        return served

    def _loaded(self, folder: Path, version: str) -> Bundle:
        try:
            if self._before is not None:
                check_files(folder)  # a broken bundle costs no way back
                self._before = None  # never three in memory
            bundle = Bundle.load(folder)
            if bundle.manifest.version != version:
                raise BundleError(
                    "The bundle calls itself otherwise", received=bundle.manifest.version, allowed=version
                )
        except BundleError:
            shutil.rmtree(folder, ignore_errors=True)  # downloaded afresh at the next try
            raise
        return bundle

    def _open_vectors(self, bundle: Bundle) -> Collection | None:
        """The collection of the bundle's own version, or None: then the bundle's vectors are searched one by one."""
        name = vector_collection(bundle.manifest.version)
        try:
            self._store = self._store or qdrant.connect(self._settings, timeout_s=1)
            collection = self._store.open(name)
        except BookworksError as error:
            self._say("vectors", f"no vector index for now: {error}")
            return None
        if collection is not None and collection.size != len(bundle):
            self._say(
                "vectors", f"the vector collection {name} has {collection.size} points, the bundle {len(bundle)} works"
            )
            collection.close()
            return None
        return collection

    def _open_missing_vectors(self, current: Served) -> None:
        vectors = self._open_vectors(current.bundle)
        if vectors is not None:
            self.current = replace(current, vectors=vectors)
            logger.info("vector collection of %s opened", current.version)

    def _swap(self, served: Served) -> None:
        old, self.current = self.current, served
        self._refusal = Refusal("", 0.0)
        if old is not None and old.version != served.version:
            self._before = old
            metrics.BUNDLE.labels(old.version).set(0)
        metrics.BUNDLE.labels(served.version).set(1)
        metrics.LOADED_AT.set_to_current_time()
        logger.info("bundle %s serves, %d works", served.version, len(served.bundle))
        self._keep_note(served.version)

    def _refuse(self, version: str, error: BookworksError) -> None:
        transient = isinstance(error, TransientError)
        wait_s = self._settings.bundle_poll_seconds if transient else _REFUSED_AGAIN_S
        self._refusal = Refusal(version, time.monotonic() + wait_s)
        if transient:
            self._say("fetch", f"bundle {version} cannot be fetched for now: {error}")
            return
        metrics.BUNDLES_REFUSED.inc()
        still = self.current.version if self.current else "nothing"
        logger.error("bundle %s refused, %s keeps serving: %s", version, still, error)

    def _say(self, about: str, message: str | None) -> None:
        """Log a lasting trouble once, not at every look; None: it is over."""
        if message is not None and message != self._said.get(about):
            logger.warning(message)
        self._said[about] = message

    def _last_champion(self) -> str | None:
        try:
            return (self._cache / LAST_CHAMPION).read_text(encoding="utf-8").strip() or None
        except OSError:
            return None

    def _keep_note(self, version: str) -> None:
        """Remember who serves, for a start without MLflow; forget bundles that are long gone."""
        note = self._cache / LAST_CHAMPION
        new = note.with_name(f".{LAST_CHAMPION}.{time.time_ns()}")
        try:
            new.write_text(version, encoding="utf-8")
            new.replace(note)
            folders = [p for p in self._cache.iterdir() if p.is_dir() and not p.name.startswith(".")]
            by_age = sorted(folders, key=lambda p: p.stat().st_mtime, reverse=True)
            for folder in [p for p in by_age if p.name != version][_KEPT - 1 :]:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            logger.warning("the bundle cache %s cannot be written: %s", self._cache, error)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is looked for meanwhile, nor later among what was made: millions of objects that all stay.

    To go through them takes a fifth of the time of loading, and later, once in some thousand requests, a third of a
    second. A bundle has no cycles, so it goes when nobody has it any more.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _warm_up(served: Served) -> None:
    """Answer a few made-up requests, so that the first real one is as quick as the others; a fault refuses."""
    try:
        for index in range(min(_WARM_UP_CALLS, len(served.bundle))):
            state = ReaderState(user_id=None, history=[index], weights=[1.0])
            vector = served.bundle.encode_reader(state)
            near = None
            if served.vectors is not None:
                near = Nearest(vector, served.vectors.search(np.ascontiguousarray(vector), 10)[0])
            works = served.bundle.pool(state, near, 10)
            served.bundle.ranked(state, served.bundle.score(state, near, works=works))
            served.bundle.recommend(state, 10)
            served.bundle.recommend(ReaderState(), 10)
    except TransientError:
        raise
    except Exception as error:
        raise TerminalError(
            "The bundle loads but does not answer", received=f"{type(error).__name__}: {error}"
        ) from error
