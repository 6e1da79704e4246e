"""split -> item-item matrix. In: data/split. Out: models/item_filter. Run: `python -m training.train_item_filter`."""

from __future__ import annotations

from bookworks.cli.entry import run
from training.dataset import load_dataset
from training.files import ITEM_FILTER, METRICS, write_json
from training.params import Options, load_params
from training.recommenders.item_item import ItemFilterParams, ItemFilterRecommender


def main() -> None:
    """Stage `train_item_filter`."""
    params = load_params("train_item_filter", ItemFilterParams)
    model = ItemFilterRecommender.fit(load_dataset(), params, load_params("options", Options))
    model.save(ITEM_FILTER)
    write_json(METRICS / "train_item_filter.json", {"entries": int(model.matrix.nnz)})


if __name__ == "__main__":
    run(main)
