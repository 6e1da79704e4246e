select user_id, country, age, source, loaded_at
from {{ source('lake', 'readers') }}
