"""What each reader read in training, as tensors, and how a batch of it is parted into known and to be found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.dataset import TRAIN, Dataset


class Bags(NamedTuple):
    """Histories of a batch of readers, one after the other.

    Attributes:
        works: work of each entry, int64 [n_entries].
        weights: liking of each entry, divided by the root of its reader's sum [n_entries].
        starts: the first entry of each reader, int64 [batch].
    """

    works: Tensor
    weights: Tensor
    starts: Tensor


class Draw(NamedTuple):
    """A batch of readers: what is known of each, and works that are to be found.

    Attributes:
        known: the readers' histories without the targets.
        owner: row in the batch of each target, int64 [n_targets].
        targets: work of each target, int64 [n_targets].
        weights: how much each target counts [n_targets].
    """

    known: Bags
    owner: Tensor
    targets: Tensor
    weights: Tensor


class Histories:
    """The training rows, reader by reader, oldest first.

    A target's weight is its liking, times its work's popularity to the power of `-popularity_power`, halved for each
    `half_life` rows of the reader that are newer (0: never).
    """

    def __init__(self, data: Dataset, popularity_power: float, half_life: float) -> None:
        rows = data.rows(TRAIN)
        reader = rows["reader"].to_numpy()
        order = np.argsort(reader, kind="stable")
        works, likings = (rows[name].to_numpy()[order] for name in ("work", "weight"))
        counts = np.bincount(reader, minlength=data.n_trained)
        newer = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(order))
        popularity = np.bincount(works, minlength=data.n_works)[works].astype(np.float64)
        weights = likings * popularity**-popularity_power * (0.5 ** (newer / half_life) if half_life else 1.0)
        self.readers = torch.from_numpy(np.flatnonzero(counts))
        self._counts = torch.from_numpy(counts)
        self._starts = self._counts.cumsum(0) - self._counts
        self._works = torch.from_numpy(works.astype(np.int64))
        self._likings = torch.from_numpy(likings.astype(np.float32))
        self._weights = torch.from_numpy(weights.astype(np.float32))

    @property
    def n_rows(self) -> int:
        """Training rows of all readers."""
        return len(self._works)

    def draw(self, readers: Tensor, target_share: float) -> Draw:
        """A share of each reader's rows as targets, drawn anew each time, one at least; the others are what is known.

        So the history that a target is looked for with never holds the target itself.
        """
        counts = self._counts[readers]
        owner = torch.repeat_interleave(torch.arange(len(readers)), counts)
        place = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
        rows = self._starts[readers][owner] + place
        rows = rows[torch.argsort(owner + torch.rand(len(owner), dtype=torch.float64))]
        wanted = (counts * target_share).round().long().minimum(counts - 1).clamp(min=1)
        target = place < wanted[owner]
        found = rows[target]
        return Draw(
            bags(self._works[rows[~target]], self._likings[rows[~target]], owner[~target], len(readers)),
            owner[target],
            self._works[found],
            self._weights[found] * wanted[owner[target]] ** -0.5,
        )


def bags(works: Tensor, likings: Tensor, owner: Tensor, n: int) -> Bags:
    """Entries that are ordered by reader as the bags of `n` readers."""
    totals = torch.zeros(n).index_add_(0, owner, likings).clamp(min=1e-12)
    counts = torch.bincount(owner, minlength=n)
    return Bags(works, likings * totals[owner] ** -0.5, counts.cumsum(0) - counts)
