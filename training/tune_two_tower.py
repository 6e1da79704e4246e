"""split, titles -> the two-tower model's best parameters, by Optuna, in Postgres.

A study belongs to one data version: a stopped search goes on where it was. In: data/split, data/titles.
Out: models/tuned. Run: `python -m training.tune_two_tower` in a workspace.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import optuna
from pydantic import Field

from bookworks.cli.entry import run
from bookworks.errors import TransientError
from bookworks.settings import get_settings
from training import studies
from training.dataset import Dataset, load_dataset
from training.files import METRICS, SPLIT, TITLES, TUNED, write_json
from training.params import Options, Params, check_params, load_params
from training.recommenders.two_tower import TwoTowerParams, TwoTowerRecommender
from training.studies import best_params, carry_on


class TuneParams(Params):
    """Section `tune_two_tower`."""

    trials: int = Field(4, ge=1, description="Finished or pruned trials of a study.")
    epochs: int = Field(4, ge=1, description="Epochs of one trial.")
    max_seconds: float = Field(25.0, gt=0, description="No new trial begins after this …")
    seconds_per_100k_rows: float = Field(0.0, ge=0, description="… and this much more for each 100,000 training rows.")
    pruner_startup_trials: int = Field(2, ge=0)
    learning_rate: tuple[float, float] = (0.001, 0.02)
    temperature: tuple[float, float] = (0.05, 0.3)
    popularity_power: tuple[float, float] = (0.0, 0.5)


def search(
    data: Dataset,
    params: TuneParams,
    base: TwoTowerParams,
    options: Options,
    study: optuna.Study,
) -> None:
    """Bring the study up to `params.trials` finished trials; those found in it and of other processes count."""

    def objective(trial: optuna.Trial) -> float:
        return _try(trial, data, params, base, options)

    budget_s = params.max_seconds + params.seconds_per_100k_rows * data.train().nnz / 100_000
    carry_on(study, objective, params.trials, budget_s)


def _try(
    trial: optuna.Trial,
    data: Dataset,
    params: TuneParams,
    base: TwoTowerParams,
    options: Options,
) -> float:
    chosen = {
        "learning_rate": trial.suggest_float("learning_rate", *params.learning_rate, log=True),
        "temperature": trial.suggest_float("temperature", *params.temperature, log=True),
        "popularity_power": trial.suggest_float("popularity_power", *params.popularity_power),
    }
    budget = {name: getattr(params, name) for name in ("epochs", "max_seconds", "seconds_per_100k_rows")}
    tried = check_params("train_two_tower", TwoTowerParams, base.model_dump() | chosen | budget)

    def report(epoch: int, value: float) -> None:
        trial.report(value, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return float(TwoTowerRecommender.fit(data, tried, options, report).summary()["valid_ndcg_at_20"])


def open_study(storage: str | None, name: str, params: TuneParams, base: TwoTowerParams, seed: int) -> optuna.Study:
    """The study called `name`, new or as it was left; a new one begins with the parameters in the file."""
    start = {name: getattr(base, name) for name in ("learning_rate", "temperature", "popularity_power")}
    pruner = optuna.pruners.MedianPruner(n_startup_trials=params.pruner_startup_trials, n_warmup_steps=1)
    return studies.open_study(storage, name, seed, start, pruner)


def study_name(*files: Path, params: Params) -> str:
    """A name that depends on the data and on all parameters but the number of trials and the time."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    digest.update(params.model_dump_json(exclude={"trials", "max_seconds", "seconds_per_100k_rows"}).encode())
    return f"two_tower-{digest.hexdigest()[:16]}"


def best_of(study: optuna.Study) -> dict[str, Any]:
    """What the stage leaves: best parameters, its value, the number of trials of each state."""
    states = [trial.state.name.lower() for trial in study.trials]
    return {
        "params": best_params(study),
        "valid_ndcg_at_20": study.best_value,
        "study": study.study_name,
        "trials": {state: states.count(state) for state in sorted(set(states))},
    }


def main() -> None:
    """Stage `tune_two_tower`."""
    from sqlalchemy.exc import OperationalError

    settings = get_settings()
    params, options = load_params("tune_two_tower", TuneParams), load_params("options", Options)
    base = load_params("train_two_tower", TwoTowerParams)
    name = study_name(SPLIT / "interactions.parquet", SPLIT / "works.parquet", params=params)
    try:
        storage = settings.postgres_dsn(settings.optuna_db, "postgresql+psycopg2")
        study = open_study(storage, name, params, base, options.seed)
        search(load_dataset(titles=TITLES), params, base, options, study)
    except OperationalError as error:
        raise TransientError(
            f"Optuna's Postgres does not answer at {settings.postgres_host}:{settings.postgres_port}",
            received=type(error.orig).__name__,
            todo="check `bookworks status postgres`.",
        ) from None
    best = best_of(study)
    write_json(TUNED, best)
    trials = {f"trials_{state}": count for state, count in best["trials"].items()}
    write_json(METRICS / "tune_two_tower.json", {"valid_ndcg_at_20": best["valid_ndcg_at_20"]} | trials)


if __name__ == "__main__":
    run(main)
