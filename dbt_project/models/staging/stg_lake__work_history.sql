select old_work_id, new_work_id, kind, at, why, score, editions, loaded_at
from {{ source('lake', 'work_history') }}
