"""Challenger to champion: vectors first, then one switch, then the graph and the ids of works."""

from airflow.sdk import DAG, Param

from orchestration.assets import CHALLENGER
from orchestration.defaults import DAG_DEFAULTS
from orchestration.operators import CommandOperator

DOC = """
### From challenger to champion
`pin` names the bundle, so that all tasks of a run handle the same one, whatever is registered meanwhile. Its vectors
are a collection of their own; readers notice nothing until `switch` moves the alias `champion`. When `verify` has
seen the service answer with it, the graph and ClickHouse's `work_ids` follow: they show what is served. Which edition
and which former id leads to which work, the service knows from the bundle itself.

After `bookworks models rollback`, run this DAG with `version` set to the bundle that serves again, so that these go
back too.

**Triage**
- Anything before `switch` failed: the old bundle serves on; clear the task, every write can be repeated.
- `verify` failed: the service refused the bundle (see `bookworks logs service`); go back with
  `bookworks models rollback`.
- `works_to_neo4j` or `work_ids_to_clickhouse` failed: the new bundle serves; clear the task.
"""

VERSION = "{{ ti.xcom_pull(task_ids='pin') }}"

with DAG(
    dag_id="publish",
    doc_md=DOC,
    schedule=[CHALLENGER],
    tags=["impact:high", "serving"],
    params={"version": Param("", type="string", description="Bundle to publish; empty: the challenger.")},
    **DAG_DEFAULTS,
) as dag:
    pin = CommandOperator(
        task_id="pin",
        arguments=["indexing.pin", "{{ '--version=' ~ params.version if params.version else '' }}"],
    )
    vectors = CommandOperator(
        task_id="bundle_to_qdrant", arguments=["indexing.bundle_to_qdrant", f"--version={VERSION}"]
    )
    switch = CommandOperator(task_id="switch", arguments=["bookworks.cli.main", "models", "promote", VERSION])
    verify = CommandOperator(task_id="verify", arguments=["indexing.verify_served"])
    graph = CommandOperator(task_id="works_to_neo4j", arguments=["indexing.works_to_neo4j", f"--version={VERSION}"])
    ids = CommandOperator(
        task_id="work_ids_to_clickhouse", arguments=["indexing.work_ids_to_clickhouse", f"--version={VERSION}"]
    )
    pin >> vectors >> switch >> verify >> [graph, ids]
