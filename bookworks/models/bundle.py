"""A bundle: loaded from its folder, checked, and asked for recommendations.

The same code ranks in `training.evaluate`, in the gate and in the service.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bookworks.contracts.bundle import Manifest
from bookworks.errors import ContractError
from bookworks.models.bundle_files import BundleParts, read_parts
from bookworks.models.encoder import UNKNOWN
from bookworks.models.reader import Nearest, ReaderState, Recommendation, Tier
from bookworks.models.tastes import TasteIndex

Floats = npt.NDArray[np.float32]
SHORTLIST = 5  # the rule on authors looks at this many times n
FILTER_CANDIDATES = 1000  # works of the item filter whose cosine is also taken, beside those of a vector index


@dataclass(frozen=True)
class Blend:
    """How the sources are mixed (`ranker.json`), chosen on validation readers.

    Attributes:
        tiers: tier -> source -> weight.
        history_share: tier -> how much of the reader's vector comes from the history's item vectors, 0 to 1.
    """

    tiers: dict[str, dict[str, float]]
    history_share: dict[str, float]

    @classmethod
    def from_json(cls, ranker: dict[str, Any]) -> Blend:
        """From the content of `ranker.json`."""
        return cls(ranker["tiers"], ranker["history_share"])


class Bundle:
    """All that is served, immutable after load; safe to share between threads.

    Attributes:
        work_ids: of work index i.
        former_ids: of work index i, ids of works that were merged into it.
        index_of: work id, also a former one -> work index.
        editions: edition id or ISBN-13 -> work id.
        users: user id -> index of the encoder's reader.
        item_vectors: float32 [n_works, dim], rows of length 1.
    """

    def __init__(self, manifest: Manifest, parts: BundleParts) -> None:
        self.manifest = manifest
        self.works: pa.Table = parts.works
        self.work_ids: list[str] = parts.works["work_id"].to_pylist()
        self.former_ids: list[list[str]] = parts.former_ids
        former = {old: i for i, ids in enumerate(self.former_ids) for old in ids}
        self.index_of: dict[str, int] = former | {work_id: i for i, work_id in enumerate(self.work_ids)}
        self.editions: dict[str, str] = parts.editions
        self.users: dict[str, int] = parts.users
        self.item_vectors: Floats = parts.item_vectors
        self._mean_vector: Floats = parts.item_vectors.mean(axis=0)
        self.blend = Blend.from_json(parts.ranker)
        self.rules: dict[str, Any] = parts.rules
        self.features: dict[str, Any] = parts.features
        self._vocabulary, self._encoder = parts.vocabulary, parts.encoder
        self._item_filter, self._popularity = parts.item_filter, parts.popularity
        self._tastes = TasteIndex(parts.works)
        self._author_of: list[str | None] = (
            parts.works["author_id"].to_pylist() if "author_id" in parts.works.column_names else []
        )

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read and check a bundle.

        Raises:
            BundleError: a part is missing or altered, or the parts do not fit together.
        """
        manifest, parts = read_parts(Path(folder))
        return cls(manifest, parts)

    def with_blend(self, blend: Blend) -> Bundle:
        """The same bundle with another blend; shares all parts."""
        other = copy.copy(self)
        other.blend = blend
        return other

    def __len__(self) -> int:
        """Works in the catalogue."""
        return len(self.work_ids)

    def tier_of(self, state: ReaderState) -> Tier:
        """What is known of the reader: `warm` (trained id), `session` (a history), `tastes`, or `cold`."""
        if state.user_id is not None and state.user_id in self.users:
            return "warm"
        if state.history:
            return "session"
        return "tastes" if self._tastes.known(state.tastes) else "cold"

    def encode_reader(self, state: ReaderState) -> Floats:
        """The reader's vector, length 1, float32 [dim].

        The encoder knows the history (and for a reader without trained id no more than it, age bin and country); its
        vector is mixed with the weighted mean of the history's item vectors where that was better on validation.
        """
        user = self.users.get(state.user_id or "", UNKNOWN)
        age, country = self._vocabulary.age_index(state.age_bin), self._vocabulary.country_index(state.country)
        history, weights = self._checked_history(state)
        vector: Floats = self._encoder.encode([user], [age], [country], self._encoder.bag(history, weights)[None])[0]
        if history:
            share = np.float32(self.blend.history_share["warm" if user != UNKNOWN else "session"])
            mean = np.asarray(weights, dtype=np.float32) @ self.item_vectors[history]
            vector = (1 - share) * _unit(vector) + share * _unit(mean)
        return _unit(vector)

    def item_filter_scores(self, history: list[int], weights: list[float]) -> Floats:
        """sum_h weights[h] * S[h, :], float32 [n_works]; an empty `weights` means 1 for all."""
        return self._item_filter.scores(history, weights or [1.0] * len(history))

    def popularity_scores(self, state: ReaderState) -> Floats:
        """Popularity with the reader's age bin and country, 0 to 1, float32 [n_works]; do not write into it."""
        return self._popularity.scores(state.age_bin, state.country)

    def popular(self, state: ReaderState) -> list[int]:
        """The whole catalogue, the most popular for this reader's country and age first."""
        order: list[int] = np.argsort(-self.popularity_scores(state), kind="stable").tolist()
        return order

    def source_scores(self, state: ReaderState, nearest: Nearest | None = None) -> dict[str, Floats]:
        """Each source's own scores, brought to a common scale, float32 [n_works].

        `item_filter` divided by its maximum; `vectors` are cosines less their mean, divided by their maximum;
        `popularity` and `tastes` are 0 to 1 by construction. A source that knows nothing is left out.

        Args:
            state: what is known of the reader.
            nearest: what a vector index found; cosines are then taken of these works and of the item filter's
                best only, the others count as average. None takes them of every work.
        """
        history, weights = self._checked_history(state)
        wanted = self.blend.tiers[self.tier_of(state)]
        scores: dict[str, Floats] = {}
        if history and wanted.get("item_filter"):
            scores["item_filter"] = _to_max(self._item_filter.scores(history, weights))
        if wanted.get("vectors"):
            scores["vectors"] = self._vector_scores(state, nearest, scores.get("item_filter"))
        if wanted.get("tastes") and (known := self._tastes.known(state.tastes)):
            scores["tastes"] = self._tastes.scores(known)
        if wanted.get("popularity"):
            scores["popularity"] = self.popularity_scores(state)
        return scores

    def _vector_scores(self, state: ReaderState, nearest: Nearest | None, filtered: Floats | None) -> Floats:
        if nearest is None:
            cosines = self.item_vectors @ self.encode_reader(state)
            return _to_max(cosines - cosines.mean())
        rows = nearest.indices
        if filtered is not None:
            best = np.asarray(top(filtered, FILTER_CANDIDATES), dtype=np.int64)
            rows = np.union1d(rows, best[filtered[best] > 0])
        centred = np.zeros(len(self), dtype=np.float32)
        centred[rows] = self.item_vectors[rows] @ nearest.vector - self._mean_vector @ nearest.vector
        return _to_max(centred)

    def score(self, state: ReaderState, nearest: Nearest | None = None) -> tuple[Floats, dict[str, Floats]]:
        """Blended score of every work and what each source added, float32 [n_works]; see `source_scores`."""
        weights = self.blend.tiers[self.tier_of(state)]
        sources = self.source_scores(state, nearest)
        added = {name: np.float32(weights[name]) * scores for name, scores in sources.items()}
        total = np.zeros(len(self), dtype=np.float32)
        for part in added.values():
            total += part
        return total, added

    def recommend(self, state: ReaderState, n: int, exclude: set[int] | frozenset[int] = frozenset()) -> Recommendation:
        """The best `n` works for a reader; fewer only where the catalogue has no more.

        Args:
            state: what is known of the reader; the history is never recommended.
            n: length of the list, at least 1.
            exclude: further work indices never to recommend.

        Raises:
            ContractError: `n` below 1, or an index that this catalogue does not have.
        """
        if n < 1:
            raise ContractError("The length of the list is too small", received=n, allowed="n >= 1")
        total, added = self.score(state)
        banned = np.fromiter({*state.history, *exclude}, dtype=np.int64)
        self._check_indices(banned)
        total[banned] = -np.inf
        ranked = top(total, n * SHORTLIST)
        chosen = self._spread_authors(ranked, n) if self.rules.get("max_per_author") else ranked[:n]
        sources = [{name: float(part[i]) for name, part in added.items()} for i in chosen]
        return Recommendation(chosen, [float(total[i]) for i in chosen], sources, self.tier_of(state))

    def similar(self, index: int, n: int) -> list[tuple[int, float]]:
        """The `n` works most like work `index`: mean of the cosine and the item filter's scaled score."""
        self._check_indices(np.array([index]))
        scores = self.item_vectors @ self.item_vectors[index] + _to_max(self._item_filter.scores([index], [1.0]))
        scores[index] = -np.inf
        return [(i, float(scores[i]) / 2) for i in top(scores, n)]

    def _spread_authors(self, ranked: list[int], n: int) -> list[int]:
        limit, count = int(self.rules["max_per_author"]), dict[str, int]()
        kept, late = list[int](), list[int]()
        for i in ranked:
            author = self._author_of[i] if self._author_of else None
            if author is not None and count.get(author, 0) >= limit:
                late.append(i)
                continue
            if author is not None:
                count[author] = count.get(author, 0) + 1
            kept.append(i)
            if len(kept) == n:
                return kept
        return (kept + late)[:n]

    def _checked_history(self, state: ReaderState) -> tuple[list[int], list[float]]:
        weights = state.weights or [1.0] * len(state.history)
        if len(weights) != len(state.history):
            raise ContractError(
                "History and weights differ in length", received=f"{len(state.history)} and {len(weights)}"
            )
        self._check_indices(np.asarray(state.history, dtype=np.int64))
        return state.history, weights

    def _check_indices(self, indices: npt.NDArray[np.int64]) -> None:
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            bad = indices[(indices < 0) | (indices >= len(self))][0]
            raise ContractError("No such work index", received=int(bad), allowed=f"0 to {len(self) - 1}")


def top(scores: Floats, n: int) -> list[int]:
    """Indices of the `n` best finite scores, best first; ties go to the lower index."""
    n = min(n, scores.size)
    cut = np.partition(scores, scores.size - n)[scores.size - n]
    above = np.flatnonzero(scores > cut)
    best = np.concatenate([above, np.flatnonzero(scores == cut)[: n - above.size]])
    best = best[np.isfinite(scores[best])]
    order: list[int] = best[np.argsort(-scores[best], kind="stable")].tolist()
    return order


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > 0 else vector


def _to_max(scores: Floats) -> Floats:
    high = float(scores.max(initial=0.0))
    return scores / np.float32(high) if high > 0 else scores
