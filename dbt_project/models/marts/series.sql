{{ config(indexes=[{'columns': ['series_id'], 'unique': true}]) }}

with by_reader as (
    select
        w.series_id,
        count(distinct i.user_id)::integer as readers,
        count(*)::integer as popularity_all
    from {{ ref('interactions') }} as i
    inner join {{ ref('works') }} as w on i.work_id = w.work_id
    where w.series_id is not null and i.weight > 0
    group by w.series_id
)

select
    s.series_id,
    s.name,
    s.author_id,
    s.works,
    s.work_ids,
    coalesce(r.readers, 0) as readers,
    coalesce(r.popularity_all, 0) as popularity_all
from {{ ref('stg_lake__series') }} as s
left join by_reader as r on s.series_id = r.series_id
