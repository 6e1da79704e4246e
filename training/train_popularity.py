"""split -> popularity lists. In: data/split. Out: models/popularity. Run: `python -m training.train_popularity`."""

from __future__ import annotations

from bookworks.cli.entry import run
from training.dataset import load_dataset
from training.files import METRICS, TEACHING, write_json
from training.params import Options, load_params
from training.recommenders.floors import PopularityParams, PopularityRecommender


def main() -> None:
    """Stage `train_popularity`."""
    params = load_params("train_popularity", PopularityParams)
    model = PopularityRecommender.fit(load_dataset(), params, load_params("options", Options))
    model.save(TEACHING.popularity)
    segments = {"age_bins": len(model.popularity.age_bin), "countries": len(model.popularity.country)}
    write_json(METRICS / "train_popularity.json", segments)


if __name__ == "__main__":
    run(main)
