"""A bundle of any size with made-up works, to measure speed on; its lists mean nothing.

Popularity falls as in real catalogues, matrices are as full as trained ones, vectors stand in clusters.
Run: `python -m training.synthetic_bundle --works 270000 FOLDER`
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import typer
from scipy import sparse

from bookworks.cli.entry import run
from bookworks.models.bundle_files import BundleContent, Origin, Ranker, write_bundle
from bookworks.models.reader import ReaderState
from bookworks.models.trees import Booster, Trees
from bookworks.models.work_facts import WorkFacts
from training.assemble import drafted
from training.export_onnx import EncoderWeights, encoder_to_onnx

DIM, READERS, CLUSTERS = 64, 1000, 400
ENTRIES = {"item_filter": 100, "content_ease": 100, "title_text": 50}  # of each work
WARM = {
    "item_filter": 1.0, "content_ease": 0.5, "same_author": 0.3, "title_text": 0.2, "vectors": 0.5, "popularity": 0.2,
}  # fmt: skip
TREES, LEAVES, TAUGHT = 150, 7, 60
ORIGIN = Origin("0" * 40, "synthetic", "synthetic", "")
Ints = npt.NDArray[np.int64]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class World:
    """Draws of works, the popular ones more often."""

    def __init__(self, n_works: int, seed: int) -> None:
        self.n_works, self.rng = n_works, np.random.default_rng(seed)
        self.popularity = 1.0 / np.arange(1, n_works + 1) ** 0.8
        self._drawn_to = np.cumsum(self.popularity) / self.popularity.sum()

    def drawn(self, n: int) -> Ints:
        """`n` works, some of them repeatedly."""
        return np.searchsorted(self._drawn_to, self.rng.random(n))

    def matrix(self, entries: int) -> sparse.csr_matrix:
        """As many entries of each work, [n_works, n_works]."""
        owners = np.repeat(np.arange(self.n_works, dtype=np.int32), entries)
        columns = self.drawn(owners.size).astype(np.int32)
        values = self.rng.random(owners.size, dtype=np.float32)
        return sparse.csr_matrix((values, (owners, columns)), shape=(self.n_works, self.n_works))

    def clustered(self, n: int, centres: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Unit vectors, each near one of the centres, [n, dim]."""
        noise = self.rng.normal(size=(n, centres.shape[1]))
        vectors = centres[self.rng.integers(0, len(centres), n)] + 0.6 * noise
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def content(n_works: int, seed: int) -> BundleContent:
    """The parts of a bundle, without a ranker."""
    world = World(n_works, seed)
    author = world.rng.integers(0, max(n_works // 4, 1), n_works)
    series = np.where(world.rng.random(n_works) < 0.2, world.rng.integers(0, max(n_works // 20, 1), n_works), -1)
    number = np.where(series >= 0, world.rng.integers(1, 6, n_works).astype(np.float64), np.nan)
    year = world.rng.integers(1950, 2026, n_works)
    centres = world.rng.normal(size=(CLUSTERS, DIM))
    vectors = world.clustered(n_works, centres)
    readers = (1e5 * world.popularity).astype(np.float32)
    place = number.astype(np.float32)
    groups = {"author_id": author + 1, "series_id": series + 1, "publisher": np.arange(n_works) % 2000 + 1,
              "language": np.arange(n_works) % 5 + 1}  # fmt: skip
    works = pa.table(
        {
            "work_id": [f"w{i:07d}" for i in range(n_works)],
            "title": [f"Title {i}" for i in range(n_works)],
            "author": [f"Author {a}" for a in author],
            "author_id": [f"a{a}" for a in author],
            "series": [f"Series {s}" if s >= 0 else None for s in series],
            "series_id": [f"s{s}" if s >= 0 else None for s in series],
            "series_number": pa.array(number, from_pandas=True),
            "publisher": [f"House {i % 2000}" for i in range(n_works)],
            "year": pa.array(year, pa.int32()),
            "language": [("eng", "fre", "ger", "spa", "ita")[i % 5] for i in range(n_works)],
            "subjects": [[f"subject {i % 50}"] for i in range(n_works)],
            "image_url": pa.nulls(n_works, pa.string()),
        }
    )
    return BundleContent(
        works=works,
        editions=pa.table(
            {"edition_id": [f"e{i:07d}" for i in range(n_works)], "isbn13": pa.nulls(n_works, pa.string()),
             "work_id": works["work_id"]}
        ),
        users=pa.table({"user_id": [f"r{i}" for i in range(READERS)], "user_index": range(1, READERS + 1)}),
        item_vectors=vectors,
        history_vectors=vectors,
        user_encoder=encoder_to_onnx(_encoder(world, centres)),
        item_item={name: world.matrix(entries) for name, entries in ENTRIES.items()} | {"same_author": _same(author)},
        facts=WorkFacts(readers, year.astype(np.float32), place, groups, np.log1p(readers)),
        popularity={"global": list(range(n_works)), "age_bin": {}, "country": {},
                    "weights": {"global": 0.6, "age_bin": 0.15, "country": 0.25}},
        features={"age_bins": ["18-24", "25-34"], "countries": ["germany", "usa"]},
        blend={"tiers": {"warm": WARM, "session": WARM, "tastes": {"tastes": 1.0, "popularity": 0.3},
                         "cold": {"popularity": 1.0}}, "history_share": {"warm": 0.4, "session": 0.9}},
        ranker=None,
        rules={"max_per_author": 2},
    )  # fmt: skip


def _encoder(world: World, centres: npt.NDArray[np.float64]) -> EncoderWeights:
    """Readers near the centres; the deep part adds nothing."""
    wide = 2 * DIM + 4
    return EncoderWeights(
        reader=np.vstack([np.zeros((1, DIM), np.float32), world.clustered(READERS, centres)]),
        age=np.zeros((3, 2), np.float32), country=np.zeros((3, 2), np.float32),
        skip=np.vstack([np.eye(DIM), np.eye(DIM), np.zeros((4, DIM))]).astype(np.float32),
        hidden=np.zeros((wide, 2), np.float32), hidden_bias=np.zeros(2, np.float32),
        output=np.zeros((2, DIM), np.float32), output_bias=np.zeros(DIM, np.float32),
    )  # fmt: skip


def _same(group: Ints) -> sparse.csr_matrix:
    """1 for works of one group, [n_works, n_works]."""
    member = sparse.csr_matrix((np.ones(group.size, np.float32), (np.arange(group.size), group)))
    same = sparse.csr_matrix(member @ member.T)
    same.setdiag(0)
    same.eliminate_zeros()
    return same


def ranked(plain: BundleContent, candidates: int, seed: int) -> BundleContent:
    """The same with trees that were taught noise about the order of the blend."""
    world, bundle = World(plain.works.num_rows, seed + 1), drafted(plain)
    rows, read = [], []
    for reader in range(TAUGHT):
        found = bundle.candidates(ReaderState(f"r{reader}", np.unique(world.drawn(30)).tolist()), candidates)
        rows.append(found.rows)
        read.append(world.rng.random(len(found.works)) < 0.05 + 0.3 * (np.arange(len(found.works)) < 30))
    data = lgb.Dataset(np.concatenate(rows), np.concatenate(read), feature_name=bundle.feature_names)
    settings: dict[str, Any] = {"objective": "binary", "num_leaves": LEAVES, "verbose": -1, "seed": seed}
    booster = Booster(lgb.train(settings, data, TREES).model_to_string())
    return replace(plain, ranker=Ranker(Trees((booster,)), candidates))


@app.command()
def synthetic_bundle(
    folder: Annotated[Path, typer.Argument(help="Under which the bundle's own folder is made.")],
    works: Annotated[int, typer.Option(min=1000, help="Works of the catalogue.")] = 270_000,
    candidates: Annotated[int, typer.Option(min=0, help="That the ranker orders; 0 makes no ranker.")] = 500,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 42,
) -> None:
    """Write a bundle and print its folder."""
    plain = content(works, seed)
    folder.mkdir(parents=True, exist_ok=True)
    print(write_bundle(folder, ranked(plain, candidates, seed) if candidates else plain, ORIGIN, {}))


if __name__ == "__main__":
    run(app)
