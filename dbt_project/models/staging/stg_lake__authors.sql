select author_id, name, aliases, works, editions, first_year, last_year, loaded_at
from {{ source('lake', 'authors') }}
