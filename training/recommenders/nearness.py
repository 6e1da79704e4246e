"""How near works are to a history in the eyes of some sources, as the ranker takes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bookworks.metrics.ranking import PAD
from training.kernels import largest
from training.recommenders.als import AlsRecommender
from training.recommenders.base import Floats, Recommender
from training.recommenders.item_item import ItemItemRecommender

ITEM_ITEM = frozenset({"co_occurrence", "title_text"})
Near = Floats | sparse.csr_matrix


def near_of(members: Mapping[str, Recommender]) -> dict[str, Near]:
    """Unit vectors [n_works, dim] or likeness [n_works, n_works] of the sources that have one."""
    found: dict[str, Near] = {}
    for name, member in members.items():
        if isinstance(member, AlsRecommender) and "als" not in found:
            found["als"] = member.directions
        if isinstance(member, ItemItemRecommender) and name in ITEM_ITEM:
            found[name] = member.matrix
    return found


def nearest_to(histories: sparse.csr_matrix, near: Near, works: npt.NDArray[np.int64]) -> Floats:
    """The largest likeness of each candidate to a work of the history, float32 [n_readers, n_candidates].

    Args:
        histories: [n_readers, n_works].
        near: of `near_of`.
        works: candidates, each once a reader, padded with -1, [n_readers, n_candidates].
    """
    if not isinstance(near, np.ndarray):
        return largest(histories, near, works)
    found = np.zeros(works.shape, dtype=np.float32)
    for row, (start, end) in enumerate(zip(histories.indptr[:-1], histories.indptr[1:], strict=True)):
        read, n = histories.indices[start:end], int(np.count_nonzero(works[row] != PAD))
        if read.size:
            found[row, :n] = (near[works[row, :n]] @ near[read].T).max(axis=1)
    return found
