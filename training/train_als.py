"""split -> implicit ALS. In: data/split. Out: models/als. Run: `python -m training.train_als`.

Hu, Koren, Volinsky: "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from bookworks.cli.entry import run
from training.dataset import Dataset, load_dataset
from training.files import ALS, METRICS, write_json
from training.params import Options, Params, load_params
from training.recommenders import AlsRecommender


class AlsParams(Params):
    """Section `train_als`."""

    factors: int = Field(64, ge=1)
    iterations: int = Field(8, ge=1)
    regularization: float = Field(0.05, gt=0)
    alpha: float = Field(10.0, gt=0, description="Confidence of a liking of 1.")


def fit(data: Dataset, params: AlsParams, options: Options) -> AlsRecommender:
    """Factors of the works, from the training rows."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=params.factors,
            iterations=params.iterations,
            regularization=params.regularization,
            alpha=params.alpha,
            num_threads=options.threads,
            random_state=options.seed,
        )
        model.fit(data.train().astype(np.float32), show_progress=False)
    return AlsRecommender(np.asarray(model.item_factors, dtype=np.float32), params.regularization, params.alpha)


def main() -> None:
    """Stage `train_als`."""
    params = load_params("train_als", AlsParams)
    fit(load_dataset(), params, load_params("options", Options)).save(ALS)
    write_json(METRICS / "train_als.json", {"factors": params.factors, "iterations": params.iterations})


if __name__ == "__main__":
    run(main)
