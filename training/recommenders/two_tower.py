"""The two-tower model: a reader's encoder, exported to ONNX, and vectors of works from ids and content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from training.dataset import Dataset
from training.export_onnx import encoder_to_onnx
from training.features import make_features
from training.files import write_json
from training.loop import prepare
from training.params import Options
from training.recommenders.base import read_values
from training.recommenders.vectors import VectorRecommender
from training.two_tower_model import TwoTower
from training.vector_fit import VectorParams, fit_vectors, silent

ENCODER, LABELS = "user_encoder.onnx", "features.json"


class TwoTowerParams(VectorParams):
    """Section `train_two_tower`; tuned values of `tune_two_tower` take the place of those here."""

    popularity_power: float = Field(0.2, ge=0, le=1, description="How strongly rows of popular works are damped.")
    reader_dropout: float = Field(0.1, ge=0, lt=1, description="Share of readers made unknown in training.")
    min_readers: int = Field(20, ge=1, description="Readers below which a country counts as unknown.")
    min_works: int = Field(2, ge=1, description="Works below which an author or publisher counts as unknown.")


@dataclass(frozen=True)
class TwoTowerRecommender(VectorRecommender):
    """Vectors of trained readers and of works; what serves is the encoder.

    Attributes:
        encoder: the reader's tower as an ONNX graph.
        labels: `age_bins` and `countries` in the order of the encoder's indices, from 1.
    """

    Config = TwoTowerParams
    encoder: bytes = b""
    labels: dict[str, list[str]] | None = None

    @classmethod
    def fit(
        cls, data: Dataset, config: TwoTowerParams, options: Options, report: Callable[[int, float], None] = silent
    ) -> Self:
        """Train both towers on the training rows, stopping early on the validation rows."""
        model, labels, history = train_towers(data, config, options, report)
        return cls(*_vectors(model), history, encoder_to_onnx(model.readers.weights()), labels)

    def save(self, folder: Path) -> None:
        """Write vectors, encoder and labels."""
        super().save(folder)
        (folder / ENCODER).write_bytes(self.encoder)
        write_json(folder / LABELS, self.labels)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read vectors, encoder and labels."""
        tables = (np.load(folder / f"{name}.npy") for name in ("readers", "works"))
        return cls(*tables, [], (folder / ENCODER).read_bytes(), read_values(folder / LABELS))


def train_towers(
    data: Dataset, config: TwoTowerParams, options: Options, report: Callable[[int, float], None] = silent
) -> tuple[TwoTower, dict[str, list[str]], list[dict[str, float]]]:
    """The trained torch model, the labels of its inputs, and the history."""
    prepare(options)
    titles = data.titles if data.titles is not None else np.zeros((data.n_works, 1), dtype=np.float16)
    features = make_features(data, titles, config.min_readers, config.min_works)
    model = TwoTower(features, config.dim, config.reader_dropout)
    history = fit_vectors(model, lambda: VectorRecommender(*_vectors(model)), data, config, options, report)
    return model, {"age_bins": features.age_bins, "countries": features.countries}, history


def _vectors(model: TwoTower) -> tuple[np.ndarray, np.ndarray]:
    model.eval()
    readers, works = model.tables()
    return readers.numpy(), works.numpy()
