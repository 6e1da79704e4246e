"""Entry point of the Airflow image: Airflow's own settings made from ours, then `airflow <arguments>`."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
from pathlib import Path

from bookworks.cli.entry import run
from bookworks.settings import PROJECT_ROOT, Settings, get_settings

PASSWORDS = "passwords.json"


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Airflow's variables, secrets among them: never print the values."""
    home = settings.state_dir / "airflow"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": str(settings.airflow_parallelism),
        "AIRFLOW__CORE__FERNET_KEY": settings.airflow_fernet_key.get_secret_value(),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow_url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{settings.airflow_user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings.postgres_dsn(settings.airflow_db, "postgresql+psycopg2"),
        "AIRFLOW__API__HOST": settings.bind_host,
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__SECRET_KEY": derived_key(settings, "pages"),
        "AIRFLOW__API_AUTH__JWT_SECRET": derived_key(settings, "tokens"),
    }


def derived_key(settings: Settings, purpose: str) -> str:
    """A key of its own for each purpose, the same in every container."""
    key = settings.airflow_secret.get_secret_value().encode()
    return hmac.new(key, purpose.encode(), hashlib.sha512).hexdigest()


def write_passwords(settings: Settings, home: Path) -> None:
    """The one user's password where Airflow's simple auth manager looks for it, readable by its owner alone."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / PASSWORDS
    path.touch(mode=0o600)
    path.write_text(json.dumps({settings.airflow_user: settings.airflow_password.get_secret_value()}))


def main() -> None:
    """Become `airflow <arguments>`."""
    settings = get_settings()
    environment = airflow_environment(settings)
    write_passwords(settings, Path(environment["AIRFLOW_HOME"]))
    os.execvpe("airflow", ["airflow", *sys.argv[1:]], os.environ | environment)  # noqa: S606


if __name__ == "__main__":
    run(main)
