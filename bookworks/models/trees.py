"""Gradient-boosted trees as they serve: scores by `Forest`, contributions through LightGBM's C interface.

LightGBM's Python package brings pandas and scikit-learn into a process; its library needs neither.
Source: Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NIPS 2017.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bookworks.errors import BundleError
from bookworks.models.forest import Forest

Floats = npt.NDArray[np.float32]
_FLOAT32, _RAW_SCORE, _CONTRIBUTIONS = 0, 1, 3  # C_API_DTYPE_FLOAT32, C_API_PREDICT_RAW_SCORE, C_API_PREDICT_CONTRIB
BASE, NEW_WORK = "base", "new_work"  # what is added beside the features
PROBED, MISSING, SAME = 512, 0.2, 1e-4  # made-up rows, on which both ways to score agree to a relative 1e-4
_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)
_HEAD, _NAMES = "tree\n", "feature_names="
_SPLITS = re.compile(r"^split_feature=(.+)\n(?:.+\n)*?threshold=(.+)$", re.MULTILINE)  # of each tree


@cache
def _library() -> ctypes.CDLL:
    spec = find_spec("lightgbm")
    places = [Path(place) / "lib" for place in (spec.submodule_search_locations if spec else None) or ()]
    found = [file for place in places for file in sorted(place.glob("lib_lightgbm.*"))]
    if not found:
        raise BundleError("The trees need LightGBM", received="no lib_lightgbm", todo="install the package lightgbm.")
    library = ctypes.CDLL(str(found[0]))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _call(name: str, *arguments: Any) -> None:
    if getattr(_library(), name)(*arguments):
        raise BundleError("LightGBM refuses the trees", received=_library().LGBM_GetLastError().decode())


class Booster:
    """One LightGBM model; any number of threads may ask it at a time.

    Attributes:
        text: the model as LightGBM writes it.
        names: of its features.
    """

    def __init__(self, text: str) -> None:
        self._handle = ctypes.c_void_p()
        if not text.startswith(_HEAD):
            raise BundleError(
                "That is no model of LightGBM", received=text[:20], allowed=f"a text with {_HEAD!r} first"
            )
        self.text = text
        line = next((line for line in text.splitlines() if line.startswith(_NAMES)), _NAMES)
        self.names = line.removeprefix(_NAMES).split()
        text = _SIZES.sub("", text)  # with them LightGBM reads in parallel, and a damaged text ends the process
        rounds = ctypes.c_int()
        _call("LGBM_BoosterLoadModelFromString", text.encode(), ctypes.byref(rounds), ctypes.byref(self._handle))
        self.rounds = rounds.value

    def __del__(self) -> None:
        """Free LightGBM's memory."""
        if self._handle:
            _library().LGBM_BoosterFree(self._handle)

    def scores(self, rows: Floats, threads: int = 1) -> npt.NDArray[np.float64]:
        """The sum over the trees, before any link, of features float32 [n, n_features], [n]; 0 threads: all cores."""
        return self._predict(rows, _RAW_SCORE, 1, threads)[:, 0]

    def contributions(self, rows: Floats) -> npt.NDArray[np.float64]:
        """What each feature, and last the base, adds to the sum, [n, n_features + 1].

        Source: Lundberg et al., "Consistent Individualized Feature Attribution for Tree Ensembles", 2018.
        """
        return self._predict(rows, _CONTRIBUTIONS, len(self.names) + 1, 1)

    def _predict(self, rows: Floats, kind: int, width: int, threads: int) -> npt.NDArray[np.float64]:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        n, columns = rows.shape
        out = np.zeros((n, width))
        if n:
            _call(
                "LGBM_BoosterPredictForMat", self._handle, rows.ctypes.data_as(ctypes.c_void_p), _FLOAT32,
                ctypes.c_int32(n), ctypes.c_int32(columns), 1, kind, 0, -1, f"num_threads={threads}".encode(),
                ctypes.byref(ctypes.c_int64()), out.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            )  # fmt: skip
        return out


class Explained(NamedTuple):
    """One work of a list.

    Attributes:
        probability: that it is among the works held out of such a reader's rows, without the bonus of new works.
        contributions: feature -> what it adds to the score; with `base` and `new_work` they sum to it (Lundberg et
            al. 2018).
    """

    probability: float
    contributions: dict[str, float]


@dataclass(frozen=True)
class Trees:
    """What puts candidates in order.

    Attributes:
        boosters: of the same features and objective; the mean of their scores counts.
        new_bonus: added to the score of a work without readers.
        slope, intercept: of the logistic function that makes a score a probability (Platt 1999).
    """

    boosters: tuple[Booster, ...]
    new_bonus: float = 0.0
    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        """Read the trees, and check that they then say the same as LightGBM.

        Raises:
            BundleError: they do not, cannot be read, or there are none.
        """
        if not self.boosters:
            raise BundleError("A ranker needs trees", received="no booster", allowed="at least one")
        rows = _probes(self.boosters)
        expected = np.mean([booster.scores(rows) for booster in self.boosters], axis=0)
        apart = float(np.abs(self.scores(rows) - expected).max())
        if not apart <= SAME * max(1.0, float(np.abs(expected).max())):
            raise BundleError("The trees are read as something else than LightGBM reads them", received=apart)

    @cached_property
    def _forest(self) -> Forest:
        return Forest.of([booster.text for booster in self.boosters], len(self.names))

    @property
    def names(self) -> list[str]:
        """Of the features."""
        return self.boosters[0].names

    @property
    def constants(self) -> dict[str, float]:
        """All but the boosters."""
        return {"new_bonus": self.new_bonus, "slope": self.slope, "intercept": self.intercept}

    def scores(self, rows: Floats) -> Floats:
        """Of features, float32 [..., n_features]: the sum over the trees, without bonus and before any link, [...].

        Raises:
            BundleError: these are not the features of the trees.
        """
        return self._forest.scores(rows.reshape(-1, rows.shape[-1])).reshape(rows.shape[:-1])

    def contributions(self, rows: Floats) -> npt.NDArray[np.float64]:
        """What each feature, and last the base, adds to the score of a work, [n, n_features + 1]."""
        found: npt.NDArray[np.float64] = np.mean([booster.contributions(rows) for booster in self.boosters], axis=0)
        return found

    def explained(self, rows: Floats, new: npt.NDArray[np.bool_]) -> list[Explained]:
        """Of each work its probability, and what every feature adds to its score.

        Args:
            rows: features of the works, float32 [n, n_features].
            new: works without readers, [n].
        """
        added = self.contributions(rows)
        lines = np.column_stack([added, np.where(new, self.new_bonus, 0.0)]).tolist()
        names = [*self.names, BASE, NEW_WORK]
        chances = self.probabilities(added.sum(axis=1)).tolist()
        pairs = zip(chances, lines, strict=True)
        return [Explained(chance, dict(zip(names, line, strict=True))) for chance, line in pairs]

    def probabilities(self, scores: Floats) -> Floats:
        """How likely each work is among those that were held out of the reader's rows, from `scores`."""
        return logistic(scores, self.slope, self.intercept)


def _probes(boosters: tuple[Booster, ...]) -> Floats:
    """Rows whose values are thresholds of the trees, some of them missing, float32 [PROBED, n_features]."""
    rng, thresholds = np.random.default_rng(0), dict[int, list[float]]()
    for features, values in (split for booster in boosters for split in _SPLITS.findall(booster.text)):
        for feature, value in zip(features.split(), values.split(), strict=True):
            thresholds.setdefault(int(feature), []).append(float(value))
    rows = rng.normal(size=(PROBED, len(boosters[0].names)))
    for feature, of_feature in thresholds.items():
        rows[:, feature] = rng.choice(np.clip(of_feature, -1e30, 1e30), PROBED)
    rows[np.abs(rows) < 1e-30] = 0.0  # what LightGBM takes them for
    rows[rng.random(rows.shape) < MISSING] = np.nan
    return rows.astype(np.float32)


def logistic(scores: Floats, slope: float, intercept: float) -> Floats:
    """1 / (1 + exp(-(slope * scores + intercept)))."""
    return np.asarray(1.0 / (1.0 + np.exp(-(slope * scores + intercept))), dtype=np.float32)
