"""Every night: prove the counts, look for drift, drop what nobody reads any more."""

from airflow.sdk import DAG

from orchestration.defaults import DAG_DEFAULTS
from orchestration.operators import CommandOperator

DOC = """
### Housekeeping
Reconciles Kafka with the lake, checks how old the warehouse is, writes
drift of the event stream to ClickHouse, removes old run workspaces.

**Triage**
- `reconcile` failed: see the DAG `catalogue`.
- `freshness` failed: the warehouse has not been loaded for too long; see the DAGs `catalogue` and `features`.
- `drift` failed: ClickHouse is away; nothing else depends on it.
- `prune_runs` failed: a disk or permission problem in the state folder; remove the folders it names by hand.
"""

with DAG(dag_id="housekeeping", doc_md=DOC, schedule="@daily", tags=["impact:low", "care"], **DAG_DEFAULTS) as dag:
    CommandOperator(task_id="reconcile", arguments=["bookworks.cli.main", "ingest", "reconcile", "--allow-pending"])
    CommandOperator(task_id="freshness", arguments=["bookworks.cli.main", "dbt", "--", "source", "freshness"])
    CommandOperator(task_id="drift", arguments=["analytics.drift"])
    CommandOperator(task_id="prune_runs", arguments=["bookworks.cli.main", "models", "prune", "--keep=5"])
