"""The warehouse: Postgres schemas, and the raw tables that Spark loads and dbt reads."""

from __future__ import annotations

RAW, STAGING, INTERMEDIATE, MARTS, SNAPSHOTS = "raw", "staging", "intermediate", "marts", "snapshots"
SCHEMAS = (RAW, STAGING, INTERMEDIATE, MARTS, SNAPSHOTS)

# raw.<table> has the columns of the clean lake table of that name and `loaded_at`.
RAW_TABLES = ("editions", "edition_works", "works", "authors", "series", "work_history", "interactions", "readers")

# Marts that other steps read.
READERS = f"{MARTS}.readers"  # user_id, total_interactions, avg_rating, last_at, recency_days, age_bin, country, …
WORK_IDS = f"{MARTS}.work_ids"  # work_id, current_work_id: where each id that a work ever had leads
AUTHORS = f"{MARTS}.authors"  # author_id, name, aliases, works, editions, first_year, last_year, …
WORKS = f"{MARTS}.works"  # work_id, title, author, author_id, publisher, year_bin, language, popularity_*, …
INTERACTIONS = f"{MARTS}.interactions"  # user_id, work_id, weight, value, kind, occurred_at: one row a reader and work
