{{ config(indexes=[{'columns': ['user_id'], 'unique': true}]) }}

with totals as (
    select
        user_id,
        count(*) as total_works,
        sum(events) as total_interactions,
        count(value) as total_ratings,
        avg(value) as avg_rating,
        max(occurred_at) as last_at
    from {{ ref('interactions') }}
    group by user_id
)

select
    r.user_id,
    coalesce(t.total_interactions, 0)::integer as total_interactions,
    coalesce(t.total_works, 0)::integer as total_works,
    coalesce(t.total_ratings, 0)::integer as total_ratings,
    t.avg_rating,
    t.last_at,
    extract(epoch from n.newest_at - t.last_at) / 86400 as recency_days,
    r.age,
    r.age_bin,
    r.country,
    coalesce(a.preferred_authors, '{}') as preferred_authors,
    coalesce(s.preferred_subjects, '{}') as preferred_subjects
from {{ ref('int_readers__joined') }} as r
left join totals as t on r.user_id = t.user_id
left join {{ ref('int_readers__preferred_authors') }} as a on r.user_id = a.user_id
left join {{ ref('int_readers__preferred_subjects') }} as s on r.user_id = s.user_id
cross join {{ ref('int_interactions__newest') }} as n
