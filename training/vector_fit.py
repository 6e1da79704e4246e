"""How a model that gives readers and works vectors is trained: sampled softmax, validated by ranking everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from training.dataset import Dataset
from training.histories import Bags, Histories
from training.loop import LoopParams, fit_model
from training.losses import log_inclusion, sampled_softmax
from training.params import Options
from training.recommenders.base import Recommender
from training.rows import Validation, frequency


def silent(epoch: int, value: float) -> None:
    """Report nothing."""


class VectorParams(LoopParams):
    """Parameters that every such model has."""

    dim: int = Field(64, ge=2, description="Size of the vectors.")
    temperature: float = Field(0.1, gt=0)
    target_share: float = Field(0.3, gt=0, le=1, description="Share of a reader's rows that are targets in a batch.")
    uniform_negatives: int = Field(2000, ge=0, description="Candidates from the whole catalogue, beside the targets.")
    popularity_power: float = Field(0.0, ge=0, le=1, description="How strongly rows of popular works are damped.")
    half_life: float = Field(0.0, ge=0, description="Newer rows of a reader that halve a row's weight; 0: no time.")
    relevant_weight: float = Field(0.4, ge=0)
    valid_readers: int = Field(1000, ge=1, description="Readers looked at after each epoch.")


class VectorModel(Protocol):
    """What is trained here."""

    def __call__(self, readers: Tensor, known: Bags, works: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of readers [batch, dim], who have read `known`, and of works [n_works, dim]."""


class SampledSoftmax(nn.Module):
    """Called with numbers of readers, gives the loss of finding works that they read among the candidates.

    Candidates are the targets of all readers of the batch and works drawn from the whole catalogue.
    """

    def __init__(self, model: nn.Module, data: Dataset, params: VectorParams) -> None:
        super().__init__()
        self.model, self.params, self.n_works = model, params, data.n_works
        self.histories = Histories(data, params.popularity_power, params.half_life)
        self.frequency = frequency(data)

    def forward(self, numbers: Tensor) -> Tensor:
        """The loss of the readers with these numbers among those that have rows, a scalar."""
        params, readers = self.params, self.histories.readers[numbers]
        draw = self.histories.draw(readers, params.target_share)
        drawn = torch.randint(self.n_works, (params.uniform_negatives,))
        candidates = torch.unique(torch.cat([draw.targets, drawn]))
        reader_vectors, work_vectors = self.model(readers, draw.known, candidates)
        logits = reader_vectors @ work_vectors.T / params.temperature
        log_q = log_inclusion(self.frequency[candidates], len(draw.targets), len(drawn), self.n_works)
        column = torch.searchsorted(candidates, draw.targets)
        return sampled_softmax(logits, log_q, draw.owner, column, draw.weights)


def fit_vectors(
    model: nn.Module,
    recommend: Callable[[], Recommender],
    data: Dataset,
    params: VectorParams,
    options: Options,
    report: Callable[[int, float], None],
) -> list[dict[str, float]]:
    """Train `model`, a `VectorModel`, in place on the training rows; returns the history.

    It stops early on the validation rows, if there are any.

    Args:
        model: gives the vectors of readers and works.
        recommend: the model as it is now, as a recommender.
        data: the split.
        params: length, size and loss.
        options: seed of all that is drawn.
        report: called with epoch and validation value; may raise to stop a trial.
    """
    task = SampledSoftmax(model, data, params)
    validation = Validation(data, params.relevant_weight, params.valid_readers, options.seed)

    def validate() -> float:
        return validation.ndcg(recommend())

    budget_s = params.budget_s(task.histories.n_rows)
    n_readers = len(task.histories.readers)
    return fit_model(task, n_readers, validate if len(validation) else None, params, budget_s, options.seed, report)
