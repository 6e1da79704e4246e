"""Every setting of the platform, typed, in one class; nothing else reads the environment.

Order: environment (`BOOKWORKS_…`), then `.env`, then the secrets that the first
`bookworks up` wrote, then the default. `docs/settings.md` has a line for each field.
"""

from __future__ import annotations

import difflib
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

from dotenv.parser import parse_stream
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import DotEnvSettingsSource

from bookworks.errors import SettingError

Port = Annotated[int, Field(ge=1, le=65_535)]
FolderOrNone = Annotated[Path | None, BeforeValidator(lambda value: value or None)]
Memory = Annotated[str, Field(pattern=r"^[1-9]\d*[mg]$")]

PREFIX = "BOOKWORKS_"
TEST_PREFIX = "BOOKWORKS_TEST_"  # of the tests alone
SUPERVISED = "BOOKWORKS_SUPERVISED"  # set by the supervisor in what it starts; no setting
PROJECT_ROOT = Path(__file__).resolve().parent.parent
NO_SECRET = SecretStr("")


class Settings(BaseSettings):
    """All settings; field descriptions are the documentation of each."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=PROJECT_ROOT / ".env", extra="ignore", validate_assignment=False
    )

    # Places
    state_dir: Path = Field(
        PROJECT_ROOT / ".bookworks",
        description="Folder of the local servers' data, logs and secrets, and of nothing else; `down --wipe` removes "
        "it.",
    )
    tools_dir: Path = Field(
        Path.home() / ".cache" / "bookworks",
        description="Folder of downloaded server binaries and jars, shared by all checkouts.",
    )
    bind_host: str = Field("127.0.0.1", description="Address on which local servers listen.")
    port_offset: int = Field(
        0,
        ge=0,
        le=40_000,
        description="Added to every port that is not set by itself, for a second stack on one machine.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Level of bookworks' own logs.")

    git_commit: str = Field(
        "", description="Git commit recorded with a training run; empty means that of the checkout, if it is one."
    )

    # Kafka
    kafka_host: str = Field("127.0.0.1", description="Kafka broker host.")
    kafka_port: Port = Field(19092, description="Kafka broker port.")
    kafka_controller_port: Port = Field(19093, description="Port of the local KRaft controller.")
    kafka_security_protocol: Literal["SASL_PLAINTEXT", "SASL_SSL", "PLAINTEXT", "SSL"] = Field(
        "SASL_PLAINTEXT", description="Kafka security protocol (SASL mechanism PLAIN)."
    )
    kafka_user: str = Field("bookworks", description="Kafka SASL user.")
    kafka_password: SecretStr = Field(NO_SECRET, description="Kafka SASL password.")
    kafka_partitions: int = Field(4, ge=1, description="Partitions of each topic that bookworks creates.")
    kafka_replication: int = Field(1, ge=1, description="Replicas of each topic that bookworks creates.")
    kafka_memory_mb: int = Field(512, ge=256, description="Heap of the local Kafka broker, MiB.")

    # Object store
    s3_endpoint_url: str | None = Field(None, description="S3 endpoint; empty means the local MinIO at `minio_port`.")
    s3_region: str = Field("us-east-1", description="S3 region.")
    s3_access_key: str = Field("bookworks", description="S3 access key.")
    s3_secret_key: SecretStr = Field(NO_SECRET, description="S3 secret key.")
    minio_port: Port = Field(19000, description="Port of the local MinIO.")
    minio_console_port: Port = Field(19001, description="Port of the local MinIO's console page.")
    minio_memory_mb: int = Field(512, ge=128, description="Memory that the local MinIO tries to stay below, MiB.")
    lake_bucket: str = Field("lake", description="Bucket of the lake: raw, clean, snapshots.")
    bundles_bucket: str = Field("bundles", description="Bucket of the served bundles.")
    mlflow_bucket: str = Field("mlflow", description="Bucket of MLflow's artifacts.")
    dvc_bucket: str = Field("dvc", description="Bucket of the DVC remote.")

    # Postgres
    postgres_host: str = Field("127.0.0.1", description="Postgres host.")
    postgres_port: Port = Field(15432, description="Postgres port.")
    postgres_user: str = Field("bookworks", description="Postgres user.")
    postgres_password: SecretStr = Field(NO_SECRET, description="Postgres password.")
    warehouse_db: str = Field("warehouse", description="Database of the schemas raw, staging, intermediate, marts.")
    service_db: str = Field("service", description="Database of the service's accounts.")
    mlflow_db: str = Field("mlflow", description="Database of MLflow.")
    optuna_db: str = Field("optuna", description="Database of Optuna's studies.")
    airflow_db: str = Field("airflow", description="Database of Airflow.")
    postgres_dir: Path | None = Field(
        None,
        description="Folder of the local Postgres; empty means `state_dir`/data/postgres, or as root (whom Postgres "
        "refuses) a folder of this stack under /var/lib/bookworks.",
    )
    postgres_memory_mb: int = Field(128, ge=16, description="Shared buffers of the local Postgres, MiB.")
    postgres_os_user: str = Field("nobody", description="As root: the user of the machine who runs the local Postgres.")

    # Redis
    redis_host: str = Field("127.0.0.1", description="Redis host.")
    redis_port: Port = Field(16379, description="Redis port.")
    redis_password: SecretStr = Field(NO_SECRET, description="Redis password.")
    redis_memory_mb: int = Field(256, ge=16, description="Memory limit of the local Redis, MiB.")

    # Neo4j
    neo4j_host: str = Field("127.0.0.1", description="Neo4j host.")
    neo4j_port: Port = Field(17687, description="Neo4j Bolt port.")
    neo4j_http_port: Port = Field(17474, description="Neo4j browser and HTTP port.")
    neo4j_user: str = Field("neo4j", description="Neo4j user.")
    neo4j_password: SecretStr = Field(NO_SECRET, description="Neo4j password.")
    neo4j_memory_mb: int = Field(512, ge=256, description="Heap of the local Neo4j, MiB.")
    neo4j_page_cache_mb: int = Field(64, ge=16, description="Page cache of the local Neo4j, MiB.")

    # ClickHouse
    clickhouse_host: str = Field("127.0.0.1", description="ClickHouse host.")
    clickhouse_port: Port = Field(18123, description="ClickHouse HTTP port.")
    clickhouse_user: str = Field("bookworks", description="ClickHouse user.")
    clickhouse_password: SecretStr = Field(NO_SECRET, description="ClickHouse password.")
    clickhouse_database: str = Field("bookworks", description="ClickHouse database.")

    # Qdrant
    qdrant_url: str | None = Field(
        None, description="Qdrant server; empty means the engine in the process, on `vectors_dir`."
    )
    qdrant_api_key: SecretStr = Field(NO_SECRET, description="Qdrant API key.")
    vectors_dir: Path | None = Field(
        None, description="Folder of the in-process Qdrant collections; empty means `state_dir`/vectors."
    )

    # MLflow
    mlflow_host: str = Field("127.0.0.1", description="MLflow host.")
    mlflow_port: Port = Field(15000, description="MLflow port.")
    mlflow_user: str = Field("bookworks", description="MLflow user.")
    mlflow_password: SecretStr = Field(NO_SECRET, description="MLflow password.")
    mlflow_secret: SecretStr = Field(NO_SECRET, description="Key that signs the cookies of MLflow's pages.")
    mlflow_workers: int = Field(1, ge=1, description="Worker processes of the local MLflow server.")
    mlflow_experiment: str = Field("bookworks", description="MLflow experiment of the training runs.")
    model_name: str = Field("bookworks", description="Registered model whose aliases are challenger and champion.")

    # Airflow
    airflow_host: str = Field("127.0.0.1", description="Airflow API server host.")
    airflow_port: Port = Field(18080, description="Airflow API server port.")
    airflow_user: str = Field("bookworks", description="Airflow user.")
    airflow_password: SecretStr = Field(NO_SECRET, description="Airflow password.")
    airflow_secret: SecretStr = Field(NO_SECRET, description="Key that signs Airflow's internal and user tokens.")
    airflow_fernet_key: SecretStr = Field(NO_SECRET, description="Key that encrypts Airflow's connections.")

    airflow_parallelism: int = Field(4, ge=1, description="Tasks that the local Airflow runs at once.")

    # Service
    service_host: str = Field("127.0.0.1", description="BentoML service host.")
    service_port: Port = Field(13000, description="BentoML service port.")
    service_workers: int = Field(1, ge=1, description="Worker processes of the service.")
    service_threads: int | None = Field(
        None,
        ge=1,
        description="Threads of a worker that compute answers; empty: 1, as they hold one another up, and 2 with a "
        "Qdrant server, which one waits for while the other computes.",
    )
    jwt_secret: SecretStr = Field(NO_SECRET, description="Key that signs readers' tokens.")
    jwt_minutes: int = Field(15, ge=1, description="Life of an access token, which cannot be called back, minutes.")
    refresh_days: int = Field(
        30, ge=1, le=3650, description="How long a reader's session lasts after it was last refreshed, days."
    )
    login_attempts_per_minute: int = Field(
        10, ge=1, description="Failed log-ins to one name from one address that are taken in a minute."
    )
    service_api_key: SecretStr = Field(
        NO_SECRET,
        description="Key with which a calling service asks for any reader (header X-API-Key); all scopes.",
    )
    api_keys_seconds: float = Field(
        10.0, gt=0, description="How often a worker looks at the further keys, those of `bookworks keys`, seconds."
    )
    reader_calls_per_minute: int = Field(
        600, ge=0, description="Calls of one reader to each class of routes in a minute; 0: as many as it likes."
    )
    reader_events_per_minute: int = Field(
        2000, ge=0, description="Interactions that one reader's token may send in a minute; 0: as many as it likes."
    )
    key_calls_per_minute: int = Field(
        0, ge=0, description="Calls with one API key to each class of routes in a minute; 0: as many as it likes."
    )
    address_calls_per_minute: int = Field(
        6000,
        ge=0,
        description="Calls from one address to each class of open routes in a minute; 0: as many as it likes.",
    )
    otlp_url: str | None = Field(
        None, description="Collector of OpenTelemetry traces (OTLP over HTTP, `…/v1/traces`); empty records none."
    )
    bundle_poll_seconds: float = Field(0.5, gt=0, description="How often the service looks for a new champion.")
    service_requests_per_connection: int = Field(
        20,
        ge=0,
        description="After so many requests a connection is ended, so that callers spread over workers and replicas; "
        "0: never.",
    )
    recommend_budget_ms: int = Field(
        1000,
        ge=0,
        description="Time of a request for books: with three quarters of it gone the ranker is left out, with nine "
        "tenths explanations, and the answer says so; 0: nothing is.",
    )
    decision_ttl_seconds: int = Field(
        900,
        ge=0,
        description="How long `GET /v1/decisions/{id}` finds an answer again (some 4 kB of Redis each); 0: never.",
    )
    interactions_spool_dir: FolderOrNone = Field(
        None,
        description="Folder where the service keeps what readers do while Kafka is away, and sends them later; it must "
        "outlive the process. Empty means that interactions and sign-ups are refused (503).",
    )
    interactions_spool_mb: int = Field(
        256, ge=1, description="How much `interactions_spool_dir` may hold, MiB (4 KiB for each request at least)."
    )
    rules_file: Path | None = Field(
        None, description="YAML file with the rules of the slate; empty means the shipped `serving/rules.yaml`."
    )
    bundle_cache_dir: Path | None = Field(
        None, description="Where the service keeps downloaded bundles; empty means `state_dir`/bundles."
    )

    # Spark
    spark_master: str = Field("local[2]", description="Spark master.")
    spark_driver_memory: Memory = Field("3g", description="Heap of the Spark driver.")
    spark_shuffle_partitions: int = Field(8, ge=1, description="Spark shuffle partitions.")
    spark_executor_memory: Memory = Field("1g", description="Heap of a Spark executor, when the master is not local.")
    spark_java_options: str = Field(
        "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:MetaspaceSize=256m",
        description="JVM options of the Spark driver; the default starts fast, for long jobs leave it empty.",
    )
    spark_ui: bool = Field(False, description="Whether a running Spark job serves its web page.")

    # Works
    author_aliases: Path | None = Field(
        None, description="CSV of authors' further names, above the shipped ones: `alias,name,kind`; see docs/works.md."
    )

    # Works
    works_truth: str = Field(
        "",
        description="CSV or Parquet with edition_id and work_id of known works, against which each clustering is "
        "measured (a path or address that Spark can read); empty: none.",
    )
    works_max_drop: float = Field(
        0.02, ge=0, le=1, description="By how much the quality of the works may fall from one run to the next."
    )
    works_max_share_change: float = Field(
        0.1,
        ge=0,
        le=1,
        description="By how much the share of editions that are not alone in their work may change, above the share of "
        "editions that came in.",
    )
    works_max_growth: float = Field(
        2.0, ge=1, description="By which factor the largest work may grow; one of up to 100 editions is never stopped."
    )
    works_sample: int = Field(
        100, ge=0, description="Pairs that are drawn at random for the review, to estimate quality; 0: none."
    )

    # dbt
    dbt_threads: int = Field(4, ge=1, description="Models that dbt builds at the same time.")

    @model_validator(mode="after")
    def _shift_ports(self) -> Self:
        if self.port_offset:
            for name in type(self).model_fields:
                if name.endswith("_port") and name not in self.model_fields_set:
                    object.__setattr__(self, name, getattr(self, name) + self.port_offset)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the generated secrets below `.env`, so that a user's own value wins."""
        written = dotenv_settings.env_vars if isinstance(dotenv_settings, DotEnvSettingsSource) else {}
        state = os.environ.get("BOOKWORKS_STATE_DIR") or written.get("bookworks_state_dir")
        secrets = secrets_file(Path(state) if state else PROJECT_ROOT / ".bookworks")
        try:
            generated = DotEnvSettingsSource(settings_cls, env_file=secrets)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(
                f"{secrets} cannot be read",
                received=error,
                allowed="the secrets of a stack of our own",
                todo="work as the user who started that stack, or set BOOKWORKS_STATE_DIR to another folder.",
            ) from None
        return init_settings, env_settings, dotenv_settings, generated

    @property
    def kafka_bootstrap(self) -> str:
        """Kafka bootstrap server as `host:port`."""
        return f"{self.kafka_host}:{self.kafka_port}"

    @property
    def s3_url(self) -> str:
        """S3 endpoint address."""
        return self.s3_endpoint_url or f"http://{self.bind_host}:{self.minio_port}"

    @property
    def mlflow_url(self) -> str:
        """MLflow address, without credentials."""
        return f"http://{self.mlflow_host}:{self.mlflow_port}"

    @property
    def airflow_url(self) -> str:
        """Airflow API server address."""
        return f"http://{self.airflow_host}:{self.airflow_port}"

    @property
    def service_url(self) -> str:
        """Address of the recommendation service."""
        return f"http://{self.service_host}:{self.service_port}"

    @property
    def neo4j_uri(self) -> str:
        """Neo4j Bolt address."""
        return f"bolt://{self.neo4j_host}:{self.neo4j_port}"

    @property
    def vectors_path(self) -> Path:
        """Folder of the in-process Qdrant collections."""
        return self.vectors_dir or self.state_dir / "vectors"

    @property
    def bundle_cache_path(self) -> Path:
        """Folder in which the service keeps downloaded bundles."""
        return self.bundle_cache_dir or self.state_dir / "bundles"

    def postgres_dsn(self, database: str, driver: str = "postgresql") -> str:
        """Address of one database, with the password: never print it."""
        user, secret = (
            quote(text, safe="") for text in (self.postgres_user, self.postgres_password.get_secret_value())
        )
        return f"{driver}://{user}:{secret}@{self.postgres_host}:{self.postgres_port}/{database}"


def secrets_file(state_dir: Path) -> Path:
    """Where the generated secrets of a local stack are kept (mode 600)."""
    return state_dir / "secrets.env"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SettingError: a value is of the wrong type or out of range, a name is no setting, or `.env` or the secrets
            cannot be read; the message names it.
    """
    _check_names()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper() if first["loc"] else "port_offset"
        raise SettingError(
            f"The setting {name} is not usable",
            received="hidden" if "password" in name.lower() or "secret" in name.lower() else repr(first.get("input")),
            allowed=first["msg"],
            todo="see docs/settings.md, then change it in the environment or in .env.",
        ) from None


def _check_names() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {name.upper() for name in (*os.environ, *_names_in_env_file()) if name.upper().startswith(PREFIX)}
    for name in sorted(given - known - {SUPERVISED}):
        if not name.startswith(TEST_PREFIX):
            near = difflib.get_close_matches(name, known, n=1)
            raise SettingError(
                f"{name} is no setting",
                allowed=f"perhaps {near[0]}" if near else "the names in docs/settings.md",
                todo="correct or remove it in the environment or in .env.",
            )


def _names_in_env_file() -> list[str]:
    """Names that `.env` sets; a line that is neither `NAME=value` nor a comment is an error."""
    path = PROJECT_ROOT / ".env"
    try:
        if not path.exists():
            return []
        with path.open(encoding="utf-8") as file:
            bindings = list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read", received=error, allowed="a text file in UTF-8") from None
    for binding in bindings:
        if binding.error:
            raise SettingError(
                f"{path} has a broken line",
                received=f"line {binding.original.line}: {binding.original.string.split('=')[0].strip()}=…",
                allowed='NAME=value or NAME="value", one a line',
            )
    return [binding.key for binding in bindings if binding.key]
