"""How a model that gives readers and works vectors is trained: sampled softmax, validated by ranking everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from training.dataset import Dataset
from training.histories import Bags, Draw, Histories
from training.loop import LoopParams, fit_model
from training.losses import log_inclusion, sampled_softmax
from training.params import Options
from training.recommenders.base import Recommender
from training.rows import Validation, frequency

UNLIKELY = -1e9  # as a logit


def silent(epoch: int, value: float) -> None:
    """Report nothing."""


class VectorParams(LoopParams):
    """Parameters that every such model has."""

    dim: int = Field(64, ge=2, description="Size of the vectors.")
    temperature: float = Field(0.1, gt=0)
    target_share: float = Field(0.3, gt=0, le=1, description="Share of a reader's rows that are targets in a batch.")
    uniform_negatives: int = Field(2000, ge=0, description="Candidates from the whole catalogue, beside the targets.")
    hard_negatives: int = Field(0, ge=0, description="… and further ones that a reader of the batch likes best.")
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

    Candidates are the targets of all readers of the batch, works drawn from the whole catalogue and, if asked for, hard
    negatives: of further works drawn from it, those that score highest for any reader of the batch as the model is now
    (Xiong et al.: "Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval", ICLR 2021).
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
        hard = self._hard(readers, draw)
        candidates = torch.unique(torch.cat([draw.targets, drawn, hard]))
        reader_vectors, work_vectors = self.model(readers, draw.known, candidates)
        logits = reader_vectors @ work_vectors.T / params.temperature
        if params.hard_negatives:  # what a reader has read is liked, and no negative
            logits = logits.masked_fill(among(draw.known, candidates), UNLIKELY)
        log_q = log_inclusion(self.frequency[candidates], len(draw.targets), len(drawn) + len(hard), self.n_works)
        column = torch.searchsorted(candidates, draw.targets)
        return sampled_softmax(logits, log_q, draw.owner, column, draw.weights)

    @torch.no_grad()
    def _hard(self, readers: Tensor, draw: Draw) -> Tensor:
        """The hard negatives of a batch, at most `hard_negatives`, none of them a target, int64."""
        if not self.params.hard_negatives:
            return torch.zeros(0, dtype=torch.int64)
        pool = torch.randint(self.n_works, (self.params.uniform_negatives + self.params.hard_negatives,)).unique()
        pool = pool[~torch.isin(pool, draw.targets)]
        reader_vectors, work_vectors = self.model(readers, draw.known, pool)
        likings = (reader_vectors @ work_vectors.T).masked_fill(among(draw.known, pool), UNLIKELY)
        return pool[likings.amax(dim=0).topk(min(self.params.hard_negatives, len(pool))).indices]


def among(known: Bags, works: Tensor) -> Tensor:
    """Which of these works each reader has read, bool [batch, n_works].

    Args:
        known: histories.
        works: rising indices, each once.
    """
    counts = torch.diff(known.starts, append=torch.tensor([len(known.works)]))
    owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
    place = torch.searchsorted(works, known.works).clamp(max=len(works) - 1)
    found = works[place] == known.works
    read = torch.zeros((len(counts), len(works)), dtype=torch.bool)
    read[owner[found], place[found]] = True
    return read


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
