{% snapshot work_features %}
{{ config(
    unique_key='work_id',
    strategy='check',
    check_cols=['author_id', 'publisher', 'year_bin', 'language', 'editions', 'popularity_7d', 'popularity_30d',
                'popularity_90d', 'popularity_all', 'ratings', 'mean_rating'],
    hard_deletes='invalidate',
    snapshot_meta_column_names={'dbt_valid_from': 'valid_from', 'dbt_valid_to': 'valid_to'},
    post_hook="{{ create_snapshot_as_of() }}",
) }}
-- The shrunk mean moves with the overall one at every build, so it is kept but makes no new row.
select
    work_id,
    author_id,
    publisher,
    year_bin,
    language,
    editions,
    popularity_7d,
    popularity_30d,
    popularity_90d,
    popularity_all,
    ratings,
    mean_rating,
    avg_rating
from {{ ref('works') }}
{% endsnapshot %}
