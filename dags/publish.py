"""Challenger to champion: vectors, graph and online maps first, then one switch."""

from airflow.sdk import DAG, Param

from orchestration.assets import CHALLENGER
from orchestration.defaults import DAG_DEFAULTS
from orchestration.operators import CommandOperator

DOC = """
### From challenger to champion
`pin` names the bundle, so that all tasks of a run handle the same one, whatever is registered meanwhile. Its vectors
are a collection of their own; readers notice nothing until `switch` moves the alias `champion`. When `verify` has
seen the service answer with it, the graph and the online map of editions follow: they show what is served.

After `bookworks models rollback`, run this DAG with `version` set to the bundle that serves again, so that graph and
map go back too.

**Triage**
- Anything before `switch` failed: the old bundle serves on; clear the task, every write can be repeated.
- `verify` failed: the service refused the bundle (see `bookworks logs service`); go back with
  `bookworks models rollback`.
- `works_to_neo4j` or `editions_to_online` failed: the new bundle serves; clear the task.
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
    online = CommandOperator(
        task_id="editions_to_online", arguments=["indexing.editions_to_online", f"--version={VERSION}"]
    )
    pin >> vectors >> switch >> verify >> [graph, online]
