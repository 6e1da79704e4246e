"""Training in several processes: `torchrun --nproc-per-node 2 -m training.train_two_tower`, on one machine or many.

Each process ("rank") has the whole data and the whole model, takes its share of the rows of each batch, and gets the
mean of all gradients (torch's DistributedDataParallel over gloo). The negatives of a row are those of its own rank: n
ranks that share a batch train with a n-th of its negatives, so the batch size is best raised with the ranks. Without
torchrun there is one process, on the same path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def processes() -> Iterator[int]:
    """Join the other processes that torchrun started, if it did; gives this one's rank, 0 where it is alone."""
    if not dist.is_torchelastic_launched():
        yield 0
        return
    dist.init_process_group("gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def together(model: nn.Module) -> nn.Module:
    """The model with gradients that are the mean over all processes, beginning from the weights of rank 0."""
    if size() == 1:
        return model
    return DistributedDataParallel(model, forward_sync_buffers=False)


def share(batch: Tensor) -> Tensor:
    """The rows of a batch that are this process's own; of fewer rows than processes all take all."""
    return batch if len(batch) < size() else batch[rank() :: size()]


def said_by_first(values: list[float]) -> list[float]:
    """What rank 0 says, on every rank."""
    if size() == 1:
        return values
    said = torch.tensor(values, dtype=torch.float64)
    dist.broadcast(said, src=0)
    return list(said.tolist())
