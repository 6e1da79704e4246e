"""Lake to marts: the clean tables into Postgres, then dbt."""

from airflow.sdk import DAG

from orchestration.assets import LAKE_CLEAN, MARTS
from orchestration.defaults import DAG_DEFAULTS
from orchestration.operators import CommandOperator

DOC = """
### From the lake to the marts
Replaces the schema `raw` in one transaction, then builds and tests every dbt model.

**Triage**
- `lake_to_warehouse` failed: Postgres or the object store is away; readers of `raw` still see the old tables. "The
  works were refused", "… not measured yet": see the task `evaluate_works` of the DAG `catalogue`.
- `dbt_build` failed: the log names the model or test. Mend it, try it by hand with
  `bookworks dbt -- build --select <model>`, then clear the task.
"""

with DAG(
    dag_id="features", doc_md=DOC, schedule=[LAKE_CLEAN], tags=["impact:high", "warehouse"], **DAG_DEFAULTS
) as dag:
    lake_to_warehouse = CommandOperator(task_id="lake_to_warehouse", arguments=["spark_jobs.lake_to_warehouse"])
    dbt_build = CommandOperator(
        task_id="dbt_build", arguments=["bookworks.cli.main", "dbt", "--", "build"], outlets=[MARTS]
    )
    lake_to_warehouse >> dbt_build
