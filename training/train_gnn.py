"""split -> LightGCN vectors. In: data/split. Out: models/gnn. Run: `python -m training.train_gnn`."""

from __future__ import annotations

from bookworks.cli.entry import run
from training.dataset import load_dataset
from training.distributed import processes
from training.files import GNN, METRICS, write_json
from training.params import Options, load_params
from training.recommenders.gnn import GnnParams, GnnRecommender


def main() -> None:
    """Stage `train_gnn`."""
    params, options = load_params("train_gnn", GnnParams), load_params("options", Options)
    with processes() as rank:
        model = GnnRecommender.fit(load_dataset(), params, options)
        if rank == 0:
            model.save(GNN)
            write_json(METRICS / "train_gnn.json", model.summary())


if __name__ == "__main__":
    run(main)
