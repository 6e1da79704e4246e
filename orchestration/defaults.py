"""Defaults of every DAG: owner, retries with back-off, one run at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

TASK_DEFAULTS: dict[str, Any] = {
    "owner": "bookworks",
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "execution_timeout": timedelta(hours=2),
}

DAG_DEFAULTS: dict[str, Any] = {
    # No start_date: the first scheduled run is the next one, not one for the day that has passed.
    "catchup": False,
    "max_active_runs": 1,
    "default_args": TASK_DEFAULTS,
    "render_template_as_native_obj": False,
}
