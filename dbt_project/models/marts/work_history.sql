select old_work_id, new_work_id, kind, at, why, score, editions
from {{ ref('stg_lake__work_history') }}
