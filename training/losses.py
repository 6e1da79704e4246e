"""Losses, torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sampled_softmax(logits: Tensor, log_q: Tensor, owner: Tensor, column: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the softmax loss of all targets among the candidates of the batch.

    Each logit is less log q of its work, since a popular work is among the candidates more often (Yi et al.:
    "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019, section 4). A reader
    with several targets has one softmax for all (Liang et al.: "Variational Autoencoders for Collaborative Filtering",
    WWW 2018).

    Args:
        logits: scores of each reader and candidate, before the correction [batch, n_candidates].
        log_q: log of the chance that a candidate is among the candidates [n_candidates].
        owner: row of each target's reader [n_targets].
        column: each target's place among the candidates [n_targets].
        weights: weight of each target [n_targets].
    """
    losses = -F.log_softmax(logits - log_q, dim=1)[owner, column]
    return (losses * weights).sum() / weights.sum()


def log_inclusion(frequency: Tensor, n_targets: int, n_uniform: int, n_works: int) -> Tensor:
    """Log of the chance that a work is a candidate, as one of the targets or as one drawn from the whole catalogue.

    1 - (1 - f)^n_targets (1 - 1/n_works)^n_uniform (mixed negative sampling, Yang et al.: "Mixed Negative Sampling for
    Learning Two-tower Neural Networks in Recommendations", WWW 2020 companion).

    Args:
        frequency: share of each work in the training rows, float64 [n].
        n_targets: targets in the batch.
        n_uniform: draws from the catalogue.
        n_works: works in the catalogue.
    """
    never = torch.tensor(1 / n_works, dtype=torch.float64).clamp(max=0.999).neg().log1p() * n_uniform
    missed = n_targets * torch.log1p(-frequency.clamp(max=0.999)) + never
    return torch.log(-torch.expm1(missed)).float()
