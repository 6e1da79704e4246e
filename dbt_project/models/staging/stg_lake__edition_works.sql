select edition_id, work_id, confidence, loaded_at
from {{ source('lake', 'edition_works') }}
