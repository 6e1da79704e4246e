"""Reports in the lake bucket: one JSON a load, named by its start, so that the last in order is the newest."""

INGEST_PREFIX = "reports/ingest/"
