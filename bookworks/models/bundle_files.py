"""The files of a bundle: written once with their hashes, read back with every check."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError
from scipy.sparse import csr_matrix, load_npz

from bookworks.contracts import bundle as names
from bookworks.contracts.bundle import Manifest, Part
from bookworks.errors import BundleError
from bookworks.models.encoder import UserEncoder, Vocabulary
from bookworks.models.item_item import ItemItem
from bookworks.models.popularity import Popularity
from bookworks.models.reader import TIERS
from bookworks.models.trees import Booster, Trees
from bookworks.models.work_facts import WorkFacts

Floats = npt.NDArray[np.float32]
ITEM_FILTER = "item_filter"
VECTORS, TASTES, POPULARITY = "vectors", "tastes", "popularity"  # sources beside the item-item models


@dataclass(frozen=True)
class Ranker:
    """Trees that put the first `candidates` of the blend in order."""

    trees: Trees
    candidates: int


@dataclass(frozen=True)
class BundleContent:
    """What a bundle is written from.

    Attributes:
        works: row i is work index i; needs `work_id`; `former_ids` (of works that were merged into it), `title`,
            `author`, `author_id`, `subjects`, … as in the mart.
        editions: `edition_id`, `isbn13` (may be null), `work_id`.
        users: `user_id`, `user_index` (from 1).
        item_vectors: float32 [n_works, dim], rows of length 1.
        history_vectors: float32 [n_works, history_dim], what the encoder's history is summed from.
        user_encoder: serialised ONNX graph.
        item_item: name -> S [n_works, n_works]; `item_filter` is one of them.
        facts: of the works.
        popularity: {"global": […], "age_bin": {…}, "country": {…}, "weights": {…}}.
        features: {"age_bins": […], "countries": […]}, labels in index order from 1.
        blend: {"tiers": {tier: {source: weight}}, "history_share": {"warm": …, "session": …},
            "named": {length of the history: weight of named tastes}}.
        ranker: what orders the blend's candidates; None where the blend alone ranks better.
        rules: {"max_per_author": 0 for no limit}.
    """

    works: pa.Table
    editions: pa.Table
    users: pa.Table
    item_vectors: Floats
    history_vectors: Floats
    user_encoder: bytes
    item_item: Mapping[str, csr_matrix]
    facts: WorkFacts
    popularity: Mapping[str, Any]
    features: Mapping[str, Any]
    blend: Mapping[str, Any]
    ranker: Ranker | None
    rules: Mapping[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where a bundle comes from; goes into its manifest."""

    git_commit: str
    data_version: str
    snapshot_id: str
    mlflow_run_id: str


@dataclass(frozen=True)
class BundleParts:
    """The parts as `Bundle` uses them."""

    works: pa.Table
    former_ids: list[list[str]]
    editions: dict[str, str]
    users: dict[str, int]
    item_vectors: Floats
    vocabulary: Vocabulary
    encoder: UserEncoder
    item_item: dict[str, ItemItem]
    facts: WorkFacts
    popularity: Popularity
    features: dict[str, Any]
    blend: dict[str, Any]
    ranker: Ranker | None
    rules: dict[str, Any]


def write_bundle(
    parent: Path, content: BundleContent, origin: Origin, metrics: Mapping[str, float], now: datetime | None = None
) -> Path:
    """Write `parent/<version>/`, manifest last, and return it.

    The version is `YYYYMMDD-HHMMSS-<8 hex digits of the content>`.

    Raises:
        BundleError: a bundle of that version is there already.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    draft = parent / f".draft-{now:%Y%m%d-%H%M%S}"
    draft.mkdir(parents=True)
    _write_files(draft, content)
    parts = {path.name: _part(path) for path in sorted(draft.iterdir())}
    digest = hashlib.sha256("".join(part.sha256 for part in parts.values()).encode()).hexdigest()
    version = f"{now:%Y%m%d-%H%M%S}-{digest[:8]}"
    manifest = Manifest(
        version=version,
        created_at=now,
        git_commit=origin.git_commit,
        data_version=origin.data_version,
        snapshot_id=origin.snapshot_id,
        mlflow_run_id=origin.mlflow_run_id,
        n_works=content.works.num_rows,
        n_users=content.users.num_rows,
        embedding_dim=int(content.item_vectors.shape[1]),
        metrics=dict(metrics),
        parts=parts,
    )
    (draft / names.MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    folder = parent / version
    if folder.exists():
        raise BundleError("A bundle is never written twice", received=version)
    return draft.rename(folder)


def _write_files(folder: Path, content: BundleContent) -> None:
    pq.write_table(content.works, folder / names.WORKS)
    pq.write_table(content.editions, folder / names.EDITIONS)
    pq.write_table(content.users, folder / names.USERS)
    np.save(folder / names.ITEM_VECTORS, np.ascontiguousarray(content.item_vectors, dtype=np.float32))
    np.save(folder / names.HISTORY_VECTORS, np.ascontiguousarray(content.history_vectors, dtype=np.float32))
    (folder / names.USER_ENCODER).write_bytes(content.user_encoder)
    for name, matrix in content.item_item.items():
        arrays = (matrix.data.astype(np.float32), matrix.indices, matrix.indptr)
        for part, array in zip(names.item_item_parts(name), arrays, strict=True):
            np.save(folder / part, array)
    content.facts.save(folder / names.FACTS)
    write_ranker(folder, content.ranker)
    for name, value in (
        (names.POPULARITY, content.popularity),
        (names.FEATURES, content.features),
        (names.BLEND, content.blend),
        (names.RULES, content.rules),
    ):
        (folder / name).write_text(json.dumps(value, sort_keys=True), encoding="utf-8")


def write_ranker(folder: Path, ranker: Ranker | None) -> None:
    """Write a ranker for `read_ranker`, or that there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {}
    if ranker is not None:
        boosters = ranker.trees.boosters
        for number, booster in enumerate(boosters):
            (folder / names.trees_part(number)).write_text(booster.text, encoding="utf-8")
        told = {"candidates": ranker.candidates, "boosters": len(boosters), "constants": ranker.trees.constants}
    (folder / names.RANKER).write_text(json.dumps(told, sort_keys=True), encoding="utf-8")


def read_ranker(folder: Path, listed: Container[str] | None = None) -> Ranker | None:
    """What `write_ranker` wrote.

    Args:
        folder: where it is.
        listed: the only files that may be read; None for any.

    Raises:
        BundleError: the trees cannot be read, or are not listed.
    """
    told = json.loads((folder / names.RANKER).read_text(encoding="utf-8"))
    if not told:
        return None
    files = [folder / names.trees_part(number) for number in range(told["boosters"])]
    for file in files:
        if listed is not None and file.name not in listed:
            raise BundleError("The bundle is incomplete", received=f"no {file.name} in its manifest")
    boosters = tuple(Booster(file.read_text(encoding="utf-8")) for file in files)
    return Ranker(Trees(boosters, **told["constants"]), int(told["candidates"]))


def read_parts(folder: Path) -> tuple[Manifest, BundleParts]:
    """Read every part, checking hashes, then that the parts fit together.

    Raises:
        BundleError: a part is missing, altered, or does not fit.
    """
    manifest = check_files(folder)
    try:
        parts = _open(folder, manifest)
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise BundleError("A part of the bundle cannot be read", received=f"{folder.name}: {error!r}") from error
    _check_together(manifest, parts)
    # The checks have looked at every page of the mapped arrays; mapped anew, only those that serve come into memory.
    return manifest, replace(parts, item_item=_item_item(folder, manifest))


def check_files(folder: Path) -> Manifest:
    """The manifest, when every file is there and as it was written; takes hardly any memory.

    Raises:
        BundleError: a part is missing or altered.
    """
    manifest = read_manifest(folder)
    required = names.OLDER_PARTS if manifest.format_version == names.ONE_MODEL else names.PARTS
    for name in {*required, *manifest.parts}:
        _check_part(folder, name, manifest.parts.get(name))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle's folder.

    Raises:
        BundleError: missing, not readable, or of another format version.
    """
    path = folder / names.MANIFEST
    if not path.is_file():
        raise BundleError("The bundle has no manifest", received=str(folder), todo="copy or download it whole, again.")
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BundleError("The bundle's manifest is not readable", received=error.errors()[0]["msg"]) from None
    formats = (names.ONE_MODEL, names.PACKED, names.FORMAT_VERSION)
    if manifest.format_version not in formats:
        raise BundleError(
            "The bundle has another format",
            received=manifest.format_version,
            allowed=" or ".join(map(str, formats)),
            todo="train a bundle with this version of bookworks.",
        )
    return manifest


def _open(folder: Path, manifest: Manifest) -> BundleParts:
    editions = pq.read_table(folder / names.EDITIONS)
    users = pq.read_table(folder / names.USERS)
    older = manifest.format_version == names.ONE_MODEL
    popularity, features, blend, rules = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in (names.POPULARITY, names.FEATURES, names.RANKER if older else names.BLEND, names.RULES)
    )
    item_item = _item_item(folder, manifest)
    for model in item_item.values():
        model.matrix.check_format(full_check=True)  # who walks the entries looks no more
    works = pq.read_table(folder / names.WORKS)
    history_vectors = np.load(folder / names.HISTORY_VECTORS, allow_pickle=False)
    return BundleParts(
        works=works,
        former_ids=_former_ids(works),
        editions=_edition_map(editions),
        users=dict(zip(users["user_id"].to_pylist(), users["user_index"].to_pylist(), strict=True)),
        item_vectors=np.load(folder / names.ITEM_VECTORS, allow_pickle=False),
        vocabulary=Vocabulary.from_lists(features["age_bins"], features["countries"]),
        encoder=UserEncoder(folder / names.USER_ENCODER, history_vectors, manifest.embedding_dim),
        item_item=item_item,
        facts=WorkFacts.nothing(manifest.n_works) if older else WorkFacts.load(folder / names.FACTS),
        popularity=Popularity(
            manifest.n_works,
            popularity["global"],
            popularity["age_bin"],
            popularity["country"],
            popularity["weights"],
        ),
        features=features,
        blend=blend,
        ranker=None if older else read_ranker(folder, manifest.parts),
        rules=rules,
    )


def _item_item(folder: Path, manifest: Manifest) -> dict[str, ItemItem]:
    """The item-item models by name, mapped from their files; those of older formats are read."""
    if manifest.format_version == names.ONE_MODEL:
        return {ITEM_FILTER: ItemItem(csr_matrix(load_npz(folder / names.OLDER_ITEM_FILTER)))}
    found = names.item_item_names(manifest.parts)
    if manifest.format_version == names.PACKED:
        return {name: ItemItem(csr_matrix(load_npz(folder / names.packed_part(name)))) for name in found}
    return {name: ItemItem(_mapped(folder, name, manifest.n_works)) for name in found}


def _mapped(folder: Path, name: str, n: int) -> csr_matrix:
    data, indices, indptr = (
        np.load(folder / part, mmap_mode="r", allow_pickle=False) for part in names.item_item_parts(name)
    )
    return csr_matrix((data, indices, indptr), shape=(n, n), copy=False)


def _former_ids(works: pa.Table) -> list[list[str]]:
    """Of each work; bundles from before the history of works have none."""
    if "former_ids" not in works.column_names:
        return [[]] * works.num_rows
    return [ids or [] for ids in works["former_ids"].to_pylist()]


def _edition_map(editions: pa.Table) -> dict[str, str]:
    works = editions["work_id"].to_pylist()
    by_isbn = dict(zip(editions["isbn13"].to_pylist(), works, strict=True))
    by_isbn.pop(None, None)
    return by_isbn | dict(zip(editions["edition_id"].to_pylist(), works, strict=True))


def _check_together(manifest: Manifest, parts: BundleParts) -> None:
    n, dim = manifest.n_works, manifest.embedding_dim
    work_ids = set(parts.works["work_id"].to_pylist())
    former = [old for ids in parts.former_ids for old in ids]
    listed = [parts.popularity.everyone, *parts.popularity.age_bin.values(), *parts.popularity.country.values()]
    checks = {
        f"{n} works, each once": parts.works.num_rows == n and len(work_ids) == n,
        f"{manifest.n_users} readers": len(parts.users) == manifest.n_users,
        f"item vectors float32 ({n}, {dim})": parts.item_vectors.shape == (n, dim)
        and parts.item_vectors.dtype == np.float32,
        "item vectors finite": bool(np.isfinite(parts.item_vectors).all()),
        f"history vectors float32 ({n}, …)": len(parts.encoder.history_vectors) == n
        and parts.encoder.history_vectors.dtype == np.float32,
        "history vectors finite": bool(np.isfinite(parts.encoder.history_vectors).all()),
        f"item-item models ({n}, {n}), {ITEM_FILTER} among them": ITEM_FILTER in parts.item_item
        and all(model.shape == (n, n) for model in parts.item_item.values()),
        "item-item models finite": all(np.isfinite(model.matrix.data).all() for model in parts.item_item.values()),
        f"facts of {n} works": parts.facts.fits(n),
        "a blend of known sources for every tier": _blend_fits(parts),
        "a ranker of one candidate or more, with finite constants": parts.ranker is None or _ranker_fits(parts.ranker),
        "popularity lists name works of the catalogue": all(((ranked >= 0) & (ranked < n)).all() for ranked in listed),
        "popularity ranks the whole catalogue": np.array_equal(np.sort(parts.popularity.everyone), np.arange(n)),
        "editions belong to works of the catalogue": set(parts.editions.values()) <= work_ids,
        "a former id leads to one work and is no work's own": len(work_ids.union(former)) == n + len(former),
    }
    wrong = [claim for claim, holds in checks.items() if not holds]
    if wrong:
        raise BundleError("The bundle's parts do not fit together", received=manifest.version, allowed="; ".join(wrong))


def _blend_fits(parts: BundleParts) -> bool:
    sources = {*parts.item_item, VECTORS, POPULARITY, TASTES}
    tiers = parts.blend.get("tiers", {})
    shares = parts.blend.get("history_share", {})
    named = parts.blend.get("named", {})
    weights = [*named.values(), *(weight for tier in tiers.values() for weight in tier.values())]
    return (
        set(TIERS) <= set(tiers)
        and all(set(tier) <= sources for tier in tiers.values())
        and {"warm", "session"} <= set(shares)
        and all(length.isdigit() for length in named)
        and all(np.isfinite(value) and value >= 0 for value in (*weights, *shares.values()))
    )


def _ranker_fits(ranker: Ranker) -> bool:
    constants = ranker.trees.constants.values()
    return ranker.candidates >= 1 and all(np.isfinite(value) for value in constants)


def _check_part(folder: Path, name: str, part: Part | None) -> None:
    path = folder / name
    if part is None or not path.is_file():
        raise BundleError("The bundle is incomplete", received=f"no {name}", todo="download or build it again.")
    if _part(path) != part:
        raise BundleError("A part of the bundle was altered", received=name, todo="download or build it again.")


def _part(path: Path) -> Part:
    with path.open("rb") as file:
        return Part(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)
