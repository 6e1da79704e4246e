"""The one epoch loop of all torch models: batches, early stopping on validation, a budget of seconds."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from training.params import Options, Params


class LoopParams(Params):
    """Parameters that every torch model has."""

    epochs: int = Field(20, ge=1)
    patience: int = Field(3, ge=1, description="Epochs without a better validation value before it stops.")
    max_seconds: float = Field(60.0, gt=0, description="No new epoch begins after this …")
    seconds_per_100k_rows: float = Field(0.0, ge=0, description="… and this much more for each 100,000 training rows.")
    batch_size: int = Field(1024, ge=2)
    learning_rate: float = Field(0.005, gt=0)
    weight_decay: float = Field(0.0, ge=0)

    def budget_s(self, n_rows: int) -> float:
        """Seconds after which no new epoch begins, for this many training rows."""
        return self.max_seconds + self.seconds_per_100k_rows * n_rows / 100_000


@dataclass(frozen=True)
class Epoch:
    """One line of the history."""

    epoch: int
    loss: float
    valid_ndcg_at_20: float
    seconds: float


@dataclass(frozen=True)
class Rows:
    """Training rows: reader and work row numbers, and the weight of each; [n_rows]."""

    readers: Tensor
    works: Tensor
    weights: Tensor


def prepare(options: Options) -> None:
    """Seed torch and set its threads."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)


def fit_model(
    model: nn.Module,
    rows: Rows,
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    validate: Callable[[], float],
    params: LoopParams,
    seed: int,
    report: Callable[[int, float], None] = lambda epoch, value: None,
) -> list[dict[str, float]]:
    """Train `model` in place, leave it with its best weights, and return the history.

    Args:
        model: its parameters are optimised with Adam.
        rows: what to learn from; shuffled each epoch.
        loss_of: (readers, works, weights) of a batch to a scalar.
        validate: value to maximise, called after each epoch.
        params: length and size.
        seed: of the shuffling.
        report: called with epoch and value; may raise to stop a trial.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
    shuffle = torch.Generator().manual_seed(seed)
    budget_s = params.budget_s(len(rows.readers))
    started, history = time.monotonic(), list[Epoch]()
    best, best_epoch, best_state = -np.inf, 0, copy.deepcopy(model.state_dict())
    for epoch in range(1, params.epochs + 1):
        loss = _one_epoch(model, rows, loss_of, optimizer, params.batch_size, shuffle)
        value = validate()
        history.append(Epoch(epoch, loss, value, time.monotonic() - started))
        report(epoch, value)
        if value > best:
            best, best_epoch, best_state = value, epoch, copy.deepcopy(model.state_dict())
        if epoch - best_epoch >= params.patience or history[-1].seconds >= budget_s:
            break
    model.load_state_dict(best_state)
    return [asdict(line) for line in history]


def _one_epoch(
    model: nn.Module,
    rows: Rows,
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    shuffle: torch.Generator,
) -> float:
    model.train()
    losses = []
    for batch in torch.randperm(len(rows.readers), generator=shuffle).split(batch_size):
        optimizer.zero_grad()
        loss = loss_of(rows.readers[batch], rows.works[batch], rows.weights[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return float(np.mean(losses))
