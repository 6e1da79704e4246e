{{ config(indexes=[{'columns': ['work_id'], 'unique': true}]) }}

-- The last change of an id counts, as in spark_jobs.works.ids.current_ids.
with recursive changes as (
    select old_work_id as work_id, new_work_id as merged_into, at
    from {{ ref('stg_lake__work_history') }}
    where kind = 'merge'
    union all
    select new_work_id, null, at
    from {{ ref('stg_lake__work_history') }}
    where kind = 'restored'
),

last_change as (
    select distinct on (work_id) work_id, merged_into
    from changes
    order by work_id, at desc, merged_into nulls first
),

retired as (
    select work_id, merged_into from last_change where merged_into is not null
),

walked as (
    select work_id, merged_into from retired
    union
    select w.work_id, r.merged_into
    from walked as w
    inner join retired as r on w.merged_into = r.work_id
),

ends as (
    select w.work_id, w.merged_into
    from walked as w
    left join retired as r on w.merged_into = r.work_id
    where r.work_id is null
),

ids as (
    select work_id from {{ ref('stg_lake__works') }}
    union
    select work_id from changes
)

select i.work_id, w.work_id as current_work_id
from ids as i
left join ends as e on i.work_id = e.work_id
inner join {{ ref('stg_lake__works') }} as w on w.work_id = coalesce(e.merged_into, i.work_id)
