"""All models and the served blend on the test readers, over the full catalogue, beside the floors.

In: data/split, data/snapshot, models/. Out: models/blend, evaluation/metrics.json. Run: `python -m training.evaluate`.
The blend is chosen on validation readers first; the test part is read once, here.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import Field

from bookworks.cli.entry import run
from bookworks.metrics.ranking import Ranked
from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import Origin, write_bundle
from training.assemble import assemble
from training.blend import BlendGrid, choose_blend
from training.bundle import BundleParams
from training.dataset import TEST, TRAIN, VALID, Dataset, load_dataset
from training.files import (
    ALS,
    BLEND,
    BLEND_CHOICES,
    EVALUATION,
    GNN,
    ITEM_FILTER,
    METRICS,
    POPULARITY,
    TWO_TOWER,
    write_json,
)
from training.held_out import KS, HeldOut, make_held_out, measure, rank_with_bundle
from training.params import Options, load_params
from training.recommenders.als import AlsRecommender
from training.recommenders.base import Recommender
from training.recommenders.encoded import EncodedRecommender
from training.recommenders.floors import PopularityRecommender, RandomRecommender
from training.recommenders.item_item import ItemFilterRecommender
from training.recommenders.vectors import VectorRecommender


class EvaluateParams(BlendGrid):
    """Section `evaluate`."""

    relevant_weight: float = Field(0.4, ge=0)
    max_readers: int = Field(4000, ge=1)
    blend_readers: int = Field(500, ge=1)
    session_length: int = Field(3, ge=1)


def draft_bundle(data: Dataset, folder: Path) -> Bundle:
    """The workspace's models as a bundle whose blend is still to be chosen."""
    max_per_author = load_params("bundle", BundleParams).max_per_author
    content = assemble(data, max_per_author=max_per_author)
    return Bundle.load(write_bundle(folder, content, Origin("draft", "draft", "draft", ""), {}))


def rank_models(data: Dataset, tests: HeldOut, seed: int, threads: int) -> dict[str, Ranked]:
    """The first 20 works of every model but the blend, for every test reader."""
    models: dict[str, Recommender] = {
        "random": RandomRecommender(data.n_works, seed),
        "popularity": PopularityRecommender.load(POPULARITY),
        "item_filter": ItemFilterRecommender.load(ITEM_FILTER),
        "als": AlsRecommender.load(ALS),
        "two_tower": EncodedRecommender.load(TWO_TOWER),
        "gnn": VectorRecommender.load(GNN),
    }
    return {name: model.recommend(tests.batch, max(KS), threads).works for name, model in models.items()}


def main() -> None:
    """Stage `evaluate`."""
    params, options = load_params("evaluate", EvaluateParams), load_params("options", Options)
    data = load_dataset()
    valid = make_held_out(data, (TRAIN,), VALID, params.relevant_weight, params.blend_readers)
    with tempfile.TemporaryDirectory() as folder:
        bundle = draft_bundle(data, Path(folder))
    blend, choices = choose_blend(bundle, valid.states, valid.relevant, params, params.session_length)
    write_json(BLEND, {"tiers": blend.tiers, "history_share": blend.history_share})

    tests = make_held_out(data, (TRAIN, VALID), TEST, params.relevant_weight, params.max_readers)
    ranked = rank_models(data, tests, options.seed, options.threads)
    ranked["blend"] = rank_with_bundle(bundle.with_blend(blend), tests.states, max(KS))
    train = data.train()
    readers_of_work = np.bincount(train.indices, minlength=data.n_works)
    rows = [
        row for name, lists in ranked.items() for row in measure(name, lists, tests, readers_of_work, data.n_trained)
    ]
    write_json(EVALUATION, {"readers": len(tests), "rows": rows})
    flat = {f"{r['model']}.{r['metric']}_at_{r['k']}": r["value"] for r in rows if r["slice"] == "all"}
    chosen = {f"blend_valid_ndcg_at_20.{tier}": choice.valid_ndcg_at_20 for tier, choice in choices.items()}
    write_json(METRICS / "evaluate.json", flat | chosen | {"test_readers": len(tests), "valid_readers": len(valid)})
    write_json(BLEND_CHOICES, {tier: asdict(choice) for tier, choice in choices.items()})


if __name__ == "__main__":
    run(main)
