"""split -> item-item models and popularity once more, from `train` and `valid`. In: data/split, data/titles.

Weights and trees were chosen on the part `valid`, with sources that had not seen it. Once chosen they stay, and what
serves knows the latest rows, too; the gate compares both on the test part, which neither has seen. The vectors are not
fitted again: their training stops by the part `valid`. Out: models/refit. Run: `python -m training.refit`.
"""

from __future__ import annotations

from bookworks.cli.entry import run
from training.dataset import load_dataset
from training.files import METRICS, SERVING, TITLES, write_json
from training.params import Options, load_params
from training.recommenders.floors import PopularityParams, PopularityRecommender
from training.train_item_item import ItemItemParams, fit_all


def main() -> None:
    """Stage `refit`: what `train_item_item` and `train_popularity` do, with the rows of both parts."""
    known, options = load_dataset(titles=TITLES).known(), load_params("options", Options)
    models = fit_all(known, load_params("train_item_item", ItemItemParams), options)
    for name, model in models.items():
        model.save(SERVING.item_item / name)
    popularity = PopularityRecommender.fit(known, load_params("train_popularity", PopularityParams), options)
    popularity.save(SERVING.popularity)
    write_json(METRICS / "refit.json", {name: int(model.matrix.nnz) for name, model in models.items()})


if __name__ == "__main__":
    run(main)
