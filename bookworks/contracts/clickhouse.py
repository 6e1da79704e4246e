"""ClickHouse tables with engine, order key and TTL. Repeated inserts collapse (ReplacingMergeTree): read with FINAL.

An event is known by reader and id together: the id is the caller's choice, so another reader's event of the same id
is another event. A table of an older order key is not altered: drop `events` and read the topic again.
"""

from __future__ import annotations

# Columns that came after their table: tables of before get them too.
LATER: dict[str, tuple[str, ...]] = {
    "decisions": ("propensity Float64 DEFAULT 1", "relaxed Array(String)", "context Map(String, String)"),
}
TABLES: dict[str, str] = {
    "events": """
        event_id String, kind LowCardinality(String), user_id String, edition_id Nullable(String),
        work_id Nullable(String), value Nullable(Float64), occurred_at Nullable(DateTime64(3, 'UTC')),
        received_at DateTime64(3, 'UTC'), session_id Nullable(String), surface LowCardinality(Nullable(String)),
        decision_id Nullable(String), position Nullable(Int32), source LowCardinality(String)
        ) ENGINE = ReplacingMergeTree(received_at) ORDER BY (user_id, event_id)""",
    "decisions": f"""
        decision_id String, user_id String, surface LowCardinality(String), bundle_version LowCardinality(String),
        tier LowCardinality(String), fallbacks Array(String), occurred_at DateTime64(3, 'UTC'), latency_ms Float64,
        work_id String, position UInt16, score Float64, sources Map(String, Float64),
        source LowCardinality(String), {", ".join(LATER["decisions"])}
        ) ENGINE = ReplacingMergeTree ORDER BY (decision_id, position)
        TTL toDateTime(occurred_at) + INTERVAL 400 DAY""",
    "models": """
        bundle_version String, registered_at DateTime64(3, 'UTC'), stage LowCardinality(String), git_commit String,
        data_version String, mlflow_run String, reason String
        ) ENGINE = MergeTree ORDER BY (bundle_version, registered_at)""",
    "metrics": """
        bundle_version String, model LowCardinality(String), metric LowCardinality(String), k UInt16,
        slice LowCardinality(String), value Float64, low Float64, high Float64, measured_at DateTime64(3, 'UTC')
        ) ENGINE = ReplacingMergeTree(measured_at) ORDER BY (bundle_version, model, metric, k, slice)""",
    "works_measures": """
        version String, measured_at DateTime64(3, 'UTC'), state LowCardinality(String), measure LowCardinality(String),
        value Float64, low Float64, high Float64
        ) ENGINE = ReplacingMergeTree(measured_at) ORDER BY (version, measure)""",
    "drift": """
        feature LowCardinality(String), statistic LowCardinality(String), value Float64, baseline String,
        current String, measured_at DateTime64(3, 'UTC')
        ) ENGINE = MergeTree ORDER BY (feature, measured_at)""",
    "pipeline_runs": """
        dag_id LowCardinality(String), run_id String, state LowCardinality(String),
        started_at DateTime64(3, 'UTC'), ended_at DateTime64(3, 'UTC'), detail String
        ) ENGINE = ReplacingMergeTree(ended_at) ORDER BY (dag_id, run_id)""",
    "work_ids": """
        work_id String, current_work_id String, bundle_version String, published_at DateTime64(3, 'UTC')
        ) ENGINE = ReplacingMergeTree(published_at) ORDER BY work_id""",
}


def create_table(name: str) -> str:
    """The statement that makes one table if it is not there."""
    return f"CREATE TABLE IF NOT EXISTS {name} ({TABLES[name]}"


def add_later_columns(name: str) -> list[str]:
    """The statements that give a table of before the columns that came later."""
    return [f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column}" for column in LATER.get(name, ())]
