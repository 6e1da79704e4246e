with liked as (
    select
        i.user_id,
        w.author_id,
        row_number() over (partition by i.user_id order by round(sum(i.weight)::numeric, 6) desc, w.author_id) as nth
    from {{ ref('interactions') }} as i
    inner join {{ ref('stg_lake__works') }} as w on i.work_id = w.work_id
    where i.weight > 0 and w.author_id is not null
    group by i.user_id, w.author_id
)

select user_id, array_agg(author_id order by nth) as preferred_authors
from liked
where nth <= {{ var('preferred_authors') }}
group by user_id
