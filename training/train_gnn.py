"""split -> LightGCN vectors. In: data/split. Out: models/gnn. Run: `python -m training.train_gnn`.

Trained with the in-batch sampled softmax of the two-tower model.
"""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field

from bookworks.cli.entry import run
from training.dataset import Dataset, load_dataset
from training.files import GNN, METRICS, write_json
from training.lightgcn_model import LightGCN
from training.loop import prepare
from training.params import Options, load_params
from training.recommenders import VectorRecommender
from training.vector_fit import VectorParams, fit_vectors


class GnnParams(VectorParams):
    """Section `train_gnn`."""

    layers: int = Field(2, ge=1)


def fit(data: Dataset, params: GnnParams, options: Options) -> tuple[VectorRecommender, list[dict[str, float]]]:
    """Vectors of trained readers and of works, and the history."""
    prepare(options)
    model = LightGCN(data.train(), params.dim, params.layers)
    history = fit_vectors(model, partial(recommender_of, model), data, params, options)
    return recommender_of(model), history


def recommender_of(model: LightGCN) -> VectorRecommender:
    """The model's vectors at this moment."""
    with torch.no_grad():
        readers, works = model.vectors()
    return VectorRecommender(readers.numpy().copy(), works.numpy().copy())


def main() -> None:
    """Stage `train_gnn`."""
    model, history = fit(load_dataset(), load_params("train_gnn", GnnParams), load_params("options", Options))
    model.save(GNN)
    best = max(line["valid_ndcg_at_20"] for line in history)
    write_json(METRICS / "train_gnn.json", {"epochs": len(history), "valid_ndcg_at_20": best, "history": history})


if __name__ == "__main__":
    run(main)
