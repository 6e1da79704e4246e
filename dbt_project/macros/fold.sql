{#-
Weighed events to one row per reader and work, as of a time: the one definition behind
marts.interactions (now) and marts.interactions_as_of(t).

A dismissal that came last takes the weight away; else the last rating decides; else the
strongest event. `as_of` is an SQL expression; events without a time count from when they came in.
-#}
{% macro fold_interactions(events, as_of=none) -%}
    with known as (
        select *, {{ consumed() }} as is_consumed
        from {{ events }}
        {% if as_of %}where seen_at <= {{ as_of }}{% endif %}
    ),

    folded as (
        select
            user_id,
            work_id,
            max(weight) as top_weight,
            (array_agg(kind order by weight desc, seen_at desc, event_id desc))[1] as top_kind,
            (array_agg(kind order by seen_at desc, event_id desc))[1] as last_kind,
            (array_agg(value order by seen_at desc, event_id desc) filter (where kind = 'rating' and value > 0))[1]
                as value,
            bool_or(is_consumed) as consumed,
            count(*)::integer as events,
            min(occurred_at) as first_occurred_at,
            max(occurred_at) as occurred_at,
            max(seen_at) as seen_at,
            count(*) = count(occurred_at) as has_time
        from known
        group by user_id, work_id
    )

    select
        user_id,
        work_id,
        case
            when last_kind = 'dismiss' then 0
            when value is not null then {{ weigh("'rating'", "value") }}
            else top_weight
        end::double precision as weight,
        value,
        case
            when last_kind = 'dismiss' then 'dismiss'
            when value is not null then 'rating'
            else top_kind
        end as kind,
        consumed,
        events,
        first_occurred_at,
        occurred_at,
        seen_at,
        has_time
    from folded
{%- endmacro %}

{% macro consumed() -%}
    kind in ({{ consumed_kinds() }})
{%- endmacro %}
