{#- How much one event says about a reader's liking, 0 to 1: bookworks.contracts.records.weight_of. -#}
{% macro weigh(kind, value) -%}
    case
        when {{ kind }} = 'rating' and coalesce({{ value }}, 0) > 0 then {{ value }} / {{ var('rating_max') }}
        when {{ kind }} = 'rating' then {{ var('unrated_weight') }}
        {%- for name, weight in var('kind_weights').items() if name != 'rating' %}
        when {{ kind }} = '{{ name }}' then {{ weight }}
        {%- endfor %}
    end::double precision
{%- endmacro %}

{#- The consumed kinds as a list of SQL strings. -#}
{% macro consumed_kinds() -%}
    '{{ var('consumed_kinds') | join("', '") }}'
{%- endmacro %}
