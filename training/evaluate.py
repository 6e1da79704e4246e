"""All models and the served blend on the test readers, over the full catalogue, beside the floors.

In: data/split, data/snapshot, models/. Out: evaluation/metrics.json. Run: `python -m training.evaluate`.
The test part is read once, here; `blend` and `ranker` are the bundle without its trees and with them, and its sources
are measured as they serve, fitted to the parts `train` and `valid`. ALS, two-tower and GNN know `train` alone.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from bookworks.cli.entry import run
from bookworks.metrics.ranking import Ranked
from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import read_ranker
from training.assemble import assemble, drafted, item_item_models
from training.bundle import BundleParams
from training.dataset import TEST, TRAIN, VALID, Dataset, load_dataset
from training.files import (
    ALS,
    BLEND,
    EVALUATION,
    GNN,
    METRICS,
    RANKER,
    SERVED,
    SERVING,
    TWO_TOWER,
    read_json,
    write_json,
)
from training.held_out import KS, HeldOut, make_held_out, measure, rank_with_bundle
from training.params import Options, Params, load_params
from training.recommenders.als import AlsRecommender
from training.recommenders.base import Recommender
from training.recommenders.encoded import EncodedRecommender
from training.recommenders.floors import PopularityRecommender, RandomRecommender
from training.recommenders.vectors import VectorRecommender


class EvaluateParams(Params):
    """Section `evaluate`."""

    relevant_weight: float = Field(0.4, ge=0)
    max_readers: int = Field(4000, ge=1)


def finished_bundle(data: Dataset) -> Bundle:
    """The workspace's models as the bundle that serves them."""
    max_per_author = load_params("bundle", BundleParams).max_per_author
    return drafted(assemble(data, read_json(BLEND), read_ranker(RANKER), max_per_author))


def rank_models(data: Dataset, tests: HeldOut, seed: int, threads: int) -> dict[str, Ranked]:
    """The first 20 works of every model but the blend, for every test reader."""
    models: dict[str, Recommender] = {
        "random": RandomRecommender(data.n_works, seed),
        "popularity": PopularityRecommender.load(SERVING.popularity),
        **item_item_models(SERVING),
        "als": AlsRecommender.load(ALS),
        "two_tower": EncodedRecommender.load(TWO_TOWER),
        "gnn": VectorRecommender.load(GNN),
    }
    return {name: model.recommend(tests.batch, max(KS), threads).works for name, model in models.items()}


def main() -> None:
    """Stage `evaluate`."""
    params, options = load_params("evaluate", EvaluateParams), load_params("options", Options)
    data = load_dataset()
    bundle = finished_bundle(data)
    tests = make_held_out(data, (TRAIN, VALID), TEST, params.relevant_weight, params.max_readers)
    ranked = rank_models(data, tests, options.seed, options.threads)
    ranked["blend"] = rank_with_bundle(bundle.with_blend(bundle.blend), tests.states, max(KS))
    ranked[SERVED] = rank_with_bundle(bundle, tests.states, max(KS))
    train = data.train()
    readers_of_work = np.bincount(train.indices, minlength=data.n_works)
    rows = [
        row for name, lists in ranked.items() for row in measure(name, lists, tests, readers_of_work, data.n_trained)
    ]
    write_json(EVALUATION, {"readers": len(tests), "rows": rows})
    flat = {f"{r['model']}.{r['metric']}_at_{r['k']}": r["value"] for r in rows if r["slice"] == "all"}
    write_json(METRICS / "evaluate.json", flat | {"test_readers": len(tests)})


if __name__ == "__main__":
    run(main)
