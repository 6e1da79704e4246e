"""The reader's side of the two-tower model, as ONNX: (user_index, age_bin, country_index) to a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from bookworks.errors import BundleError

UNKNOWN = 0  # index of a reader, an age bin or a country that training did not see
Floats = npt.NDArray[np.float32]
INPUTS = ("user_index", "age_bin", "country_index")
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


class UserEncoder:
    """Runs the encoder on one thread; the session is shared, a call takes tens of microseconds."""

    def __init__(self, path: Path, dim: int) -> None:
        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises several unrelated types
            raise BundleError("The bundle's encoder cannot be loaded", received=error) from error
        names = tuple(i.name for i in self._session.get_inputs())
        if names != INPUTS:
            raise BundleError("The bundle's encoder takes other inputs", received=names, allowed=str(INPUTS))
        shape = self.encode([UNKNOWN], [UNKNOWN], [UNKNOWN]).shape
        if shape != (1, dim):
            raise BundleError(
                "Encoder and item vectors do not fit together",
                received=f"encoder output {shape}",
                allowed=f"(1, {dim})",
            )

    def encode(self, user_index: list[int], age_bin: list[int], country_index: list[int]) -> Floats:
        """Vectors of length 1, float32 [batch, dim]."""
        feed = {
            name: np.asarray(values, dtype=np.int64)
            for name, values in zip(INPUTS, (user_index, age_bin, country_index), strict=True)
        }
        out: Floats = self._session.run([OUTPUT], feed)[0]
        return out
