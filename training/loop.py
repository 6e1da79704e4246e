"""The one epoch loop of all torch models: batches, early stopping on validation, a budget of seconds."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from pydantic import Field
from torch import nn

from training import distributed
from training.params import Options, Params

SMALL_BATCH = 32


class LoopParams(Params):
    """Parameters that every torch model has."""

    epochs: int = Field(20, ge=1)
    patience: int = Field(3, ge=1, description="Epochs without a better validation value before it stops.")
    max_seconds: float = Field(600.0, gt=0, description="No new epoch begins after this …")
    seconds_per_100k_rows: float = Field(0.0, ge=0, description="… and this much more for each 100,000 training rows.")
    batch_size: int = Field(512, ge=2, description="Rows of a batch, at most.")
    min_batches: int = Field(16, ge=1, description="Batches of an epoch, at least, where that leaves each 32 rows.")
    learning_rate: float = Field(0.005, gt=0)
    weight_decay: float = Field(0.0, ge=0)

    def budget_s(self, n_rows: int) -> float:
        """Seconds after which no new epoch begins, for this many training rows."""
        return self.max_seconds + self.seconds_per_100k_rows * n_rows / 100_000

    def batch_of(self, n_rows: int) -> int:
        """Rows of a batch, of this many: few rows make small batches, so that an epoch takes enough steps."""
        return min(self.batch_size, max(n_rows // self.min_batches, SMALL_BATCH))


@dataclass(frozen=True)
class Epoch:
    """One line of the history; `valid_ndcg_at_20` is missing where there is nothing to validate on."""

    epoch: int
    loss: float
    valid_ndcg_at_20: float | None
    seconds: float

    def line(self) -> dict[str, float]:
        """As the stage's metrics have it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def prepare(options: Options) -> None:
    """Seed torch and set its threads."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)


def fit_model(
    task: nn.Module,
    n_rows: int,
    validate: Callable[[], float] | None,
    params: LoopParams,
    budget_s: float,
    seed: int,
    report: Callable[[int, float], None] = lambda epoch, value: None,
) -> list[dict[str, float]]:
    """Train `task` in place and return the history.

    With `validate` it is left with its best weights, without it with its last. Under torchrun (`training.distributed`)
    every rank ends with the same weights.

    Args:
        task: called with row numbers, int64 [batch], it gives their loss; its parameters are optimised with Adam.
        n_rows: rows to learn from; shuffled each epoch.
        validate: value to maximise, called after each epoch; None where there is nothing to validate on.
        params: length and size.
        budget_s: seconds after which no new epoch begins.
        seed: of the shuffling and of what the task draws.
        report: called with epoch and value; may raise to stop a trial.
    """
    optimizer = torch.optim.Adam(task.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
    trained = distributed.together(task)
    torch.manual_seed(seed + distributed.rank())
    shuffle = torch.Generator().manual_seed(seed)
    started, history = time.monotonic(), list[Epoch]()
    best, best_epoch, best_state = -np.inf, 0, None
    for epoch in range(1, params.epochs + 1):
        loss = _one_epoch(trained, n_rows, optimizer, params.batch_of(n_rows), shuffle)
        history.append(_looked_at(epoch, loss, validate, started))
        value = history[-1].valid_ndcg_at_20
        if value is not None:
            report(epoch, value)
            if value > best:
                best, best_epoch, best_state = value, epoch, copy.deepcopy(task.state_dict())
        if (value is not None and epoch - best_epoch >= params.patience) or history[-1].seconds >= budget_s:
            break
    if best_state is not None:
        task.load_state_dict(best_state)
    return [line.line() for line in history]


def _one_epoch(
    trained: nn.Module, n_rows: int, optimizer: torch.optim.Optimizer, batch_size: int, shuffle: torch.Generator
) -> float:
    trained.train()
    losses = []
    for batch in torch.randperm(n_rows, generator=shuffle).split(batch_size):
        optimizer.zero_grad()
        loss = trained(distributed.share(batch))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    trained.eval()
    return float(np.mean(losses))


def _looked_at(epoch: int, loss: float, validate: Callable[[], float] | None, started: float) -> Epoch:
    """The epoch's line, the same on all ranks: rank 0 validates and looks at the clock."""
    value = validate() if validate and distributed.rank() == 0 else 0.0
    value, loss, seconds = distributed.said_by_first([value, loss, time.monotonic() - started])
    return Epoch(epoch, loss, value if validate else None, seconds)
