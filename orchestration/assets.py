"""The data whose change starts a DAG."""

from __future__ import annotations

from airflow.sdk import Asset

LAKE_CLEAN = Asset("lake_clean", uri="bookworks://lake/clean")
MARTS = Asset("marts", uri="bookworks://warehouse/marts")
CHALLENGER = Asset("challenger", uri="bookworks://registry/challenger")
CHAMPION_IS_OLD = Asset("champion_is_old", uri="bookworks://registry/champion-is-old")
