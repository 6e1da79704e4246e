"""Is the model that serves older than `retrain.interval_days`? `python -m training.due` says so, in one line.

The marts' changes start trainings by themselves; this is for when they do not change, or what was trained was refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import Field

from bookworks import clock
from bookworks.adapters import mlflow
from bookworks.cli.entry import run
from bookworks.contracts.bundle import CHAMPION
from bookworks.settings import PROJECT_ROOT, get_settings
from training.files import PARAMS
from training.params import Params, load_params

DUE, NOT_DUE = "due", "not due"


class RetrainParams(Params):
    """Section `retrain`."""

    interval_days: int = Field(14, ge=1, description="Age from which the champion is trained anew.")


def said(registered: datetime | None, now: datetime, params: RetrainParams) -> str:
    """`due: …` or `not due: …`; before the first champion the marts start the training."""
    if registered is None:
        return f"{NOT_DUE}: no model serves yet"
    age = now - registered
    word = DUE if age >= timedelta(days=params.interval_days) else NOT_DUE
    return f"{word}: the champion is {age.days} days old, a training is due after {params.interval_days}"


def main() -> None:
    """Print the answer about the present champion."""
    settings = get_settings()
    champion = mlflow.aliased(mlflow.connect(settings), settings, CHAMPION)
    registered = None if champion is None else datetime.fromtimestamp(champion.creation_timestamp / 1000, UTC)
    print(said(registered, clock.now(), load_params("retrain", RetrainParams, PROJECT_ROOT / PARAMS)))


if __name__ == "__main__":
    run(main)
