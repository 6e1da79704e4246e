{{ config(indexes=[{'columns': ['work_id', 'nth'], 'unique': true}]) }}

-- Works are numbered first: pairs of integers are half as wide as pairs of ids, and sort faster.
with numbered as (
    select work_id, row_number() over (order by work_id)::integer as work
    from {{ ref('works') }}
    where popularity_all >= {{ var('co_occurrence_readers') }}
),

chosen as (
    select
        i.user_id,
        n.work,
        row_number() over (
            partition by i.user_id order by i.weight desc, i.occurred_at desc nulls last, i.work_id
        ) as nth
    from {{ ref('interactions') }} as i
    inner join numbered as n on i.work_id = n.work_id
    where i.weight > 0
),

bounded as materialized (
    select user_id, work from chosen where nth <= {{ var('co_occurrence_reader_works') }}
),

pairs as (
    select a.work as work_a, b.work as work_b, count(*)::integer as readers
    from bounded as a
    inner join bounded as b on a.user_id = b.user_id and a.work < b.work
    group by a.work, b.work
    having count(*) >= {{ var('co_occurrence_readers') }}
),

readers_of as (
    select work, count(*) as readers from bounded group by work
),

both_ways as (
    select work_a as work, work_b as other, readers from pairs
    union all
    select work_b, work_a, readers from pairs
),

scored as (
    select
        p.work,
        p.other,
        p.readers,
        p.readers / sqrt(a.readers::double precision * b.readers) as similarity
    from both_ways as p
    inner join readers_of as a on p.work = a.work
    inner join readers_of as b on p.other = b.work
),

ranked as (
    select *, row_number() over (partition by work order by similarity desc, readers desc, other)::integer as nth
    from scored
)

select a.work_id, b.work_id as other_work_id, r.nth, r.readers, r.similarity
from ranked as r
inner join numbered as a on r.work = a.work
inner join numbered as b on r.other = b.work
where r.nth <= {{ var('co_occurrence_works') }}
