{{ config(indexes=[{'columns': ['author_id'], 'unique': true}]) }}

with by_work as (
    select
        author_id,
        mode() within group (order by author) as author,
        count(*)::integer as works,
        sum(editions)::integer as editions,
        min(year) as first_year,
        max(year) as last_year
    from {{ ref('works') }}
    where author_id is not null
    group by author_id
),

by_reader as (
    select
        w.author_id,
        count(distinct i.user_id) filter (where i.weight > 0)::integer as readers,
        count(*) filter (where i.weight > 0)::integer as popularity_all,
        count(i.value)::integer as ratings,
        sum(i.value) as rating_sum
    from {{ ref('interactions') }} as i
    inner join {{ ref('works') }} as w on i.work_id = w.work_id
    where w.author_id is not null
    group by w.author_id
),

overall as (
    select avg(value) as mean_rating from {{ ref('interactions') }}
)

select
    w.author_id,
    w.author,
    w.works,
    w.editions,
    w.first_year,
    w.last_year,
    coalesce(r.readers, 0) as readers,
    coalesce(r.popularity_all, 0) as popularity_all,
    coalesce(r.ratings, 0) as ratings,
    (coalesce(r.rating_sum, 0) + {{ var('rating_prior') }} * o.mean_rating)
    / (coalesce(r.ratings, 0) + {{ var('rating_prior') }}) as avg_rating
from by_work as w
left join by_reader as r on w.author_id = r.author_id
cross join overall as o
