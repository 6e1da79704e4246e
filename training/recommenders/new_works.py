"""Works that nobody has read yet: how far they are put forward, and what that costs the others.

A source of behaviour knows nothing of a new work, so a sum of sources ranks it below works that are liked no better.
How far it is put forward is a choice: on held-out rows it goes as far as a given loss for the other works allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bookworks.metrics.ranking import Ranked, Values, find_hits, recall_at

K = 20
SHARE = 0.1  # of the catalogue that is new, for which the cost is meant
LEAST = 10  # new works; of fewer nothing can be told


def allowed(cost: float, new: npt.NDArray[np.bool_]) -> float:
    """The loss that is allowed: the cost for each tenth of the works that is new.

    Where hardly any is new it is below 0, which no step keeps to: what is put forward must have been tried.

    Args:
        cost: of recall@20, 0 to 1.
        new: of the works that may be ranked, those without readers, [n].
    """
    return cost * float(new.mean()) / SHARE if new.sum() >= LEAST else -1.0


def as_far_as(cost: float, steps: Sequence[float], others: Callable[[float], Values], before: Values) -> float:
    """The last of the rising `steps` before works with readers may lose more than `cost`; the first, if the next does.

    Few readers tell of a loss so small: one standard error over them is added to it.

    Args:
        cost: the loss of recall@20 that is allowed; below 0 nothing is tried.
        steps: rising; the first is no help at all.
        others: step -> recall@20 of works with readers, of each reader, [n].
        before: the same where no new work is shown.
    """
    if cost < 0 or not before.size:
        return steps[0]
    found = steps[0]
    for step in steps[1:]:
        loss = before - others(step)
        if loss.mean() + loss.std() / np.sqrt(loss.size) > cost:
            break
        found = step
    return found


def recall_of_others(ranked: Ranked, relevant: Sequence[Sequence[int]], new: npt.NDArray[np.bool_]) -> Values:
    """Recall@20 of works with readers, of each reader who wants one.

    Args:
        ranked: lists of at least 20, [n_readers, n].
        relevant: wanted works of each reader.
        new: works without readers, [n_works].
    """
    hits = find_hits(ranked, relevant, new.size) & ~new[np.maximum(ranked, 0)]
    wanted = others_of(relevant, new)
    return recall_at(hits, wanted, K)[wanted > 0]


def others_of(relevant: Sequence[Sequence[int]], new: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Of each reader's wanted works, how many are no new ones, [n]."""
    return np.array([int((~new[np.asarray(works, dtype=np.int64)]).sum()) for works in relevant], dtype=np.int64)
