"""split, titles, tuned parameters -> two-tower model and its encoder as ONNX.

In: data/split, data/titles, models/tuned. Out: models/two_tower. Run: `python -m training.train_two_tower`, or in
several processes `torchrun --nproc-per-node 2 -m training.train_two_tower`.
"""

from __future__ import annotations

from bookworks.cli.entry import run
from training.dataset import load_dataset
from training.distributed import processes
from training.files import METRICS, TITLES, TUNED, TWO_TOWER, read_json, write_json
from training.params import Options, check_params, load_params
from training.recommenders.two_tower import TwoTowerParams, TwoTowerRecommender


def main() -> None:
    """Stage `train_two_tower`."""
    given = load_params("train_two_tower", TwoTowerParams)
    tuned = read_json(TUNED)["params"]
    params = check_params("train_two_tower", TwoTowerParams, given.model_dump() | tuned)
    with processes() as rank:
        model = TwoTowerRecommender.fit(load_dataset(titles=TITLES), params, load_params("options", Options))
        if rank == 0:
            model.save(TWO_TOWER)
            write_json(METRICS / "train_two_tower.json", model.summary())


if __name__ == "__main__":
    run(main)
