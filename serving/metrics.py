"""The service's own Prometheus metrics, beside those of BentoML."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0)

TIERS = Counter("bookworks_recommendations", "Slates answered, by tier.", ["tier"])
FALLBACKS = Counter("bookworks_fallbacks", "Answers made without a part that was away.", ["part"])
STEPS = Histogram("bookworks_step_seconds", "Time of each step of a recommendation.", ["step"], buckets=_SECONDS)
AGAIN = Counter("bookworks_answers_again", "Slates that were given again, nothing having changed.")
DECISIONS_DROPPED = Counter("bookworks_decisions_dropped", "Decisions that never reached Kafka.")
ANSWERS_DROPPED = Counter("bookworks_answers_not_kept", "Answers that are not found again, nor counted as shown.")
INTERACTIONS = Counter("bookworks_interactions", "Interactions posted, by result.", ["result"])
SPOOL_FILES = Gauge(
    "bookworks_spool_files",
    "Files of what readers did that wait for Kafka, or are broken and set aside.",
    ["state"],
    multiprocess_mode="livemostrecent",
)
CALLS_REFUSED = Counter("bookworks_calls_refused", "Calls above the limit of their caller.", ["routes", "caller"])
BUNDLES_REFUSED = Counter("bookworks_bundles_refused", "Champions that could not be loaded.")
BUNDLE = Gauge(
    "bookworks_bundle_workers", "Workers that serve this bundle version.", ["version"], multiprocess_mode="livesum"
)
LOADED_AT = Gauge(
    "bookworks_bundle_loaded_timestamp_seconds", "When the bundle was loaded.", multiprocess_mode="livemax"
)
