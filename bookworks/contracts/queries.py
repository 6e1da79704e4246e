"""Named questions to ClickHouse: name -> SQL. The dashboard and the demo ask the same ones, from here.

Every table that collapses repeated inserts is read with FINAL. Each column of an answer has a name,
times are UTC, click-through is a share from 0 to 1 (empty where nothing was shown).
"""

from __future__ import annotations

# Which bundle served how many answers and books, to how many readers, and when.
RECOMMENDATIONS_PER_BUNDLE = """
SELECT
    bundle_version,
    uniqExact(decision_id) AS decisions,
    countIf(work_id != '') AS recommendations,
    uniqExact(user_id) AS readers,
    min(occurred_at) AS first_at,
    max(occurred_at) AS last_at
FROM decisions FINAL
GROUP BY bundle_version
ORDER BY last_at DESC
"""

# Clicks per book shown. What the service showed is in `decisions`: a shown book counts as clicked when a click
# carries its decision_id and its work (or, where the click names no work, its position). Events that belong to no
# logged decision (imports, simulated history) are counted among themselves: clicks per impression.
CLICK_THROUGH_PER_SURFACE = """
WITH
    clicked_works AS (
        SELECT assumeNotNull(decision_id) AS decision_id, assumeNotNull(work_id) AS work_id
        FROM events FINAL
        WHERE kind = 'click' AND decision_id IS NOT NULL AND work_id IS NOT NULL
    ),
    clicked_positions AS (
        SELECT assumeNotNull(decision_id) AS decision_id, toUInt16(assumeNotNull(position)) AS position
        FROM events FINAL
        WHERE kind = 'click' AND decision_id IS NOT NULL AND work_id IS NULL AND position IS NOT NULL
    )
SELECT surface, counted_from, shown, clicks, if(shown = 0, NULL, clicks / shown) AS click_through
FROM (
    SELECT
        CAST(surface, 'String') AS surface,
        'decisions' AS counted_from,
        countIf(work_id != '') AS shown,
        countIf(
            work_id != '' AND (decision_id, work_id) IN (SELECT decision_id, work_id FROM clicked_works)
            OR work_id != '' AND (decision_id, position) IN (SELECT decision_id, position FROM clicked_positions)
        ) AS clicks
    FROM decisions FINAL
    GROUP BY surface
    UNION ALL
    SELECT
        ifNull(CAST(surface, 'Nullable(String)'), 'unknown') AS surface,
        'events' AS counted_from,
        countIf(kind = 'impression') AS shown,
        countIf(kind = 'click') AS clicks
    FROM events FINAL
    WHERE kind IN ('impression', 'click')
        AND (decision_id IS NULL OR assumeNotNull(decision_id) NOT IN (SELECT decision_id FROM decisions))
    GROUP BY surface
)
ORDER BY surface, counted_from
"""

# NDCG of every model at every cut-off, averaged over the measurements of one bundle version, over all readers.
NDCG_BY_MODEL_VERSION = """
SELECT
    bundle_version,
    CAST(model, 'String') AS model,
    k,
    avg(value) AS ndcg,
    min(low) AS ndcg_low,
    max(high) AS ndcg_high,
    max(measured_at) AS measured_at
FROM metrics FINAL
WHERE metric = 'ndcg' AND slice = 'all'
GROUP BY bundle_version, model, k
ORDER BY measured_at DESC, bundle_version, k, ndcg DESC
"""

# The last hundred runs of the DAGs, newest first.
PIPELINE_RUNS = """
SELECT
    CAST(dag_id, 'String') AS dag_id,
    run_id,
    CAST(state, 'String') AS state,
    started_at,
    ended_at,
    dateDiff('millisecond', started_at, ended_at) / 1000 AS seconds,
    detail
FROM pipeline_runs FINAL
ORDER BY started_at DESC
LIMIT 100
"""

QUERIES: dict[str, str] = {
    "recommendations_per_bundle": RECOMMENDATIONS_PER_BUNDLE,
    "click_through_per_surface": CLICK_THROUGH_PER_SURFACE,
    "ndcg_by_model_version": NDCG_BY_MODEL_VERSION,
    "pipeline_runs": PIPELINE_RUNS,
}
