"""split -> popularity lists. In: data/split. Out: models/popularity. Run: `python -m training.train_popularity`."""

from __future__ import annotations

from pydantic import Field

from bookworks.cli.entry import run
from bookworks.models.popularity import Popularity
from training.dataset import Dataset, load_dataset
from training.files import METRICS, POPULARITY, write_json
from training.params import Params, load_params
from training.popular_lists import popularity_lists
from training.recommenders import PopularityRecommender


class PopularityParams(Params):
    """Section `train_popularity`."""

    global_weight: float = Field(0.6, gt=0)
    age_bin_weight: float = Field(0.15, ge=0)
    country_weight: float = Field(0.25, ge=0)
    min_readers: int = Field(30, ge=1, description="Readers below which an age bin or country gets no list.")
    segment_length: int = Field(300, ge=1)


def fit(data: Dataset, params: PopularityParams) -> PopularityRecommender:
    """The lists of the training rows."""
    lists = popularity_lists(
        data.train(),
        age_bins=data.labels("age_bin")[: data.n_trained],
        countries=data.labels("country")[: data.n_trained],
        weights={
            "global": params.global_weight,
            "age_bin": params.age_bin_weight,
            "country": params.country_weight,
        },
        min_readers=params.min_readers,
        segment_length=params.segment_length,
    )
    return PopularityRecommender(
        Popularity(data.n_works, lists["global"], lists["age_bin"], lists["country"], lists["weights"])
    )


def main() -> None:
    """Stage `train_popularity`."""
    model = fit(load_dataset(), load_params("train_popularity", PopularityParams))
    model.save(POPULARITY)
    segments = {"age_bins": len(model.popularity.age_bin), "countries": len(model.popularity.country)}
    write_json(METRICS / "train_popularity.json", segments)


if __name__ == "__main__":
    run(main)
