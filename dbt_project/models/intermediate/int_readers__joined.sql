with described as (
    select user_id, country, age from {{ ref('stg_lake__readers') }}
),

seen as (
    select distinct user_id from {{ ref('stg_lake__interactions') }}
)

select
    coalesce(described.user_id, seen.user_id) as user_id,
    described.country,
    described.age,
    {{ age_bin('described.age') }} as age_bin
from described
full join seen on described.user_id = seen.user_id
