"""The worker's process imports nothing that belongs to training or orchestration, and computes in one thread."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from bookworks.settings import PROJECT_ROOT
from serving import run

_CODE = """
import sys
import serving.service, serving.app, serving.platform, bookworks.adapters.qdrant
import qdrant_edge
heavy = {
    "torch", "pyspark", "pandas", "airflow", "sentence_transformers", "mlflow", "neo4j", "optuna",
    "onnx", "lightgbm", "sklearn", "training",
}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_the_service_imports_neither_torch_nor_spark_nor_airflow():
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_image_of_the_service_has_what_uvicorn_is_quick_by():
    groups = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["dependency-groups"]
    names = {re.split(r"[^a-z0-9-]", line)[0] for line in groups["service"]}
    assert {"httptools", "uvloop"} <= names  # without them it takes asyncio's loop and a parser in Python


@pytest.mark.parametrize("told", [None, "4"])
def test_a_worker_computes_in_one_thread_unless_it_is_told_otherwise(monkeypatch, told):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
        if told:
            monkeypatch.setenv(name, told)
    run.one_thread_each()
    assert [os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")] == [told or "1"] * 2
