"""ClickHouse: decisions, drift, reports, benchmarks."""
