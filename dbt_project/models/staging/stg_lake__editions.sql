select edition_id, source, isbn13, title, author, year, publisher, language, series, format, repairs, loaded_at
from {{ source('lake', 'editions') }}
