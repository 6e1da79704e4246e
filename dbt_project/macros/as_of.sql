{#- A function that gives the rows of a snapshot as they were known at a time. -#}
{% macro create_snapshot_as_of() -%}
    create or replace function {{ this.schema }}.{{ this.identifier }}_as_of(t timestamptz)
    returns setof {{ this }} language sql stable as $$
        select * from {{ this }} where valid_from <= t and (valid_to is null or t < valid_to)
    $$
{%- endmacro %}

{#- A function that folds the events that had happened at a time. -#}
{% macro create_interactions_as_of() -%}
    create or replace function {{ this.schema }}.interactions_as_of(t timestamptz)
    returns table (
        user_id text, work_id text, weight double precision, value double precision, kind text, consumed boolean,
        events integer, first_occurred_at timestamptz, occurred_at timestamptz, seen_at timestamptz, has_time boolean
    ) language sql stable as $$
        {{ fold_interactions(ref('int_interactions__weighed'), 't') }}
    $$
{%- endmacro %}
