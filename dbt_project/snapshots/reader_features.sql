{% snapshot reader_features %}
{{ config(
    unique_key='user_id',
    strategy='check',
    check_cols=['total_interactions', 'total_works', 'total_ratings', 'avg_rating', 'last_at', 'age_bin', 'country',
                'preferred_authors', 'preferred_subjects'],
    hard_deletes='invalidate',
    snapshot_meta_column_names={'dbt_valid_from': 'valid_from', 'dbt_valid_to': 'valid_to'},
    post_hook="{{ create_snapshot_as_of() }}",
) }}
-- Days since the last event would make every row new each day; last_at says the same.
select
    user_id,
    total_interactions,
    total_works,
    total_ratings,
    avg_rating,
    last_at,
    age_bin,
    country,
    preferred_authors,
    preferred_subjects
from {{ ref('readers') }}
where total_interactions > 0
{% endsnapshot %}
