"""Metrics of ranked lists: one row a reader, one column a rank; -1 pads a short list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ranked = npt.NDArray[np.int64]
Hits = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]
PAD = -1


def pad(lists: Sequence[Sequence[int]], k: int) -> Ranked:
    """Lists of any length as int64 [n_readers, k]."""
    ranked = np.full((len(lists), k), PAD, dtype=np.int64)
    for row, items in enumerate(lists):
        ranked[row, : min(k, len(items))] = items[:k]
    return ranked


def find_hits(ranked: Ranked, relevant: Sequence[Sequence[int]], n_works: int) -> Hits:
    """Which of the ranked works are relevant to the row's reader, bool [n_readers, k]."""
    owner = np.repeat(np.arange(len(relevant)), [len(items) for items in relevant])
    works = np.array([work for items in relevant for work in items], dtype=np.int64)
    keys = np.arange(ranked.shape[0])[:, None] * n_works + ranked
    hits: Hits = np.isin(keys, owner * n_works + works) & (ranked != PAD)
    return hits


def recall_at(hits: Hits, n_relevant: npt.NDArray[np.int64], k: int) -> Values:
    """Found among the first `k`, as a share of all relevant works; [n_readers]."""
    recall: Values = hits[:, :k].sum(axis=1) / np.maximum(n_relevant, 1)
    return recall


def ndcg_at(hits: Hits, n_relevant: npt.NDArray[np.int64], k: int) -> Values:
    """DCG with binary gain over the ideal DCG of min(n_relevant, k) works; [n_readers].

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002.
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    shown = hits[:, :k]
    gained = shown @ discount[: shown.shape[1]]
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(n_relevant, k)]
    ndcg: Values = np.divide(gained, ideal, out=np.zeros_like(gained), where=ideal > 0)
    return ndcg


def coverage(ranked: Ranked, n_works: int) -> float:
    """Share of the catalogue that at least one reader is shown."""
    return float(np.unique(ranked[ranked != PAD]).size / n_works) if n_works else 0.0


def novelty(ranked: Ranked, readers_of_work: npt.NDArray[np.int64], n_readers: int) -> Values:
    """Mean self-information of each reader's list, bits: -log2((readers of the work + 1) / (readers + 1)).

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma", PNAS 2010; plus one for unread works.
    """
    information = -np.log2((readers_of_work + 1) / (n_readers + 1))
    shown = ranked != PAD
    total = np.where(shown, information[np.where(shown, ranked, 0)], 0.0).sum(axis=1)
    mean: Values = total / np.maximum(shown.sum(axis=1), 1)
    return mean


def gini(ranked: Ranked, n_works: int) -> float:
    """How unevenly works are shown: 0 where each is shown equally often, near 1 where one work is shown alone.

    Source: the Gini index of the recommendation distribution, Fleder and Hosanagar, Management Science 55(5), 2009.
    """
    shown = np.sort(np.bincount(ranked[ranked != PAD], minlength=n_works)).astype(np.float64)
    if not shown.sum():
        return 0.0
    place = np.arange(1, n_works + 1)
    return float(((2 * place - n_works - 1) * shown).sum() / (n_works * shown.sum()))


def distinct(ranked: Ranked, group: npt.NDArray[np.int64]) -> Values:
    """How many different values of `group` ([n_works]) each list holds; [n_readers]."""
    values = np.sort(np.where(ranked == PAD, -1, group[np.maximum(ranked, 0)]), axis=1)
    new = (np.diff(values, axis=1, prepend=-1) != 0) & (values != -1)
    counts: Values = new.sum(axis=1).astype(np.float64)
    return counts
