select series_id, name, author_id, works, work_ids, loaded_at
from {{ source('lake', 'series') }}
