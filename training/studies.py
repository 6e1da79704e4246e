"""Optuna studies that several processes may search at once, and that go on where they stopped.

What a trial draws depends on the seed and the trial's number alone, which its storage gives once: a search that was
stopped and resumed tries what it would have tried at once, and no two processes draw the same.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import MaxTrialsCallback
from optuna.trial import FrozenTrial, TrialState

from bookworks.errors import TransientError

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
TAKEN = (*DONE, TrialState.RUNNING)
HEARTBEAT_S = 30  # a trial of a killed process holds its place for twice as long


class SeededByTrial(BaseSampler):
    """TPE, seeded anew for each trial; the first trial that does not fail gets `start`.

    Args:
        seed: of the whole search.
        start: the values to begin with.
    """

    def __init__(self, seed: int, start: Mapping[str, Any]) -> None:
        self._seed, self._start = seed, dict(start)
        self._samplers: dict[int, BaseSampler] = {}
        self._fixed: dict[int, dict[str, Any]] = {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Draw a trial's numbers from its own seed."""
        first = not any(other.number < trial.number for other in study.get_trials(deepcopy=False, states=TAKEN))
        state = np.random.SeedSequence((self._seed, trial.number)).generate_state(1)
        self._fixed[trial.number] = self._start if first else {}
        self._samplers[trial.number] = TPESampler(seed=int(state[0]))
        self._samplers[trial.number].before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As TPE does."""
        return self._samplers[trial.number].infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does."""
        return self._samplers[trial.number].sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As TPE does, from the trial's own seed, but for what is fixed."""
        fixed = self._fixed[trial.number]
        if param_name in fixed:
            return fixed[param_name]
        return self._samplers[trial.number].sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Let go of the trial's sampler."""
        self._fixed.pop(trial.number, None)
        if sampler := self._samplers.pop(trial.number, None):
            sampler.after_trial(study, trial, state, values)


def open_study(
    storage: str | None, name: str, seed: int, start: Mapping[str, Any], pruner: optuna.pruners.BasePruner
) -> optuna.Study:
    """The study called `name`, new or as it was left; it maximizes, and begins with `start`."""
    return optuna.create_study(
        storage=None if storage is None else _kept(storage),
        study_name=name,
        direction="maximize",
        sampler=SeededByTrial(seed, start),
        pruner=pruner,
        load_if_exists=True,
    )


def _kept(storage: str) -> optuna.storages.RDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(storage, heartbeat_interval=HEARTBEAT_S)


def carry_on(
    study: optuna.Study, objective: Callable[[optuna.Trial], float], trials: int, timeout_s: float | None = None
) -> None:
    """Bring the study up to `trials` finished or pruned trials, those of other processes counted.

    A process ends when all are done or in somebody's hand.

    Args:
        study: of `open_study`.
        objective: of one trial.
        trials: of the whole study.
        timeout_s: no trial of this process begins after so many seconds.
    """

    def wanted(trial: optuna.Trial) -> float:
        earlier = study.get_trials(deepcopy=False, states=TAKEN)
        if sum(other.number < trial.number for other in earlier) < trials:
            return objective(trial)
        study.stop()
        return math.nan  # fails, so it does not count: others took the last trials just before

    if len(finished(study)) < trials:
        study.optimize(wanted, timeout=timeout_s, callbacks=[MaxTrialsCallback(trials, states=TAKEN)])


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that count."""
    return study.get_trials(deepcopy=False, states=DONE)


def best_params(study: optuna.Study) -> dict[str, Any]:
    """Values of the best trial.

    Raises:
        TransientError: none has finished; other processes have all of them in hand.
    """
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise TransientError(
            "No trial of the search has finished",
            received=f"{len(study.trials)} trials of {study.study_name}",
            todo="wait until the other processes have finished one, then repeat.",
        )
    return study.best_params
