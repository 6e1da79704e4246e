"""The indexing commands on the real servers."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from bookworks.adapters import clickhouse, neo4j, qdrant, registry, s3
from bookworks.contracts.bundle import CHAMPION, VECTOR_ALIAS, vector_collection
from bookworks.contracts.lake import graph_prefix
from bookworks.errors import TerminalError
from bookworks.settings import PROJECT_ROOT
from indexing import graph, works_to_neo4j
from tests.serving.publishing import promote, register
from tests.support.bundles import make_tiny_bundle

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def settings(stack):
    return stack.need("minio", "postgres", "mlflow", "neo4j", "clickhouse")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("b"), seed=101, created_at=datetime.now(UTC))


def command(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"indexing.{module}", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_an_alias_that_is_not_set_is_none(settings):
    with registry.connect(settings) as client:
        assert registry.version_of_alias(client, settings, "no-such-alias") is None


def test_a_bundle_that_is_not_there_is_an_error_in_words(settings):
    done = command("bundle_to_qdrant", "--version", "nothing")
    assert done.returncode == 1
    assert "There is no complete bundle nothing" in done.stderr
    assert "Traceback" not in done.stderr
    assert command("bundle_to_qdrant", "--version", "../up").returncode == 1


def test_the_challengers_vectors_go_to_a_new_collection_and_the_alias_moves(settings, bundle):
    version = register(settings, bundle)
    for _ in range(2):
        done = command("bundle_to_qdrant")
        assert done.returncode == 0, done.stderr
    store = qdrant.connect(settings)
    assert store.target(VECTOR_ALIAS) == vector_collection(version)
    assert store.open(VECTOR_ALIAS).size == 60


def test_the_champions_collection_is_never_dropped(settings, bundle, tmp_path):
    champion = promote(settings, bundle)
    made = [make_tiny_bundle(tmp_path, seed=seed, created_at=datetime.now(UTC)) for seed in (102, 103, 104)]
    for folder in made:
        register(settings, folder)
        assert command("bundle_to_qdrant").returncode == 0
    names = qdrant.connect(settings).names()
    assert vector_collection(champion) in names
    assert vector_collection(made[0].name) not in names
    with registry.connect(settings) as client:
        assert registry.version_of_alias(client, settings, CHAMPION) == champion


def test_the_graph_is_whole_repeatable_and_kept_in_the_lake(settings, bundle):
    register(settings, bundle)
    for _ in range(2):
        done = command("works_to_neo4j")
        assert done.returncode == 0, done.stderr
    with neo4j.session(settings) as session:
        assert works_to_neo4j.counts(session) == {
            "Author": 15,
            "Work": 60,
            "Series": 5,
            "Edition": 120,
            "WROTE": 60,
            "IN_SERIES": 10,
            "NEXT_IN_SERIES": 5,
            "EDITION_OF": 120,
        }
        rows = session.run(
            "MATCH (:Edition {edition_id: 'w006-e1'})-[:EDITION_OF]->(w)<-[:WROTE]-(a), (w)-[r:IN_SERIES]->(s),"
            " (before)-[:NEXT_IN_SERIES]->(w) RETURN w.title AS title, w.subjects AS subjects, a.name AS author,"
            " a.aliases AS aliases, s.name AS series, r.number AS number, before.work_id AS before"
        )
    assert rows == [
        {"title": "Title 6", "subjects": ["romance"], "author": "Author 6", "aliases": ["Pen Name"],
         "series": "Series 0", "number": 2.0, "before": "w000"}
    ]  # fmt: skip
    keys = list(s3.list_keys(settings, settings.lake_bucket, graph_prefix(bundle.name)))
    assert {Path(key).name for key in keys} == {f"{name}.parquet" for name in graph.SCHEMAS} | {"manifest.json"}


def test_what_was_shown_is_counted_with_its_work_of_today(settings, tmp_path, monkeypatch):
    """Work 5 was merged into 10, and came back; in a database of its own, as other tests show books too."""
    monkeypatch.setenv("BOOKWORKS_CLICKHOUSE_DATABASE", "ids")
    own = settings.model_copy(update={"clickhouse_database": "ids"})
    page = (PROJECT_ROOT / "docs/users/analyst.md").read_text(encoding="utf-8")
    question = page[page.index("SELECT if(ids") :].partition("```")[0]
    found = []
    for merged in ({5: 10}, {}):
        version = make_tiny_bundle(tmp_path, created_at=datetime.now(UTC), merged=merged).name
        register(settings, tmp_path / version)
        done = command("work_ids_to_clickhouse", "--version", version)
        assert done.returncode == 0, done.stderr
        client = clickhouse.connect(own)
        shown = [(f"d-{work}", work, datetime.now(UTC)) for work in ("w005", "w010", "gone")]
        client.insert("decisions", shown, column_names=("decision_id", "work_id", "occurred_at"))
        found.append(dict(client.query(question).result_rows))
    assert found == [{"w010": 2, "gone": 1}, {"w005": 1, "w010": 1, "gone": 1}]
    assert command("work_ids_to_clickhouse", "--version", version).stdout.startswith("60 work ids, 0 of them former")


def table(works, editions):
    schema = pa.schema([("edition_id", pa.string()), ("isbn13", pa.string()), ("work_id", pa.string())])
    return graph.build(pa.Table.from_pylist(works), pa.Table.from_pylist(editions, schema=schema))


def test_what_is_no_longer_there_goes(settings):
    series = {"series": "S", "series_id": "s"}
    before = table(
        [
            {"work_id": "w1", "title": "A", "author": "Ann", "author_id": "a1", **series, "series_number": 1},
            {"work_id": "w2", "title": "B", "author": "Bob", "author_id": "a2", **series, "series_number": 2},
        ],
        [{"edition_id": "e1", "isbn13": None, "work_id": "w1"}, {"edition_id": "e2", "isbn13": None, "work_id": "w2"}],
    )
    after = table(
        [{"work_id": "w1", "title": "A", "author": "Cy", "author_id": "a3"}],
        [{"edition_id": "e1", "isbn13": None, "work_id": "w1"}, {"edition_id": "e2", "isbn13": None, "work_id": "w1"}],
    )
    with neo4j.session(settings) as session:
        works_to_neo4j.write(session, before, "one")
        assert works_to_neo4j.counts(session)["NEXT_IN_SERIES"] == 1
        works_to_neo4j.write(session, after, "two")
        assert works_to_neo4j.counts(session) == {
            "Author": 1,
            "Work": 1,
            "Series": 0,
            "Edition": 2,
            "WROTE": 1,
            "IN_SERIES": 0,
            "NEXT_IN_SERIES": 0,
            "EDITION_OF": 2,
        }
        with pytest.raises(TerminalError, match="Neo4j refused the query"):
            session.run("MATCH (n:Work) RETURN nothing")


def test_ten_thousand_editions_take_seconds_not_minutes(settings):
    """The measure is 10 s on a machine with nothing else to do; without the constraints it would be minutes."""

    def work(i):
        author, series = f"A{i % 3000}", f"S{i % 500}"
        return {"work_id": f"t{i}", "title": f"T{i}", "author": author, "author_id": author, "series": series,
                "series_id": series, "series_number": i // 500}  # fmt: skip

    editions = [{"edition_id": f"e{i}", "isbn13": None, "work_id": f"t{i % 7000}"} for i in range(10_000)]
    tables = table([work(i) for i in range(7000)], editions)
    with neo4j.session(settings) as session:
        started = time.monotonic()
        works_to_neo4j.write(session, tables, "speed")
        took = time.monotonic() - started
    print(f"10,000 editions in {took:.1f} s")
    assert took < 40
