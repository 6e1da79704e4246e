"""When training stops and what it keeps; training in two processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bookworks.settings import PROJECT_ROOT
from tests.support import ranks
from tests.support.datasets import make_dataset
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.held_out import make_held_out
from training.loop import LoopParams, fit_model
from training.params import Options
from training.recommenders.all import Fitter
from training.recommenders.base import Recommender
from training.recommenders.encoded import EncodedRecommender
from training.recommenders.floors import RandomRecommender
from training.recommenders.gnn import GnnParams, GnnRecommender
from training.recommenders.two_tower import TwoTowerParams, TwoTowerRecommender
from training.recommenders.vectors import VectorRecommender
from training.split_files import hold_out


class Line(nn.Module):
    """A weight that grows with each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return -self.weight.sum()


def fit(values: list[float] | None, epochs: int, patience: int = 2) -> tuple[float, int]:
    """(the weight that is kept, epochs done), each epoch being one step of 0.1, with these validation values."""
    task, left = Line(), iter(values or ())
    params = LoopParams(epochs=epochs, patience=patience, batch_size=4, learning_rate=0.1)
    validate = (lambda: next(left)) if values else None
    history = fit_model(task, 4, validate, params, 60.0, seed=1)
    return round(float(task.weight.detach()), 3), len(history)


def test_the_best_epoch_is_kept_and_patience_ends_it() -> None:
    assert fit([0.1, 0.3, 0.2, 0.2, 0.9], epochs=5) == (0.2, 4)


def test_with_nothing_to_validate_on_the_last_epoch_is_kept() -> None:
    assert fit(None, epochs=5) == (0.5, 5)


def test_no_epoch_begins_after_the_budget() -> None:
    history = fit_model(Line(), 4, None, LoopParams(epochs=5, batch_size=4), 0.0, seed=1)
    assert len(history) == 1


@pytest.mark.parametrize(("model", "params"), [(TwoTowerRecommender, TwoTowerParams), (GnnRecommender, GnnParams)])
def test_the_best_number_of_epochs_can_be_trained_on_all_rows(model: type[Recommender], params: type) -> None:
    data = make_dataset()
    searched = model.fit(data, params(dim=8, epochs=4, patience=1, batch_size=16), Options(threads=1)).summary()
    assert searched["epochs"] == 1 + int(np.argmax([line["valid_ndcg_at_20"] for line in searched["history"]]))
    whole = data.merged(VALID, TRAIN)
    again = model.fit(whole, params(dim=8, epochs=searched["epochs"], batch_size=16), Options(threads=1)).summary()
    assert again["epochs"] == searched["epochs"]
    assert "valid_ndcg_at_20" not in again


def test_few_rows_make_small_batches() -> None:
    params = LoopParams(batch_size=512, min_batches=16)
    assert [params.batch_of(n) for n in (10, 600, 3200, 100_000)] == [32, 37, 200, 512]


def test_a_fitter_finds_the_epochs_on_held_out_rows_unless_it_is_told() -> None:
    data = make_dataset()
    data = data.merged(VALID, TRAIN)
    quick = {"dim": 8, "patience": 2}
    found = Fitter(Options(threads=1), {"two_tower": quick}).fit("two_tower", data)
    told = Fitter(Options(threads=1), {"two_tower": quick | {"epochs": 2}}).fit("two_tower", data)
    assert found.summary()["epochs"] == len(found.history)
    assert "valid_ndcg_at_20" not in found.history[0]
    assert told.summary()["epochs"] == 2
    inner = TwoTowerRecommender.fit(hold_out(data, 0.1, 42), TwoTowerParams(**quick), Options(threads=1))
    assert found.summary()["epochs"] == inner.summary()["epochs"]


def ndcg(model: Recommender, data: Dataset) -> float:
    tests = make_held_out(data, (TRAIN, VALID), TEST, 0.0, 100)
    return float(tests.ndcg(model.recommend(tests.batch, 10).works, 10).mean())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process alone (`alone/0`) and two together (`0` and `1`) end with."""
    folder = tmp_path_factory.mktemp("ranks")
    ranks.main(folder / "alone")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "tests.support.ranks", str(folder)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.timeout(600)  # three times the libraries are imported, on whatever a busy machine leaves
@pytest.mark.parametrize(("name", "model"), [("two_tower", EncodedRecommender), ("gnn", VectorRecommender)])
def test_two_processes_end_with_one_model_as_good_as_that_of_one(
    trained: Path, name: str, model: type[Recommender]
) -> None:
    alone, first, second = (trained / rank / name for rank in ("alone/0", "0", "1"))
    files = sorted(path.name for path in first.iterdir())
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
    assert (first / "works.npy").read_bytes() != (alone / "works.npy").read_bytes()
    data = make_dataset()
    floor = ndcg(RandomRecommender(data.n_works, 3), data)
    assert ndcg(model.load(first), data) > max(1.5 * floor, 0.9 * ndcg(model.load(alone), data))
