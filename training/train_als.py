"""split -> implicit ALS. In: data/split. Out: models/als. Run: `python -m training.train_als`."""

from __future__ import annotations

from bookworks.cli.entry import run
from training.dataset import load_dataset
from training.files import ALS, METRICS, write_json
from training.params import Options, load_params
from training.recommenders.als import AlsParams, AlsRecommender


def main() -> None:
    """Stage `train_als`."""
    params = load_params("train_als", AlsParams)
    AlsRecommender.fit(load_dataset(), params, load_params("options", Options)).save(ALS)
    write_json(METRICS / "train_als.json", {"factors": params.factors, "iterations": params.iterations})


if __name__ == "__main__":
    run(main)
