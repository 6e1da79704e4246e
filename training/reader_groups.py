"""Parts of the test readers that the gate and the comparison look at: by history, and by what the bundle knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.held_out import SLICES, HeldOut
from training.measuring import HISTORY

Rows = npt.NDArray[np.int64]


def groups_of(tests: HeldOut) -> dict[str, Rows]:
    """Name of each part that has readers -> their rows."""
    length = np.array([len(state.history) for state in tests.states], dtype=np.int64)
    found = {kind: np.flatnonzero(tests.slices == kind) for kind in SLICES if kind != "all"}
    for low, high in HISTORY:
        within = (length >= low) & (length <= (high if high is not None else length.max(initial=0)))
        found[_name(low, high)] = np.flatnonzero(within)
    return {name: rows for name, rows in found.items() if rows.size}


def _name(low: int, high: int | None) -> str:
    if high is None:
        return f"history of {low} and more"
    return f"history of {low}" if low == high else f"history of {low} to {high}"
