"""Losses, torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def in_batch_softmax(
    readers: Tensor, works: Tensor, work_index: Tensor, log_q: Tensor, weights: Tensor, temperature: float
) -> Tensor:
    """Weighted mean of the sampled softmax loss, the other works of the batch being the negatives.

    Each logit is less log q of its work, since a popular work is drawn as a negative more often (Yi et al.:
    "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019, section 4).
    A negative that is the same work as the positive is masked.

    Args:
        readers: unit vectors [batch, dim].
        works: unit vectors of the positives [batch, dim].
        work_index: work of each row [batch].
        log_q: log of each work's share of the training rows [n_works].
        weights: weight of each row [batch].
        temperature: divides the cosines.
    """
    logits = readers @ works.T / temperature - log_q[work_index]
    same = work_index[:, None] == work_index[None, :]
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, -torch.inf)
    target = torch.arange(len(readers))
    losses = F.cross_entropy(logits, target, reduction="none")
    return (losses * weights).sum() / weights.sum()
