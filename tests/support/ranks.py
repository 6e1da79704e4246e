"""One rank of a training by several processes: `torchrun --nproc-per-node 2 -m tests.support.ranks FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.datasets import make_dataset, with_titles
from training.distributed import processes
from training.params import Options
from training.recommenders.gnn import GnnParams, GnnRecommender
from training.recommenders.two_tower import TwoTowerParams, TwoTowerRecommender

QUICK = {"dim": 8, "epochs": 6, "batch_size": 32, "learning_rate": 0.02}


def main(folder: Path) -> None:
    """Train on the small dataset and leave what this rank ends with in `folder/<rank>/<model>`."""
    data, options = with_titles(make_dataset()), Options(threads=1)
    with processes() as rank:
        TwoTowerRecommender.fit(data, TwoTowerParams(**QUICK), options).save(folder / str(rank) / "two_tower")
        GnnRecommender.fit(data, GnnParams(**QUICK, content_nodes=True), options).save(folder / str(rank) / "gnn")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
