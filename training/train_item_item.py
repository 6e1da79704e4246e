"""split -> item-item models. In: data/split, data/titles. Out: models/item_item.

What readers did (`item_filter`), and what behaviour lacks: the author, the series, the house, the title.
Run: `python -m training.train_item_item`.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import sparse

from bookworks.cli.entry import run
from training.dataset import Dataset, load_dataset
from training.files import METRICS, TEACHING, TITLES, write_json
from training.linear_filter import BLOCK_ROWS, keep_top
from training.params import Options, Params, load_params
from training.recommenders.content import (
    ContentEaseParams,
    ContentEaseRecommender,
    NextInSeriesParams,
    NextInSeriesRecommender,
    SameAuthorRecommender,
    SameFieldParams,
    TitleTextParams,
    TitleTextRecommender,
)
from training.recommenders.item_item import ItemFilterParams, ItemFilterRecommender, ItemItemRecommender


class ItemItemParams(Params):
    """Section `train_item_item`: the config of each model."""

    item_filter: ItemFilterParams = ItemFilterParams()
    content_ease: ContentEaseParams = ContentEaseParams()
    same_author: SameFieldParams = SameFieldParams()
    next_in_series: NextInSeriesParams = NextInSeriesParams()
    title_text: TitleTextParams = TitleTextParams()
    top_k: int = Field(100, ge=1, description="Entries kept of each work, in each model.")
    max_ease_works: int = Field(20_000, ge=0, description="Larger catalogues have no content_ease: it needs n squared.")


MODELS = {
    "item_filter": ItemFilterRecommender,
    "content_ease": ContentEaseRecommender,
    "same_author": SameAuthorRecommender,
    "next_in_series": NextInSeriesRecommender,
    "title_text": TitleTextRecommender,
}


def fit_all(data: Dataset, params: ItemItemParams, options: Options) -> dict[str, ItemItemRecommender]:
    """Every model by its name, the strongest `top_k` entries of each work."""
    found = {}
    for name in (name for name in MODELS if name != "content_ease" or data.n_works <= params.max_ease_works):
        matrix = MODELS[name].fit(data, getattr(params, name), options).matrix
        found[name] = ItemItemRecommender(strongest(matrix, params.top_k))
    return found


def strongest(matrix: sparse.csr_matrix | np.ndarray, k: int) -> sparse.csr_matrix:
    """The `k` largest entries above 0 of each row, float32."""
    if sparse.issparse(matrix):
        return keep_top(sparse.csr_matrix(matrix).maximum(0), k)
    starts = range(0, len(matrix), BLOCK_ROWS)
    kept = [_strongest_of(matrix[start : start + BLOCK_ROWS], min(k, matrix.shape[1])) for start in starts]
    return sparse.csr_matrix(sparse.vstack(kept), dtype=np.float32)


def _strongest_of(rows: np.ndarray, k: int) -> sparse.csr_matrix:
    columns = np.argpartition(rows, rows.shape[1] - k, axis=1)[:, rows.shape[1] - k :]
    values = np.maximum(np.take_along_axis(rows, columns, axis=1), 0.0)
    owner = np.repeat(np.arange(len(rows)), k)
    found = sparse.csr_matrix((values.ravel(), (owner, columns.ravel())), shape=rows.shape)
    found.eliminate_zeros()
    return found


def main() -> None:
    """Stage `train_item_item`."""
    params = load_params("train_item_item", ItemItemParams)
    models = fit_all(load_dataset(titles=TITLES), params, load_params("options", Options))
    for name, model in models.items():
        model.save(TEACHING.item_item / name)
    write_json(METRICS / "train_item_item.json", {name: int(model.matrix.nnz) for name, model in models.items()})


if __name__ == "__main__":
    run(main)
