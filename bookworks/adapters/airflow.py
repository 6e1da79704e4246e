"""Airflow's REST API: trigger a DAG, follow its runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

import httpx

from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings

TRIES = 3  # of a request that may be sent twice


class Airflow:
    """A client of one Airflow API server; logs in at the first call and again when the token ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = httpx.Client(base_url=settings.airflow_url, timeout=30)

    def __enter__(self) -> Self:
        """The client itself, closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def trigger(self, dag_id: str, params: dict[str, Any]) -> str:
        """Start a run by hand and return its id."""
        body = {"logical_date": None, "conf": params}
        answer = self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", tries=1, json=body)
        return str(answer["dag_run_id"])

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run a DAG."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def dags(self) -> list[dict[str, Any]]:
        """All DAGs that Airflow has read."""
        return list(self._call("GET", "/api/v2/dags", params={"limit": 100})["dags"])

    def import_errors(self) -> list[dict[str, Any]]:
        """DAG files that Airflow could not read."""
        return list(self._call("GET", "/api/v2/importErrors")["import_errors"])

    def dag_runs(self, dag_id: str = "~", since: datetime | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Runs of one DAG (or all), the newest first.

        Args:
            dag_id: the DAG; `~` means all.
            since: only runs that became due at this time or later.
            limit: most runs returned.
        """
        query: dict[str, Any] = {"limit": limit, "order_by": "-run_after"}
        if since is not None:
            query["run_after_gte"] = since.isoformat()
        return list(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=query)["dag_runs"])

    def tasks_of(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of one run."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self._call("GET", path, params={"limit": 100})["task_instances"])

    def log_of(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> list[str]:
        """Log lines of one try of a task."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self._call("GET", path, headers={"Accept": "application/json"})["content"]
        return [str(line.get("event", line)) if isinstance(line, dict) else str(line) for line in content]

    def _call(self, method: str, path: str, tries: int = TRIES, **options: Any) -> Any:
        if "Authorization" not in self._http.headers:
            self._login()
        answer = self._send(method, path, tries, **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._login()
            answer = self._send(method, path, tries, **options)
        if answer.is_success:
            return answer.json()
        kind = TransientError if answer.status_code >= 500 else TerminalError
        raise kind(
            f"Airflow refused {method} {path}",
            received=f"{answer.status_code} {answer.text[:300]}",
            todo="check `bookworks status` and `bookworks logs airflow-api`.",
        )

    def _login(self) -> None:
        user = {"username": self._settings.airflow_user, "password": self._settings.airflow_password.get_secret_value()}
        answer = self._send("POST", "/auth/token", TRIES, json=user)
        if not answer.is_success:
            raise TerminalError(
                "Airflow does not accept our user",
                received=f"{answer.status_code} for user {self._settings.airflow_user}",
                todo="check BOOKWORKS_AIRFLOW_USER and BOOKWORKS_AIRFLOW_PASSWORD.",
            )
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _send(self, method: str, path: str, tries: int, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.TransportError as error:
            if tries > 1:  # a busy server lets one request time out, and answers the next
                return self._send(method, path, tries - 1, **options)
            raise TransientError(
                f"Airflow does not answer at {self._settings.airflow_url}",
                received=f"{type(error).__name__}: {error}",
                todo="check `bookworks status`.",
            ) from error


def connect(settings: Settings) -> Airflow:
    """A client; no request is made yet."""
    return Airflow(settings)
