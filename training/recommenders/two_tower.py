"""The two-tower model: a reader's encoder, exported to ONNX, and vectors of works from ids and content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from pydantic import Field

from training.dataset import Dataset
from training.export_onnx import encoder_to_onnx
from training.features import make_features
from training.loop import prepare
from training.params import Options
from training.recommenders.encoded import EncodedRecommender
from training.spectral import spectral_start
from training.two_tower_model import TwoTower
from training.vector_fit import VectorParams, fit_vectors, silent


class TwoTowerParams(VectorParams):
    """Section `train_two_tower`; tuned values of `tune_two_tower` take the place of those here."""

    learning_rate: float = Field(0.004, gt=0)
    reader_ids: bool = Field(False, description="Whether a trained reader has an embedding beside the history.")
    reader_dropout: float = Field(0.5, ge=0, lt=1, description="Share of readers made unknown in training.")
    work_dropout: float = Field(0.1, ge=0, lt=1, description="Share of described works known by content alone.")
    min_readers: int = Field(20, ge=1, description="Readers below which a country counts as unknown.")
    min_works: int = Field(2, ge=1, description="Works below which an author, series or publisher counts as unknown.")


class TwoTowerRecommender(EncodedRecommender):
    """Trained by sampled softmax; what serves is the encoder."""

    Config = TwoTowerParams

    @classmethod
    def fit(
        cls, data: Dataset, config: TwoTowerParams, options: Options, report: Callable[[int, float], None] = silent
    ) -> Self:
        """Train both towers on the training rows, stopping early on the validation rows, if there are any."""
        model, labels, history = train_towers(data, config, options, report)
        return cls(*exported(model), labels, history)


def train_towers(
    data: Dataset, config: TwoTowerParams, options: Options, report: Callable[[int, float], None] = silent
) -> tuple[TwoTower, dict[str, list[str]], list[dict[str, float]]]:
    """The trained torch model, the labels of its inputs, and the history."""
    prepare(options)
    features = make_features(data, config.min_readers, config.min_works)
    labels = {"age_bins": features.age_bins, "countries": features.countries}
    start = spectral_start(data.train(), config.dim)
    model = TwoTower(features, start, config.reader_ids, config.reader_dropout, config.work_dropout)
    history = fit_vectors(model, lambda: EncodedRecommender(*exported(model), labels), data, config, options, report)
    return model, labels, history


def exported(model: TwoTower) -> tuple[object, object, bytes]:
    """Vectors of works, the table of histories, and the reader's encoder as ONNX."""
    model.eval()
    read = model.read.detach().numpy().copy()
    return model.work_vectors().numpy(), read, encoder_to_onnx(model.readers.weights())
