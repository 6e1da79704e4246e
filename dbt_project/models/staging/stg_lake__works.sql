select work_id, title, author, author_id, series, publisher, year, language, subjects, image_url, editions, loaded_at
from {{ source('lake', 'works') }}
