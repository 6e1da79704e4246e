"""Simple and well-known ways to find works, to judge ours by: an exact key, titles alike within an author, Splink.

All three see the titles and names as ours does, taken apart by `records.parse_record`; so what differs is the
matching alone. For measurements of some hundred thousand records, in one process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import JaroWinkler

from bookworks.errors import TerminalError
from spark_jobs.works.aliases import load_aliases
from spark_jobs.works.linkage import joined
from spark_jobs.works.persons import Aliases, names_are_inverted
from spark_jobs.works.records import FIELDS, parse_record

ALIKE = 0.92  # least Jaro-Winkler similarity of two main titles
LARGEST_BLOCK = 2000
SPLINK_THRESHOLDS = (0.5, 0.9, 0.99, 0.999, 0.9999)
Record = dict[str, Any]
Works = dict[str, str]


def parse(rows: Iterable[tuple[str | None, ...]]) -> list[Record]:
    """Rows of `records.FIELDS`, taken apart; of several with one id the last."""
    editions = {row[0]: dict(zip(FIELDS, row, strict=True)) for row in rows}.values()
    inverted = sum(names_are_inverted(edition["author"]) for edition in editions) > 0
    aliases = Aliases(load_aliases())
    return [parse_record(edition, inverted, aliases) for edition in editions]


def exact_key(records: list[Record]) -> Works:
    """One work for each main title and surname; a record without either is alone."""
    return {
        one["edition_id"]: f"{one['main']}|{one['surname']}" if one["main"] and one["surname"] else one["edition_id"]
        for one in records
    }


def titles_alike(records: list[Record]) -> Works:
    """Main titles that are alike, within a surname and first initial; what is tied, also over others, is one work."""
    blocks: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, one in enumerate(records):
        if one["main"] and one["surname"]:
            blocks[one["surname"], one["given"][:1]].append(at)
    return _joined([one["edition_id"] for one in records], _alike(records, blocks.values()))


def _alike(records: list[Record], blocks: Iterable[list[int]]) -> Iterator[tuple[int, int]]:
    for block in blocks:
        first: dict[str, int] = {}
        for at in block:
            yield first.setdefault(records[at]["main"], at), at
        titles = sorted(first)
        for start in range(0, len(titles), LARGEST_BLOCK):
            part = titles[start : start + LARGEST_BLOCK]
            close = process.cdist(part, part, scorer=JaroWinkler.similarity, score_cutoff=ALIKE)
            yield from ((first[part[a]], first[part[b]]) for a, b in zip(*np.nonzero(close), strict=True))


def _joined(ids: list[str], edges: Iterable[tuple[int, int]]) -> Works:
    a, b = np.array(list(edges), dtype=np.int64).reshape(-1, 2).T
    return {one: ids[first] for one, first in zip(ids, joined(len(ids), a, b), strict=True)} if ids else {}


def splink(records: list[Record]) -> Iterator[tuple[float, Works]]:
    """Works by Splink on DuckDB at each of `SPLINK_THRESHOLDS`, its parameters estimated from the records themselves.

    Source: Fellegi and Sunter (1969), as in Splink's documentation: u from random pairs, m by expectation
    maximisation, blocked on the title and on the author in turn; connected components.

    Raises:
        TerminalError: Splink is not installed; bookworks itself does not use it.
    """
    try:
        import duckdb
        from splink import DuckDBAPI, Linker, SettingsCreator, block_on
        from splink import comparison_library as cl
    except ImportError:
        raise TerminalError(
            "Splink is not installed", received="no package splink", todo="uv pip install 'splink>=5'."
        ) from None
    import pyarrow as pa

    texts = ("main", "subtitle", "surname", "given", "series", "series_number", "volume", "language")
    table = pa.table({name: [one[name] or None for one in records] for name in texts} | {
        "unique_id": [one["edition_id"] for one in records],
        "beginning": [one["main"][:6] or None for one in records],
    })  # fmt: skip
    api = DuckDBAPI(duckdb.connect())
    on_author, on_title = block_on("surname", "beginning"), block_on("main")
    settings = SettingsCreator(
        link_type="dedupe_only",
        blocking_rules_to_generate_predictions=[on_author, on_title],
        comparisons=[
            cl.JaroWinklerAtThresholds("main", [0.95, 0.88]).configure(term_frequency_adjustments=True),
            cl.JaroWinklerAtThresholds("subtitle", [0.88]),
            cl.JaroWinklerAtThresholds("surname", [0.92]).configure(term_frequency_adjustments=True),
            cl.JaroWinklerAtThresholds("given", [0.92]),
            cl.ExactMatch("series_number"), cl.ExactMatch("volume"), cl.ExactMatch("language"),
        ],
    )  # fmt: skip
    linker = Linker(api.register(table), settings, log_level=None)
    linker.training.estimate_probability_two_random_records_match([block_on("main", "surname")], recall=0.6)
    linker.training.estimate_u_using_random_sampling(max_pairs=2_000_000, seed=1)
    for rule in (on_title, block_on("surname", "given")):
        linker.training.estimate_parameters_using_expectation_maximisation(rule)
    pairs = linker.inference.predict(threshold_match_probability=min(SPLINK_THRESHOLDS))
    for threshold in SPLINK_THRESHOLDS:
        found = linker.clustering.cluster_pairwise_predictions_at_threshold(pairs, threshold)
        columns = found.as_dict()
        yield threshold, dict(zip(map(str, columns["unique_id"]), map(str, columns["cluster_id"]), strict=True))
