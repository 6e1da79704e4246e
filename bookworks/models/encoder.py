"""The reader's side of the two-tower model, as ONNX: (user_index, age_bin, country_index, history) to a vector.

The history comes in as one vector: the sum of its works' rows in a table of their own, weighted by liking, over the
root of the sum of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags_array

from bookworks.errors import BundleError
from bookworks.models.onnx import opened

UNKNOWN = 0  # index of a reader, an age bin or a country that training did not see
Floats = npt.NDArray[np.float32]
INDICES, HISTORY = ("user_index", "age_bin", "country_index"), "history"
INPUTS = (*INDICES, HISTORY)
OUTPUT = "vector"


@dataclass(frozen=True)
class Vocabulary:
    """Labels of the encoder's inputs; index 0 of each means unknown."""

    age_bins: Mapping[str, int]
    countries: Mapping[str, int]

    @classmethod
    def from_lists(cls, age_bins: list[str], countries: list[str]) -> Vocabulary:
        """Labels in index order, from 1."""
        return cls({a: i for i, a in enumerate(age_bins, 1)}, {c: i for i, c in enumerate(countries, 1)})

    def age_index(self, label: str | None) -> int:
        """Index of an age bin."""
        return self.age_bins.get(label or "", UNKNOWN)

    def country_index(self, label: str | None) -> int:
        """Index of a country."""
        return self.countries.get(label or "", UNKNOWN)


class UserEncoder:
    """Runs the encoder on one thread; the session is shared, a call takes tens of microseconds.

    Attributes:
        history_vectors: what a work says of a reader who read it, float32 [n_works, history_dim].
    """

    def __init__(self, graph: Path | bytes, history_vectors: Floats, dim: int) -> None:
        self._session = opened(graph, "encoder")
        self.history_vectors = history_vectors
        self._check(dim)

    def _check(self, dim: int) -> None:
        inputs = self._session.get_inputs()
        names = tuple(i.name for i in inputs)
        if names != INPUTS:
            raise BundleError("The bundle's encoder takes other inputs", received=names, allowed=str(INPUTS))
        wanted = inputs[-1].shape[-1]
        if self.history_vectors.ndim != 2 or self.history_vectors.shape[1] != wanted:
            raise BundleError(
                "Encoder and history vectors do not fit together",
                received=f"history vectors {self.history_vectors.shape}",
                allowed=f"(n_works, {wanted})",
            )
        shape = self.encode([UNKNOWN], [UNKNOWN], [UNKNOWN], self.bag([], [])[None]).shape
        if shape != (1, dim):
            raise BundleError(
                "Encoder and item vectors do not fit together",
                received=f"encoder output {shape}",
                allowed=f"(1, {dim})",
            )

    def bag(self, history: Sequence[int], weights: Sequence[float]) -> Floats:
        """A history as one vector, float32 [history_dim]; zeros for an empty one."""
        liking = np.asarray(weights, dtype=np.float32)
        total = liking @ self.history_vectors[np.asarray(history, dtype=np.int64)]
        bag: Floats = total / np.sqrt(max(liking.sum(), np.float32(1e-12)))
        return bag

    def bags(self, histories: csr_matrix) -> Floats:
        """Histories [n, n_works] as one vector each, float32 [n, history_dim]."""
        totals = np.asarray(histories.sum(axis=1)).ravel()
        scale = np.maximum(totals, 1e-12) ** -0.5
        return np.asarray(diags_array(scale) @ (histories @ self.history_vectors), dtype=np.float32)

    def encode(
        self, user_index: Sequence[int], age_bin: Sequence[int], country_index: Sequence[int], bags: Floats
    ) -> Floats:
        """Vectors of length 1, float32 [batch, dim]."""
        indices = zip(INDICES, (user_index, age_bin, country_index), strict=True)
        feed = {name: np.asarray(values, dtype=np.int64) for name, values in indices}
        out: Floats = self._session.run([OUTPUT], feed | {HISTORY: bags})[0]
        return out
