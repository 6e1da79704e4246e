"""A reader's encoder as ONNX, and vectors of works: the two-tower model as it serves. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from bookworks.models.encoder import UserEncoder, Vocabulary
from training.files import write_json
from training.recommenders.base import Batch, Floats, Recommender, read_values
from training.recommenders.vectors import summary_of

ENCODER, LABELS, WORKS, READ = "user_encoder.onnx", "features.json", "works.npy", "read.npy"


@dataclass(frozen=True)
class EncodedRecommender(Recommender):
    """Inner products of the encoder's vectors with those of the works; the history is one of the encoder's inputs.

    Attributes:
        works: vectors of works, rows of length 1 [n_works, dim].
        read: what a work says of a reader who read it [n_works, history_dim].
        graph: the encoder.
        labels: `age_bins` and `countries` in the order of the encoder's indices, from 1.
        history: of the training, a line an epoch; not saved.
    """

    works: Floats
    read: Floats
    graph: bytes
    labels: dict[str, list[str]]
    history: list[dict[str, float]] = field(default_factory=list)

    @cached_property
    def encoder(self) -> UserEncoder:
        """The encoder, ready to run."""
        return UserEncoder(self.graph, self.read, self.works.shape[1])

    def vectors(self, batch: Batch) -> Floats:
        """Vectors of readers, length 1, float32 [len(batch), dim]."""
        vocabulary = Vocabulary.from_lists(**self.labels)
        ages = [vocabulary.age_index(label) for label in batch.age_bins]
        countries = [vocabulary.country_index(label) for label in batch.countries]
        rows = (batch.rows + 1).tolist()  # of a reader without one 0, the encoder's unknown
        return self.encoder.encode(rows, ages, countries, self.encoder.bags(batch.histories))

    def scores(self, batch: Batch) -> Floats:
        """Inner products with every work."""
        return self.vectors(batch) @ self.works.T

    def summary(self) -> dict[str, Any]:
        """What came of the training, for the stage's metrics."""
        return summary_of(self.history)

    def save(self, folder: Path) -> None:
        """Write both tables, encoder and labels."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / WORKS, self.works)
        np.save(folder / READ, self.read)
        (folder / ENCODER).write_bytes(self.graph)
        write_json(folder / LABELS, self.labels)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read both tables, encoder and labels."""
        works, read = (np.load(folder / name) for name in (WORKS, READ))
        return cls(works, read, (folder / ENCODER).read_bytes(), read_values(folder / LABELS))
