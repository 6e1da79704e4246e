select
    work_id,
    title,
    original_title,
    author,
    author_id,
    series,
    series_id,
    series_number,
    publisher,
    year,
    language,
    languages,
    formats::jsonb as formats,
    subjects,
    image_url,
    editions,
    loaded_at
from {{ source('lake', 'works') }}
