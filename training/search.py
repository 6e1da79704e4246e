"""A recommender's config by Optuna, on held-out training rows: resumable, pruned, parallel with a shared storage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna

from bookworks.metrics.ranking import find_hits, ndcg_at
from training.dataset import VALID, Dataset
from training.params import Options
from training.recommenders.all import model_class
from training.recommenders.blend import Asked, asked, sample
from training.studies import best_params, carry_on, open_study

K = 20
READERS = 5000  # held-out readers that judge a trial
STEPS = 4  # a trial may be given up after each quarter of them

Suggest = Callable[[optuna.Trial], dict[str, Any]]
SPACES: dict[str, Suggest] = {
    "item_knn": lambda t: {"k1": t.suggest_float("k1", 0.05, 2.0, log=True), "b": t.suggest_float("b", 0.0, 1.0),
                           "neighbours": t.suggest_int("neighbours", 10, 400, log=True)},
    "item_filter": lambda t: {"reader_power": t.suggest_float("reader_power", 0.0, 0.6),
                              "work_power": t.suggest_float("work_power", 0.0, 0.6)},
    "co_occurrence": lambda t: {"reader_power": t.suggest_float("reader_power", 0.0, 0.6),
                                "power": t.suggest_float("power", 0.2, 0.7)},
    "two_hop": lambda t: {"power": t.suggest_float("power", 0.0, 0.6),
                          "neighbours": t.suggest_int("neighbours", 10, 200, log=True)},
    "reader_knn": lambda t: {"reader_power": t.suggest_float("reader_power", 0.0, 0.7),
                             "work_power": t.suggest_float("work_power", 0.0, 0.7),
                             "sharpness": t.suggest_float("sharpness", 0.7, 3.0, log=True)},
    "ease": lambda t: {"regularization": t.suggest_float("regularization", 20.0, 2000.0, log=True)},
    "als": lambda t: {"factors": t.suggest_categorical("factors", [64, 128, 256]),
                      "alpha": t.suggest_float("alpha", 2.0, 200.0, log=True),
                      "regularization": t.suggest_float("regularization", 0.005, 5.0, log=True)},
    "same_author": lambda t: {"group_power": t.suggest_float("group_power", 0.0, 1.0),
                              "history_power": t.suggest_float("history_power", -0.5, 0.5),
                              "work_power": t.suggest_float("work_power", -0.5, 1.0)},
    "content_ease": lambda t: {"regularization": t.suggest_float("regularization", 20.0, 2000.0, log=True),
                               "author_id": t.suggest_float("author_id", 0.5, 32.0, log=True),
                               "publisher": t.suggest_float("publisher", 0.1, 8.0, log=True)},
    "title_text": lambda t: {"neighbours": t.suggest_int("neighbours", 20, 400, log=True),
                             "power": t.suggest_float("power", 1.0, 10.0, log=True)},
    "gnn": lambda t: {"learning_rate": t.suggest_float("learning_rate", 0.002, 0.05, log=True),
                      "temperature": t.suggest_float("temperature", 0.05, 0.4, log=True),
                      "layers": t.suggest_int("layers", 1, 3)},
    "two_tower": lambda t: {"learning_rate": t.suggest_float("learning_rate", 0.0005, 0.02, log=True),
                            "temperature": t.suggest_float("temperature", 0.03, 0.3, log=True)},
}  # fmt: skip


def tune(
    name: str, inner: Dataset, base: Mapping[str, Any], trials: int, options: Options, storage: str | None
) -> dict[str, Any]:
    """The best of `base` and `trials` configs by NDCG@20 on the part `valid` of `inner`.

    Args:
        name: of the model; one without a space to search keeps `base`.
        inner: a dataset with the parts train and valid.
        base: values that are not searched for; the first trial is as they are.
        trials: finished or pruned trials of the study; those found in the storage and those of other processes count.
        options: seed and threads.
        storage: address of Optuna's storage, or None for memory.
    """
    if name not in SPACES or trials < 1:
        return dict(base)
    judges = sample(asked(inner, VALID), READERS, options.seed)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    study = open_study(storage, study_name(name, inner, base), options.seed, _defaults(name, base), pruner)
    carry_on(study, lambda trial: _try(trial, name, inner, base, judges, options), trials)
    return dict(base) | best_params(study)


def _try(
    trial: optuna.Trial, name: str, inner: Dataset, base: Mapping[str, Any], judges: Asked, options: Options
) -> float:
    cls = model_class(name)
    model = cls.fit(inner, cls.Config(**(dict(base) | SPACES[name](trial))), options)
    values: list[np.ndarray] = []
    for step, rows in enumerate(np.array_split(np.arange(len(judges.batch)), STEPS)):
        some = judges.some(rows)
        works = model.recommend(some.batch, K, options.threads).works
        values.append(ndcg_at(find_hits(works, some.relevant, inner.n_works), some.n_relevant, K))
        trial.report(float(np.concatenate(values).mean()), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.concatenate(values).mean())


def _defaults(name: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """The searched values as they are without a search."""
    values = model_class(name).Config(**base).model_dump()
    recorded: dict[str, Any] = {}
    SPACES[name](_Names(recorded))  # type: ignore[arg-type]
    return {key: values[key] for key in recorded}


class _Names:
    """Stands for a trial to learn which values a space has."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def __getattr__(self, attribute: str) -> Callable[..., float]:
        def note(name: str, *values: Any, **options: Any) -> float:
            self._names[name] = values
            return 1.0

        return note


def study_name(name: str, inner: Dataset, base: Mapping[str, Any]) -> str:
    """A name that depends on the model, the data and the values that are not searched for."""
    digest = hashlib.sha256(repr(sorted(base.items())).encode())
    for column in ("reader", "work", "weight"):
        digest.update(np.ascontiguousarray(inner.interactions[column].to_numpy()).tobytes())
    return f"{name}-{digest.hexdigest()[:16]}"
