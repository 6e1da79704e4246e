"""Names of the files that the stages hand to each other, relative to the run's workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
RUN = Path("run.json")  # run_id, mlflow_run_id, git_commit
METRICS = Path("metrics")  # metrics/<stage>.json, written by each stage

SNAPSHOT = Path("data/snapshot")  # interactions, works, readers, editions .parquet, and id.json
SPLIT = Path("data/split")  # interactions, works, readers .parquet: rows are indices
TITLES = Path("data/titles/title_vectors.npy")  # float16 [n_works, 384], rows of length 1

TUNED = Path("models/tuned/two_tower.json")
TWO_TOWER = Path("models/two_tower")
GNN = Path("models/gnn")
ALS = Path("models/als")
BLEND = Path("models/blend/blend.json")
BLEND_CHOICES = Path("models/blend/choices.json")  # tier -> weights, history_share, valid_ndcg_at_20
RANKER = Path("models/ranker")

EVALUATION = Path("evaluation/metrics.json")  # rows: model, metric, k, slice, value, low, high
SERVED = "ranker"  # the name under which an evaluation tells of the bundle as it serves
BUNDLE = Path("bundle")  # bundle/<version>/
GATE = Path("gate.json")
GATE_TEXT = Path("gate.txt")
GATE_PAGE = Path("gate.html")


class Sources(NamedTuple):
    """Where the models lie that are fitted twice; `item_item` has a folder of each model's name."""

    item_item: Path
    popularity: Path


TEACHING = Sources(Path("models/item_item"), Path("models/popularity"))  # fitted to the part `train`
SERVING = Sources(Path("models/refit/item_item"), Path("models/refit/popularity"))  # … and to `valid`, for the bundle


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys: the same value gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """A JSON file's content."""
    return json.loads(path.read_text(encoding="utf-8"))
