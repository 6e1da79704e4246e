"""The worker's process imports nothing that belongs to training or orchestration."""

import subprocess
import sys

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
