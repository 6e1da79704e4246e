{{ config(indexes=[{'columns': ['work_id'], 'unique': true}, {'columns': ['author_id']}]) }}

with totals as (
    select
        i.work_id,
        {%- for days in [7, 30, 90] %}
        count(*) filter (where i.weight > 0 and i.occurred_at > n.newest_at - interval '{{ days }} days')
            as readers_{{ days }}d,
        {%- endfor %}
        count(*) filter (where i.weight > 0) as readers_all,
        count(i.value) as ratings,
        sum(i.value) as rating_sum,
        max(i.occurred_at) as last_at
    from {{ ref('interactions') }} as i
    cross join {{ ref('int_interactions__newest') }} as n
    group by i.work_id
),

overall as (
    select avg(value) as mean_rating from {{ ref('interactions') }}
)

select
    w.work_id,
    w.title,
    w.original_title,
    w.author,
    w.author_id,
    w.series,
    w.series_id,
    w.series_number,
    w.publisher,
    w.year,
    {{ year_bin('w.year') }} as year_bin,
    w.language,
    coalesce(w.languages, '{}') as languages,
    w.formats,
    coalesce(w.subjects, '{}') as subjects,
    w.image_url,
    w.editions,
    {%- for days in [7, 30, 90] %}
    case when n.newest_at is not null then coalesce(t.readers_{{ days }}d, 0)::integer end as popularity_{{ days }}d,
    {%- endfor %}
    coalesce(t.readers_all, 0)::integer as popularity_all,
    coalesce(t.ratings, 0)::integer as ratings,
    t.rating_sum / nullif(t.ratings, 0) as mean_rating,
    (coalesce(t.rating_sum, 0) + {{ var('rating_prior') }} * o.mean_rating)
    / (coalesce(t.ratings, 0) + {{ var('rating_prior') }}) as avg_rating,
    t.last_at
from {{ ref('stg_lake__works') }} as w
left join totals as t on w.work_id = t.work_id
cross join overall as o
cross join {{ ref('int_interactions__newest') }} as n
