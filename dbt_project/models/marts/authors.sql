{{ config(indexes=[{'columns': ['author_id'], 'unique': true}]) }}

with by_reader as (
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
    a.author_id,
    a.name,
    a.aliases,
    a.works,
    a.editions,
    a.first_year,
    a.last_year,
    coalesce(r.readers, 0) as readers,
    coalesce(r.popularity_all, 0) as popularity_all,
    coalesce(r.ratings, 0) as ratings,
    (coalesce(r.rating_sum, 0) + {{ var('rating_prior') }} * o.mean_rating)
    / (coalesce(r.ratings, 0) + {{ var('rating_prior') }}) as avg_rating
from {{ ref('stg_lake__authors') }} as a
left join by_reader as r on a.author_id = r.author_id
cross join overall as o
