"""Every night: prove the counts, look for drift, drop what nobody reads any more, train when the model is old."""

from airflow.sdk import DAG

from orchestration.assets import CHAMPION_IS_OLD
from orchestration.defaults import DAG_DEFAULTS
from orchestration.operators import CommandOperator

DOC = """
### Housekeeping
Reconciles Kafka with the lake, checks how old the warehouse is, writes
drift of the event stream to ClickHouse, removes old run workspaces. Starts `train_and_promote` when the model that
serves is older than `retrain.interval_days` of `params.yaml`.

**Triage**
- `reconcile` failed: see the DAG `catalogue`.
- `freshness` failed: the warehouse has not been loaded for too long; see the DAGs `catalogue` and `features`.
- `drift` failed: ClickHouse is away; nothing else depends on it.
- `prune_runs` failed: a disk or permission problem in the state folder; remove the folders it names by hand.
- `champion_age` failed: MLflow is away; the marts start trainings all the same. `train_when_old` skipped: the model is
  not old.
"""

IS_DUE = "{{ 'due' if (ti.xcom_pull(task_ids='champion_age') or '').startswith('due:') else '' }}"

with DAG(dag_id="housekeeping", doc_md=DOC, schedule="@daily", tags=["impact:low", "care"], **DAG_DEFAULTS) as dag:
    CommandOperator(task_id="reconcile", arguments=["bookworks.cli.main", "ingest", "reconcile", "--allow-pending"])
    CommandOperator(task_id="freshness", arguments=["bookworks.cli.main", "dbt", "--", "source", "freshness"])
    CommandOperator(task_id="drift", arguments=["analytics.drift"])
    CommandOperator(task_id="prune_runs", arguments=["bookworks.cli.main", "models", "prune", "--keep=5"])
    champion_age = CommandOperator(task_id="champion_age", arguments=["training.due"])
    train_when_old = CommandOperator(
        task_id="train_when_old", arguments=["training.due"], skip_unless=IS_DUE, outlets=[CHAMPION_IS_OLD]
    )
    champion_age >> train_when_old
