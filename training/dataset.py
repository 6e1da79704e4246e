"""What the models learn from: readers and works as row numbers, likings as sparse matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from training.files import SPLIT

TRAIN, VALID, TEST = "train", "valid", "test"


@dataclass(frozen=True)
class Dataset:
    """The split, in memory.

    Attributes:
        works: row i is work index i; needs `work_id`.
        readers: row r is reader r; `user_id`, `age_bin`, `country`. The first `n_trained` have training rows.
        interactions: `reader`, `work` (row numbers), `weight`, `part`, oldest first for each reader; `occurred_at`
            where times are known.
        n_trained: readers with at least one training row; the encoder's index of reader r is r + 1.
        titles: embedding of each work's title, rows of length 1, float16 [n_works, dim]; None where there are none.
    """

    works: pa.Table
    readers: pa.Table
    interactions: pa.Table
    n_trained: int
    titles: npt.NDArray[np.float16] | None = None

    @property
    def n_works(self) -> int:
        """Works in the catalogue."""
        return int(self.works.num_rows)

    @property
    def n_readers(self) -> int:
        """Readers with any interaction."""
        return int(self.readers.num_rows)

    def matrix(self, *parts: str) -> sparse.csr_matrix:
        """Likings of these parts, float32 [n_readers, n_works]."""
        rows = self.rows(*parts)
        values = rows["weight"].to_numpy().astype(np.float32)
        where = (rows["reader"].to_numpy(), rows["work"].to_numpy())
        return sparse.csr_matrix((values, where), shape=(self.n_readers, self.n_works))

    def train(self) -> sparse.csr_matrix:
        """Training likings of the trained readers, float32 [n_trained, n_works]."""
        return self.matrix(TRAIN)[: self.n_trained]

    def histories(self, readers: npt.NDArray[np.int64], *parts: str) -> list[tuple[list[int], list[float]]]:
        """(work indices, weights) of each reader in these parts, oldest first."""
        rows = self.rows(*parts)
        owner = rows["reader"].to_numpy()
        order = np.argsort(owner, kind="stable")
        works, weights = rows["work"].to_numpy()[order], rows["weight"].to_numpy()[order]
        start = np.searchsorted(owner[order], readers, side="left")
        end = np.searchsorted(owner[order], readers, side="right")
        return [(works[a:b].tolist(), weights[a:b].tolist()) for a, b in zip(start, end, strict=True)]

    def labels(self, column: str) -> list[str | None]:
        """A reader column (`age_bin`, `country`, `user_id`) as a list."""
        values: list[str | None] = self.readers[column].to_pylist()
        return values

    def replaced(self, interactions: pa.Table) -> Dataset:
        """The same works and readers with other interactions."""
        return replace(self, interactions=interactions)

    def merged(self, part: str, into: str) -> Dataset:
        """The same with the rows of one part counted as another."""
        parts = self.interactions["part"].to_numpy(zero_copy_only=False).astype(str)
        column = pa.array(np.where(parts == part, into, parts))
        return self.replaced(self.interactions.set_column(self.interactions.column_names.index("part"), "part", column))

    def known(self) -> Dataset:
        """Training and validation rows of all readers as training rows."""
        return replace(self.merged(VALID, TRAIN), n_trained=self.n_readers)

    def rows(self, *parts: str) -> pa.Table:
        """Interactions of these parts."""
        wanted = np.isin(self.interactions["part"].to_numpy(zero_copy_only=False).astype(str), parts)
        return self.interactions.filter(pa.array(wanted))


def load_dataset(folder: Path = SPLIT, titles: Path | None = None) -> Dataset:
    """The dataset that stage `split` wrote, with the embeddings in the file `titles`."""
    readers = pq.read_table(folder / "readers.parquet")
    return Dataset(
        works=pq.read_table(folder / "works.parquet"),
        readers=readers,
        interactions=pq.read_table(folder / "interactions.parquet"),
        n_trained=int(np.count_nonzero(readers["trained"].to_numpy(zero_copy_only=False))),
        titles=None if titles is None else np.load(titles),
    )
