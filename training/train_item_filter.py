"""split -> item-item matrix. In: data/split. Out: models/item_filter. Run: `python -m training.train_item_filter`."""

from __future__ import annotations

from pydantic import Field

from bookworks.cli.entry import run
from training.dataset import Dataset, load_dataset
from training.files import ITEM_FILTER, METRICS, write_json
from training.linear_filter import linear_item_filter
from training.params import Params, load_params
from training.recommenders import ItemFilterRecommender


class ItemFilterParams(Params):
    """Section `train_item_filter`."""

    reader_power: float = Field(0.5, ge=0, le=1)
    work_power: float = Field(0.5, ge=0, le=1)
    top_k: int = Field(100, ge=1)
    max_history: int = Field(500, ge=1)


def fit(data: Dataset, params: ItemFilterParams) -> ItemFilterRecommender:
    """The filter of the training rows."""
    return ItemFilterRecommender(
        linear_item_filter(data.train(), params.reader_power, params.work_power, params.top_k, params.max_history)
    )


def main() -> None:
    """Stage `train_item_filter`."""
    model = fit(load_dataset(), load_params("train_item_filter", ItemFilterParams))
    model.save(ITEM_FILTER)
    write_json(METRICS / "train_item_filter.json", {"entries": int(model.matrix.nnz)})


if __name__ == "__main__":
    run(main)
