"""split, titles, tuned parameters -> two-tower model and its encoder as ONNX.

In: data/split, data/titles, models/tuned. Out: models/two_tower. Run: `python -m training.train_two_tower`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bookworks.cli.entry import run
from training.dataset import Dataset, load_dataset
from training.export_onnx import encoder_to_onnx
from training.features import Features, make_features
from training.files import METRICS, TITLES, TUNED, TWO_TOWER, read_json, write_json
from training.loop import prepare
from training.params import Options, check_params, load_params
from training.recommenders import VectorRecommender
from training.two_tower_model import TwoTower
from training.vector_fit import VectorParams, fit_vectors


class TwoTowerParams(VectorParams):
    """Section `train_two_tower`; tuned values of `tune_two_tower` take the place of those here."""

    popularity_power: float = Field(0.2, ge=0, le=1, description="How strongly rows of popular works are damped.")
    reader_dropout: float = Field(0.1, ge=0, lt=1, description="Share of readers made unknown in training.")
    min_readers: int = Field(20, ge=1, description="Readers below which a country counts as unknown.")
    min_works: int = Field(2, ge=1, description="Works below which an author or publisher counts as unknown.")


@dataclass(frozen=True)
class FittedTwoTower:
    """The result: vectors, encoder, labels, history."""

    recommender: VectorRecommender
    encoder: bytes
    features: Features
    history: list[dict[str, float]]
    model: TwoTower


def fit(
    data: Dataset,
    titles: npt.NDArray[np.float16],
    params: TwoTowerParams,
    options: Options,
    report: Callable[[int, float], None] = lambda epoch, value: None,
) -> FittedTwoTower:
    """Train both towers on the training rows, stopping early on the validation rows."""
    prepare(options)
    features = make_features(data, titles, params.min_readers, params.min_works)
    model = TwoTower(features, params.dim, params.reader_dropout)
    history = fit_vectors(model, partial(recommender_of, model), data, params, options, report)
    encoder = encoder_to_onnx(model.readers.weights())
    return FittedTwoTower(recommender_of(model), encoder, features, history, model)


def recommender_of(model: TwoTower) -> VectorRecommender:
    """The model's vectors at this moment."""
    model.eval()
    readers, works = model.tables()
    return VectorRecommender(readers.numpy(), works.numpy())


def main() -> None:
    """Stage `train_two_tower`."""
    given = load_params("train_two_tower", TwoTowerParams)
    tuned = read_json(TUNED)["params"]
    params = check_params("train_two_tower", TwoTowerParams, given.model_dump() | tuned)
    fitted = fit(load_dataset(), np.load(TITLES), params, load_params("options", Options))
    fitted.recommender.save(TWO_TOWER)
    (TWO_TOWER / "user_encoder.onnx").write_bytes(fitted.encoder)
    labels = {"age_bins": fitted.features.age_bins, "countries": fitted.features.countries}
    write_json(TWO_TOWER / "features.json", labels)
    best = max(line["valid_ndcg_at_20"] for line in fitted.history)
    summary = {"epochs": len(fitted.history), "valid_ndcg_at_20": best, "history": fitted.history}
    write_json(METRICS / "train_two_tower.json", summary)


if __name__ == "__main__":
    run(main)
