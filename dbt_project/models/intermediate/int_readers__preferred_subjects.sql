with liked as (
    select
        i.user_id,
        s.subject,
        row_number() over (partition by i.user_id order by round(sum(i.weight)::numeric, 6) desc, s.subject) as nth
    from {{ ref('interactions') }} as i
    inner join {{ ref('stg_lake__works') }} as w on i.work_id = w.work_id
    cross join lateral unnest(w.subjects) as s (subject)
    where i.weight > 0
    group by i.user_id, s.subject
)

select user_id, array_agg(subject order by nth) as preferred_subjects
from liked
where nth <= {{ var('preferred_subjects') }}
group by user_id
