"""One rank of a training by several processes: `torchrun --nproc-per-node 2 -m tests.support.ranks FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.datasets import make_dataset, with_titles
from training.distributed import processes
from training.params import Options
from training.recommenders.two_tower import TwoTowerParams, TwoTowerRecommender

PARAMS = {"dim": 8, "epochs": 6, "batch_size": 32, "min_readers": 2, "learning_rate": 0.02}


def main(folder: Path) -> None:
    """Train on the small dataset and leave what this rank ends with in `folder/<rank>`."""
    with processes() as rank:
        model = TwoTowerRecommender.fit(with_titles(make_dataset()), TwoTowerParams(**PARAMS), Options(threads=1))
        model.save(folder / str(rank))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
