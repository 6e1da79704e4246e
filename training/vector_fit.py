"""How a model that gives readers and works vectors is trained: in-batch softmax, validated by ranking everything."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field
from torch import Tensor, nn

from training.dataset import Dataset
from training.loop import LoopParams, fit_model
from training.losses import in_batch_softmax
from training.params import Options
from training.recommenders.vectors import VectorRecommender
from training.rows import Validation, log_frequency, training_rows


def silent(epoch: int, value: float) -> None:
    """Report nothing."""


class VectorParams(LoopParams):
    """Parameters that every such model has."""

    dim: int = Field(64, ge=2, description="Size of the vectors.")
    temperature: float = Field(0.1, gt=0)
    popularity_power: float = Field(0.0, ge=0, le=1, description="How strongly rows of popular works are damped.")
    relevant_weight: float = Field(0.4, ge=0)
    valid_readers: int = Field(1000, ge=1, description="Readers looked at after each epoch.")


def fit_vectors(
    model: nn.Module,
    recommend: Callable[[], VectorRecommender],
    data: Dataset,
    params: VectorParams,
    options: Options,
    report: Callable[[int, float], None],
) -> list[dict[str, float]]:
    """Train `model` in place on the training rows, stopping early on the validation rows; returns the history.

    Args:
        model: called with rows of readers and of works, [batch] each, it gives their vectors, [batch, dim] each.
        recommend: the model as it is now, as a recommender.
        data: the split.
        params: length, size and loss.
        options: seed of the shuffling and of the validation readers.
        report: called with epoch and validation value; may raise to stop a trial.
    """
    log_q = log_frequency(data)
    validation = Validation(data, params.relevant_weight, params.valid_readers, options.seed)

    def loss_of(readers: Tensor, works: Tensor, weights: Tensor) -> Tensor:
        reader_vectors, work_vectors = model(readers, works)
        return in_batch_softmax(reader_vectors, work_vectors, works, log_q, weights, params.temperature)

    def validate() -> float:
        return validation.ndcg(recommend())

    rows = training_rows(data, params.popularity_power)
    return fit_model(model, rows, loss_of, validate, params, options.seed, report)
