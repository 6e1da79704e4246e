"""A bundle's authors, works, series and editions into Neo4j, and the same as Parquet into the lake.

    python -m indexing.works_to_neo4j [--version V]

May be repeated: constraints first, then MERGE, each node and relation stamped with the version; what
carries another stamp afterwards is no longer there and goes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bookworks.adapters import neo4j, s3
from bookworks.adapters.neo4j import Session
from bookworks.contracts.lake import graph_prefix
from bookworks.settings import Settings
from indexing import graph
from indexing.entry import main
from indexing.graph import Rows

BATCH = 2000
MARK = "manifest.json"

_KEYS = {"Author": "author_id", "Work": "work_id", "Series": "series_id", "Edition": "edition_id"}
_RELATIONS = ("WROTE", "IN_SERIES", "NEXT_IN_SERIES", "EDITION_OF")
# Nodes before the relations between them. Each takes `$rows` and `$version`.
_WRITES = {
    "authors": "UNWIND $rows AS row MERGE (n:Author {author_id: row.author_id})"
    " SET n.name = row.name, n.aliases = row.aliases, n.version = $version",
    "works": "UNWIND $rows AS row MERGE (n:Work {work_id: row.work_id}) SET n.title = row.title,"
    " n.original_title = row.original_title, n.year = row.year, n.language = row.language,"
    " n.publisher = row.publisher, n.subjects = row.subjects, n.version = $version",
    "series": "UNWIND $rows AS row MERGE (n:Series {series_id: row.series_id})"
    " SET n.name = row.name, n.version = $version",
    "editions": "UNWIND $rows AS row MERGE (n:Edition {edition_id: row.edition_id})"
    " SET n.isbn13 = row.isbn13, n.version = $version",
    "wrote": "UNWIND $rows AS row MATCH (a:Author {author_id: row.author_id}), (w:Work {work_id: row.work_id})"
    " MERGE (a)-[r:WROTE]->(w) SET r.version = $version",
    "in_series": "UNWIND $rows AS row MATCH (w:Work {work_id: row.work_id}), (s:Series {series_id: row.series_id})"
    " MERGE (w)-[r:IN_SERIES]->(s) SET r.number = row.number, r.version = $version",
    "next_in_series": "UNWIND $rows AS row MATCH (w:Work {work_id: row.work_id}), (n:Work {work_id: row.next_work_id})"
    " MERGE (w)-[r:NEXT_IN_SERIES]->(n) SET r.version = $version",
    "edition_of": "UNWIND $rows AS row MATCH (e:Edition {edition_id: row.edition_id}), (w:Work {work_id: row.work_id})"
    " MERGE (e)-[r:EDITION_OF]->(w) SET r.version = $version",
}


def ensure_constraints(session: Session) -> None:
    """One unique key a kind of node; without the index behind it MERGE would look through all nodes."""
    for label, key in _KEYS.items():
        session.run(f"CREATE CONSTRAINT {label.lower()}_{key} IF NOT EXISTS FOR (n:{label}) REQUIRE n.{key} IS UNIQUE")
    session.run("CREATE INDEX edition_isbn13 IF NOT EXISTS FOR (n:Edition) ON (n.isbn13)")
    session.run("CALL db.awaitIndexes(60)")


def write(session: Session, tables: dict[str, Rows], version: str) -> None:
    """Nodes, relations, then the removal of what another version left."""
    ensure_constraints(session)
    for name, query in _WRITES.items():
        session.write(query, tables[name], BATCH, version=version)
    for kind in _RELATIONS:
        session.run(
            f"MATCH ()-[r:{kind}]->() WHERE r.version <> $version"
            f" CALL (r) {{ DELETE r }} IN TRANSACTIONS OF {BATCH} ROWS",
            version=version,
        )
    for label in _KEYS:
        session.run(
            f"MATCH (n:{label}) WHERE n.version <> $version"
            f" CALL (n) {{ DETACH DELETE n }} IN TRANSACTIONS OF {BATCH} ROWS",
            version=version,
        )


def counts(session: Session) -> dict[str, int]:
    """Nodes and relations of ours that the graph has now, by kind."""
    found = {label: session.run(f"MATCH (n:{label}) RETURN count(n) AS n")[0]["n"] for label in _KEYS}
    return found | {kind: session.run(f"MATCH ()-[r:{kind}]->() RETURN count(r) AS n")[0]["n"] for kind in _RELATIONS}


def keep_dump(settings: Settings, tables: dict[str, Rows], version: str) -> str:
    """Put the graph into the lake as Parquet, the manifest last; returns where."""
    prefix = graph_prefix(version)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph.dump(tables, folder)
        sizes = {kind: len(rows) for kind, rows in tables.items()}
        (folder / MARK).write_text(json.dumps({"version": version, "rows": sizes}, indent=1), encoding="utf-8")
        s3.upload_folder(settings, folder, settings.lake_bucket, prefix, last=MARK)
    return f"s3://{settings.lake_bucket}/{prefix}"


def step(settings: Settings, folder: Path) -> str:
    """Publish one bundle's graph."""
    tables = graph.read(folder)
    with neo4j.session(settings) as session:
        write(session, tables, folder.name)
        found = counts(session)
    where = keep_dump(settings, tables, folder.name)
    return f"{', '.join(f'{n} {kind}' for kind, n in found.items())} in Neo4j; dump in {where}"


if __name__ == "__main__":
    main("indexing.works_to_neo4j", __doc__, step)
