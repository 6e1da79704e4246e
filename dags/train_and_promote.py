"""Marts to challenger: snapshot, train, fit again, evaluate, bundle, gate, register."""

from airflow.sdk import DAG, chain

from orchestration.assets import CHALLENGER, CHAMPION_IS_OLD, MARTS
from orchestration.defaults import DAG_DEFAULTS
from orchestration.operators import CommandOperator

DOC = """
### From the marts to a model that may serve
Each task runs DVC stages in the workspace of this run (`runs/<id>` in the state folder). An unchanged stage is
taken from DVC's cache. It runs when the marts have changed, and when the model that serves is older than
`retrain.interval_days` of `params.yaml` (the DAG `housekeeping` looks). The gate compares with the model that serves
now; only what passes is registered.

**Triage**
- `gate` failed with "refused": not an error of the line. The task's log and the run in MLflow
  (`gate.txt`, with plots `gate.html`) say which line failed. Nothing is registered, the old champion serves on;
  `make demo` says so and goes on to its end. Only before the first champion there is none to serve: then the demo
  ends there.
- A training task failed: MLflow has the run; clear the task, finished stages are not repeated.
- Out of memory: lower the sizes in `params.yaml`.
"""

RUN = "--run-id={{ dag_run.run_after.strftime('%Y%m%dT%H%M%S') }}"

with DAG(
    dag_id="train_and_promote",
    doc_md=DOC,
    schedule=MARTS | CHAMPION_IS_OLD,
    tags=["impact:high", "training"],
    **DAG_DEFAULTS,
) as dag:
    snapshot = CommandOperator(task_id="snapshot", arguments=["training.repro", RUN, "snapshot", "split"])
    embed_titles = CommandOperator(task_id="embed_titles", arguments=["training.repro", RUN, "embed_titles"])
    tune = CommandOperator(task_id="tune_two_tower", arguments=["training.repro", RUN, "tune_two_tower"])
    train_two_tower = CommandOperator(task_id="train_two_tower", arguments=["training.repro", RUN, "train_two_tower"])
    train_gnn = CommandOperator(task_id="train_gnn", arguments=["training.repro", RUN, "train_gnn"])
    train_classic = CommandOperator(
        task_id="train_classic",
        arguments=["training.repro", RUN, "train_item_item", "train_als", "train_popularity"],
    )
    train_ranker = CommandOperator(task_id="train_ranker", arguments=["training.repro", RUN, "train_ranker"])
    refit = CommandOperator(task_id="refit", arguments=["training.repro", RUN, "refit"])
    evaluate = CommandOperator(task_id="evaluate", arguments=["training.repro", RUN, "evaluate", "bundle"])
    gate = CommandOperator(task_id="gate", arguments=["training.gate", RUN])
    register = CommandOperator(task_id="register", arguments=["training.register", RUN], outlets=[CHALLENGER])
    chain(
        snapshot,
        embed_titles,
        tune,
        train_two_tower,
        train_gnn,
        train_classic,
        train_ranker,
        refit,
        evaluate,
        gate,
        register,
    )
