"""Airflow needs a home before its first import; the tests give it an empty one on SQLite."""

from __future__ import annotations

import os
import tempfile
import warnings

# Airflow and its dependencies warn at import about their own internals.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="bookworks-airflow-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "False")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import airflow.sdk  # noqa: F401
