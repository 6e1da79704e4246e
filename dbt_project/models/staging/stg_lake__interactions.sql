select
    event_id,
    kind,
    user_id,
    edition_id,
    work_id,
    value,
    occurred_at,
    received_at,
    session_id,
    surface,
    decision_id,
    position,
    source,
    loaded_at
from {{ source('lake', 'interactions') }}
