{{ config(materialized='table') }}

with events as (
    select * from {{ ref('stg_lake__interactions') }}
    where work_id is not null and kind <> 'impression'
),

-- What a reader took back counts at no time, also not in a snapshot as of a time before.
forgotten as (
    select
        user_id,
        work_id,
        max(occurred_at) as forgotten_at
    from events
    where kind = 'forget'
    group by user_id, work_id
)

select
    events.event_id,
    events.user_id,
    events.work_id,
    events.kind,
    events.value,
    {{ weigh('events.kind', 'events.value') }} as weight,
    events.occurred_at,
    coalesce(events.occurred_at, events.received_at) as seen_at
from events
left join forgotten using (user_id, work_id)
where
    events.kind <> 'forget'
    and (forgotten.forgotten_at is null or events.occurred_at > forgotten.forgotten_at)
