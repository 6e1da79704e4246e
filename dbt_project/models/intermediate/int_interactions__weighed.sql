{{ config(materialized='table') }}

select
    event_id,
    user_id,
    work_id,
    kind,
    value,
    {{ weigh('kind', 'value') }} as weight,
    occurred_at,
    coalesce(occurred_at, received_at) as seen_at
from {{ ref('stg_lake__interactions') }}
where work_id is not null and kind <> 'impression'
