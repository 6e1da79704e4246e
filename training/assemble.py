"""The workspace's files as the content of a bundle."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import BundleContent, Origin, Ranker, write_bundle
from training.dataset import Dataset
from training.files import SERVING, SNAPSHOT, TEACHING, TWO_TOWER, Sources, read_json
from training.recommenders.encoded import EncodedRecommender
from training.recommenders.item_item import ItemItemRecommender
from training.work_facts import facts_of

UNTUNED: dict[str, Any] = {
    "tiers": {tier: {"popularity": 1.0} for tier in ("warm", "session", "tastes", "cold")},
    "history_share": {"warm": 0.0, "session": 0.0},
}


def assemble_draft(data: Dataset, max_per_author: int = 0) -> BundleContent:
    """Content of a bundle whose sources know the part `train` alone; blend and ranker are still to be chosen."""
    return _assemble(data, data, TEACHING, UNTUNED, None, max_per_author)


def assemble(data: Dataset, blend: dict[str, Any], ranker: Ranker | None, max_per_author: int) -> BundleContent:
    """Content of the bundle that serves: its sources know the part `valid`, too (stage `refit`)."""
    return _assemble(data, data.known(), SERVING, blend, ranker, max_per_author)


def _assemble(
    data: Dataset,
    learned: Dataset,
    sources: Sources,
    blend: dict[str, Any],
    ranker: Ranker | None,
    max_per_author: int,
) -> BundleContent:
    encoded = EncodedRecommender.load(TWO_TOWER)
    editions = pq.read_table(SNAPSHOT / "editions.parquet")
    known = pc.is_in(editions["work_id"], value_set=data.works["work_id"].combine_chunks())
    return BundleContent(
        works=data.works,
        editions=editions.filter(known),
        users=pa.table(
            {
                "user_id": data.readers["user_id"][: data.n_trained],
                "user_index": pa.array(np.arange(1, data.n_trained + 1)),
            }
        ),
        item_vectors=encoded.works,
        history_vectors=encoded.read,
        user_encoder=encoded.graph,
        item_item={name: model.matrix for name, model in item_item_models(sources).items()},
        facts=facts_of(learned),
        popularity=read_json(sources.popularity / "popularity.json"),
        features=encoded.labels,
        blend=blend,
        ranker=ranker,
        rules={"max_per_author": max_per_author},
    )


def drafted(content: BundleContent) -> Bundle:
    """The bundle of this content, as the service would load it; nothing of it stays on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        return Bundle.load(write_bundle(Path(folder), content, Origin("draft", "draft", "draft", ""), {}))


def item_item_models(sources: Sources) -> dict[str, ItemItemRecommender]:
    """The item-item models of this workspace by name."""
    return {folder.name: ItemItemRecommender.load(folder) for folder in sorted(sources.item_item.iterdir())}
