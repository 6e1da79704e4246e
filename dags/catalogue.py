"""Files and stream to works: the lake is cleaned, editions become works and are measured, interactions deduplicated."""

from airflow.sdk import DAG, Param, chain

from orchestration.assets import LAKE_CLEAN
from orchestration.defaults import DAG_DEFAULTS
from orchestration.operators import CommandOperator

DOC = """
### From files and stream to works
Loads files if `path` is given, waits until the consumers have stored what Kafka holds, proves that the
counts add up, then runs the Spark jobs.

**Triage**
- `load_files` failed: the path or the source is wrong; the last log line says what was found. Loading again is
  safe: rows that are there already count as duplicates.
- `wait_for_stream` timed out: a consumer is down or its store is away:
  see `bookworks status` and `bookworks logs kafka-to-lake`.
- `reconcile` failed: offsets are missing. Do not go on; `bookworks ingest reconcile` names topic and partition.
- A Spark task failed: the clean tables are replaced whole, so clear the task to run it again.
- `evaluate_works` failed with "The works are refused": not an error of the line. Quality fell, or sizes jumped, by more
  than the settings `works_max_…` allow; the message says what, from where to where. What follows (features, training,
  publish) keeps the works it has. See `bookworks works measures`; mend by `bookworks works review | merge | split` and
  run the DAG again; or, if the new level is right (another catalogue was loaded), `bookworks works accept --why …` and
  clear the task.
- `evaluate_works` failed with "Editions are not in exactly one work each": clear `cluster_works`.
- `cluster_works` also reads what persons decided and fills their review queue: without Postgres it is tried again.
  "Clustering is not lossless" is a fault of the job and leaves the works as they were.
"""

with DAG(
    dag_id="catalogue",
    doc_md=DOC,
    schedule="@daily",
    tags=["impact:high", "lake"],
    params={
        "path": Param("", type="string", description="Folder of files to load; empty: only what was streamed."),
        "source": Param("auto", type="string", description="Loader; auto looks at the files."),
        "limit": Param("", type="string", description="Rows a file at most; empty: all."),
    },
    **DAG_DEFAULTS,
) as dag:
    load_files = CommandOperator(
        task_id="load_files",
        arguments=[
            "bookworks.cli.main", "ingest", "load", "--path={{ params.path }}", "--source={{ params.source }}",
            "{{ '--limit=' ~ params.limit if params.limit else '' }}",
        ],
        skip_unless="{{ params.path }}",
    )  # fmt: skip
    wait_for_stream = CommandOperator(
        task_id="wait_for_stream",
        arguments=["bookworks.cli.main", "ingest", "wait", "--timeout=1800"],
        trigger_rule="none_failed",
    )
    reconcile = CommandOperator(
        task_id="reconcile", arguments=["bookworks.cli.main", "ingest", "reconcile", "--allow-pending"]
    )
    clean_catalogue = CommandOperator(task_id="clean_catalogue", arguments=["spark_jobs.clean_catalogue"])
    cluster_works = CommandOperator(task_id="cluster_works", arguments=["spark_jobs.cluster_works"])
    evaluate_works = CommandOperator(task_id="evaluate_works", arguments=["spark_jobs.evaluate_works"])
    dedupe_interactions = CommandOperator(
        task_id="dedupe_interactions", arguments=["spark_jobs.dedupe_interactions"], outlets=[LAKE_CLEAN]
    )
    chain(load_files, wait_for_stream, reconcile, clean_catalogue, cluster_works, evaluate_works,
          dedupe_interactions)  # fmt: skip
