"""A bundle: loaded from its folder, checked, and asked for recommendations.

The same code ranks in `training.evaluate`, in the gate and in the service.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bookworks.contracts.bundle import Manifest
from bookworks.errors import BundleError, ContractError
from bookworks.models.bundle_files import (
    ITEM_FILTER,
    POPULARITY,
    TASTES,
    VECTORS,
    BundleParts,
    Ranker,
    read_parts,
)
from bookworks.models.encoder import UNKNOWN
from bookworks.models.item_item import ItemItem, Marked, largest
from bookworks.models.ordering import top
from bookworks.models.ranker_features import ABOUT, Histories, about, features, names_of
from bookworks.models.reader import Nearest, ReaderState, Recommendation, Tier
from bookworks.models.tastes import TasteIndex
from bookworks.models.trees import Explained

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Shown = npt.NDArray[np.bool_] | None
AS_THEY_ARE = frozenset({TASTES, POPULARITY})  # 0 to 1 by construction
SHORTLIST = 5  # the rule on authors looks at this many times n
BY_OTHERS = 1000  # the best by the other sources, whose cosine is taken beside those of a vector index


@dataclass(frozen=True)
class Blend:
    """How the sources are mixed (`blend.json`), chosen on validation readers.

    Attributes:
        tiers: tier -> source -> weight.
        history_share: tier -> how much of the reader's vector comes from the history's item vectors, 0 to 1.
        named: length of a history -> weight of the named tastes beside it, for histories up to that length; longer
            ones, and bundles that know none, leave named tastes out.
    """

    tiers: dict[str, dict[str, float]]
    history_share: dict[str, float]
    named: dict[int, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, blend: dict[str, Any]) -> Blend:
        """From the content of `blend.json`."""
        named = {int(length): weight for length, weight in blend.get("named", {}).items()}
        return cls(blend["tiers"], blend["history_share"], named)

    def to_json(self) -> dict[str, Any]:
        """The content of `blend.json`."""
        named = {str(length): weight for length, weight in self.named.items()}
        return {"tiers": self.tiers, "history_share": self.history_share, "named": named}

    def of_named(self, length: int) -> float:
        """Weight of named tastes beside a history of this many works, at least 1."""
        return next((self.named[most] for most in sorted(self.named) if length <= most), 0.0)


@dataclass(frozen=True)
class Scored:
    """Works as a reader's sources see them.

    Attributes:
        works: rising indices, int64 [n]: the whole catalogue, or those that may come first.
        total: blended score of each, float32 [n].
        added: what each source added to it, float32 [n].
        own: each source's scores on its own scale, float32 [n].
    """

    works: Ints
    total: Floats
    added: dict[str, Floats]
    own: dict[str, Floats]


@dataclass(frozen=True)
class Candidates:
    """The first of a blend, as the ranker sees them.

    Attributes:
        works: indices, the best of the blend first, int64 [n].
        rows: features, float32 [n, n_features]; in an `Order` those that the trees know.
    """

    works: Ints
    rows: Floats


@dataclass(frozen=True)
class Order:
    """How works are shown.

    Attributes:
        works: rising indices, int64 [n].
        total: scores in whose order they are, float32 [n]; -inf for what must not be shown.
        candidates: what the ranker has put in order; None where the blend's own order stays.
    """

    works: Ints
    total: Floats
    candidates: Candidates | None = None

    def first(self, n: int) -> list[int]:
        """The `n` first works, fewer where fewer may be shown."""
        found: list[int] = self.works[top(self.total, n)].tolist()
        return found


class Bundle:
    """All that is served, immutable after load; safe to share between threads.

    Attributes:
        work_ids: of work index i.
        former_ids: of work index i, ids of works that were merged into it.
        index_of: work id, also a former one -> work index.
        editions: edition id or ISBN-13 -> work id.
        users: user id -> index of the encoder's reader.
        item_vectors: float32 [n_works, dim], rows of length 1.
        sources: what speaks for a work of a reader with a history: the item-item models, `vectors`, `popularity`.
        ranker: what orders the blend's candidates, for readers with a history.
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
        self.blend = Blend.from_json(parts.blend)
        self.rules: dict[str, Any] = parts.rules
        self.features: dict[str, Any] = parts.features
        self._vocabulary, self._encoder = parts.vocabulary, parts.encoder
        self.item_item = parts.item_item
        self.facts = parts.facts
        self.sources = (*parts.item_item, VECTORS, POPULARITY)
        self.ranker: Ranker | None = parts.ranker
        self._columns = self._columns_of_ranker()
        self._popularity = parts.popularity
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
        """The same bundle with another blend, and no ranker, which knows the candidates of the old one."""
        other = copy.copy(self)
        other.blend, other.ranker = blend, None
        return other

    def with_order_of(self, bundle: Bundle) -> Bundle:
        """The same sources with the blend and the ranker of another bundle.

        Raises:
            BundleError: its trees were taught features that these sources do not make.
        """
        other = self.with_blend(bundle.blend)
        other.ranker = bundle.ranker
        other._columns = other._columns_of_ranker()
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

    def weights_of(self, state: ReaderState) -> dict[str, float]:
        """Source -> weight for this reader: those of the tier, and of named tastes beside a short history."""
        weights = self.blend.tiers[self.tier_of(state)]
        named = self.blend.of_named(len(state.history)) if state.history else 0.0
        return weights | {TASTES: named} if named and self._tastes.known(state.tastes) else weights

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
        """sum_h weights[h] * S[h, :] of the item filter, float32 [n_works]; an empty `weights` means 1 for all."""
        return self.item_item[ITEM_FILTER].scores(history, weights or [1.0] * len(history))

    def popularity_scores(self, state: ReaderState) -> Floats:
        """Popularity with the reader's age bin and country, 0 to 1, float32 [n_works]."""
        return self._popularity.scores(state.age_bin, state.country)

    def popular(self, state: ReaderState) -> list[int]:
        """The whole catalogue, the most popular for this reader's country and age first."""
        order: list[int] = np.argsort(-self.popularity_scores(state), kind="stable").tolist()
        return order

    def pool(self, state: ReaderState, nearest: Nearest | None, n: int, shown: Shown = None) -> Ints | None:
        """Works that hold the `n` best of the blend, rising; None where the whole catalogue must be looked at.

        These are the works that an item-item model, a taste or the vector index finds, and the most popular. Any other
        is worth no more than its popularity, so it stands behind `n` of these, whatever the size of the catalogue.

        Args:
            state: what is known of the reader.
            nearest: what a vector index found.
            n: works that are wanted, those counted that will be hidden.
            shown: marks the works that may be shown, [n_works]; None for all.
        """
        weights = self.weights_of(state)
        if nearest is None and weights.get(VECTORS):
            return None
        marked = Marked(len(self))
        marked.add(self._popularity.first(state.age_bin, state.country, n + BY_OTHERS, shown))
        for model in self._asked(state, self._wanted(state)).values():
            model.mark(state.history, marked)
        if weights.get(TASTES):
            for works in self._tastes.works(self._tastes.known(state.tastes)):
                marked.add(works)
        if nearest is not None:
            marked.add(nearest.indices)
        return marked.rising

    def score(
        self, state: ReaderState, nearest: Nearest | None = None, every: bool = False, works: Ints | None = None
    ) -> Scored:
        """Every source that the tier's blend or the ranker asks, and their weighted sum; see `scaled`.

        A source that knows nothing is left out.

        Args:
            state: what is known of the reader.
            nearest: what a vector index found; cosines are then taken of these works and of the best by the other
                sources, the rest counts as average. None takes them of every work.
            every: ask also the sources that have no weight.
            works: of `pool`; None for the whole catalogue.

        Raises:
            ContractError: every source of a pool.
        """
        weights = self.weights_of(state)
        if every and works is not None:
            raise ContractError("Every source is asked of the whole catalogue: a pool has the works of some alone")
        wanted = self._wanted(state) | set(self.sources if every else ())
        own = self._own_scores(state, wanted, works)
        pool = np.arange(len(self)) if works is None else works
        total = np.zeros(pool.size, dtype=np.float32)
        added: dict[str, Floats] = {}
        for name in own:
            _add(name, own, weights, total, added)
        if VECTORS in wanted:
            vector = self.encode_reader(state) if nearest is None else nearest.vector
            own[VECTORS] = self._cosines(vector, nearest, pool, total)
            _add(VECTORS, own, weights, total, added)
        return Scored(pool, total, added, own)

    def _wanted(self, state: ReaderState) -> set[str]:
        """Sources with a weight in the reader's tier, and all that the ranker asks."""
        wanted = {name for name, weight in self.weights_of(state).items() if weight}
        return wanted | set(self.sources if self._ranker_of(state) else ())

    def _asked(self, state: ReaderState, wanted: set[str]) -> dict[str, ItemItem]:
        """The item-item models that have something to say."""
        return {name: model for name, model in self.item_item.items() if state.history and name in wanted}

    def _own_scores(self, state: ReaderState, wanted: set[str], works: Ints | None) -> dict[str, Floats]:
        """What each source but `vectors` says of these works."""
        history, weights = self._checked_history(state)
        places = None if works is None else (self._places(works), works.size)
        asked = self._asked(state, wanted)
        own = {name: model.scores(history, weights, places) for name, model in asked.items()}
        if TASTES in wanted and (known := self._tastes.known(state.tastes)):
            own[TASTES] = self._tastes.scores(known, works)
        if POPULARITY in wanted:
            own[POPULARITY] = self._popularity.scores(state.age_bin, state.country, works)
        return own

    def _places(self, works: Ints) -> npt.NDArray[np.int32]:
        """Of each work its place among these; of the others anything, so that they need not be written."""
        place = np.empty(len(self), dtype=np.int32)
        place[works] = np.arange(works.size, dtype=np.int32)
        return place

    def _cosines(self, vector: Floats, nearest: Nearest | None, works: Ints, others: Floats) -> Floats:
        """Cosines of these works less the mean of all.

        With a vector index of what it found and of the best by the sum of the other sources; of the rest 0.
        """
        mean = self._mean_vector @ vector
        if nearest is None:
            return np.asarray(
                (self.item_vectors if works.size == len(self) else self.item_vectors[works]) @ vector - mean
            )
        marked = np.zeros(works.size, dtype=bool)
        marked[np.searchsorted(works, nearest.indices)] = True
        marked[top(others, BY_OTHERS)] = True
        rows = np.flatnonzero(marked)
        centred = np.zeros(works.size, dtype=np.float32)
        centred[rows] = self.item_vectors[works[rows]] @ vector - mean
        return centred

    def _ranker_of(self, state: ReaderState) -> Ranker | None:
        """What orders this reader's candidates.

        Trees were taught by readers who name nothing: where more tastes are named than works are known, the blend's
        own order stays.
        """
        few = TASTES in self.weights_of(state) and len(state.history) < len(self._tastes.known(state.tastes))
        return self.ranker if state.history and not few else None

    def ranked(self, state: ReaderState, scored: Scored, hidden: Iterable[int] = ()) -> Order:
        """The order in which works are shown, without the history and `hidden`.

        The blend's candidates come first, in the order of the ranker; without one the blend's own scores stay.
        """
        total, ranker = without(scored, {*state.history, *hidden}), self._ranker_of(state)
        if ranker is None:
            return Order(scored.works, total)
        found, trees = self._featured(state, scored, total, ranker.candidates), ranker.trees
        found = Candidates(found.works, found.rows[:, self._columns])
        if found.works.size:
            values = trees.scores(found.rows) + np.float32(trees.new_bonus) * self._is_new(found.works)
            at = np.searchsorted(scored.works, found.works)
            total[at] = total[at[0]] + 1.0 + values - values.min()
        return Order(scored.works, total, found)

    def explained(self, order: Order, works: list[int]) -> list[Explained | None]:
        """What the ranker says of each of these works; None of those that it did not put in order."""
        if self.ranker is None or order.candidates is None:
            return [None] * len(works)
        place = {work: row for row, work in enumerate(order.candidates.works.tolist())}
        known = [work for work in works if work in place]
        rows = order.candidates.rows[[place[work] for work in known]]
        told = dict(zip(known, self.ranker.trees.explained(rows, self._is_new(known)), strict=True))
        return [told.get(work) for work in works]

    def _is_new(self, works: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        return np.asarray(self.facts.readers[np.asarray(works, dtype=np.int64)] == 0)

    def candidates(self, state: ReaderState, n: int, hidden: Iterable[int] = ()) -> Candidates:
        """The best `n` works of the blend without the history, with their features; see `ranker_features`.

        Args:
            state: a reader with a history.
            n: at least 1.
            hidden: further works that are no candidates.
        """
        scored = self.score(state, every=True)
        return self._featured(state, scored, without(scored, {*state.history, *hidden}), n)

    def _featured(self, state: ReaderState, scored: Scored, total: Floats, n: int) -> Candidates:
        at = top(total, n)
        works = scored.works[at]
        says = {name: scored.own[name][at] for name in self.sources}
        read = np.asarray(state.history, dtype=np.int64)
        near = {
            VECTORS: (self.item_vectors[works] @ self.item_vectors[read].T).max(axis=1, initial=-1.0),
            ITEM_FILTER: largest(self.item_item[ITEM_FILTER].matrix, read, works),
        }
        rows = features(
            {name: values[None] for name, values in says.items()},
            total[at][None],
            {name: values[None] for name, values in near.items()},
            self.facts,
            Histories(np.array([0, read.size]), read),
            works[None],
            about(state),
        )
        return Candidates(works, rows[0])

    @property
    def feature_names(self) -> list[str]:
        """Of the features of a candidate."""
        return names_of(self.sources, (VECTORS, ITEM_FILTER), self.facts, ABOUT)

    def _columns_of_ranker(self) -> list[int]:
        """Places of the features that the trees know; they may have been taught fewer than are known now."""
        place = {name: column for column, name in enumerate(self.feature_names)}
        names = self.ranker.trees.names if self.ranker else []
        if unknown := [name for name in names if name not in place]:
            raise BundleError(
                "The ranker was taught other features",
                received=", ".join(unknown),
                allowed=", ".join(place),
                todo="train the bundle anew.",
            )
        return [place[name] for name in names]

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
        self._check_indices(np.fromiter(exclude, dtype=np.int64))
        scored = self.score(state)
        order = self.ranked(state, scored, exclude)
        total, ranked = order.total, order.first(n * SHORTLIST)
        chosen = self._spread_authors(ranked, n) if self.rules.get("max_per_author") else ranked[:n]
        sources = [{name: float(part[i]) for name, part in scored.added.items()} for i in chosen]
        return Recommendation(chosen, [float(total[i]) for i in chosen], sources, self.tier_of(state))

    def author_of(self, index: int) -> str | None:
        """The id of a work's author, if it has one."""
        return self._author_of[index] if self._author_of else None

    def similar(self, index: int, n: int) -> list[tuple[int, float]]:
        """The `n` works most like work `index`: mean of the cosine and the item filter's scaled score."""
        self._check_indices(np.array([index]))
        scores = self.item_vectors @ self.item_vectors[index] + _to_max(self.item_filter_scores([index], [1.0]))
        scores[index] = -np.inf
        return [(i, float(scores[i]) / 2) for i in top(scores, n).tolist()]

    def _spread_authors(self, ranked: list[int], n: int) -> list[int]:
        limit, count = int(self.rules["max_per_author"]), dict[str, int]()
        kept, late = list[int](), list[int]()
        for i in ranked:
            author = self.author_of(i)
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


def scaled(source: str, scores: Floats) -> Floats:
    """A source's scores as they are summed.

    `popularity` and `tastes` are 0 to 1 by construction. The others are divided by their maximum; `vectors` are
    cosines less their mean.
    """
    return scores if source in AS_THEY_ARE else _to_max(scores)


def _add(name: str, own: dict[str, Floats], weights: dict[str, float], total: Floats, added: dict[str, Floats]) -> None:
    """One source into the sum, by its weight."""
    if weights.get(name):
        added[name] = np.float32(weights[name]) * scaled(name, own[name])
        total += added[name]


def without(scored: Scored, hidden: set[int]) -> Floats:
    """A copy of the blended scores with -inf for some works."""
    shown, works = scored.total.copy(), np.fromiter(hidden, dtype=np.int64, count=len(hidden))
    if shown.size:
        at = np.minimum(np.searchsorted(scored.works, works), shown.size - 1)
        shown[at[scored.works[at] == works]] = -np.inf
    return shown


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > 0 else vector


def _to_max(scores: Floats) -> Floats:
    high = float(scores.max(initial=0.0))
    return scores / np.float32(high) if high > 0 else scores
