{{ config(indexes=[{'columns': ['user_id'], 'unique': true}]) }}

with liked as (
    select
        *,
        row_number() over (
            partition by user_id order by occurred_at desc nulls last, weight desc, work_id desc
        ) as from_last
    from {{ ref('interactions') }}
    where weight > 0
)

select
    user_id,
    array_agg(work_id order by from_last desc) as work_ids,
    array_agg(weight order by from_last desc) as weights,
    array_agg(occurred_at order by from_last desc) as occurred_at,
    count(*)::integer as n,
    bool_and(has_time) as has_time
from liked
where from_last <= {{ var('sequence_length') }}
group by user_id
