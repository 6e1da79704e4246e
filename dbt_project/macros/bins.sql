{#- Label of an age; null when it is unknown. -#}
{% macro age_bin(age) -%}
    case
        when {{ age }} is null then null
        when {{ age }} < 18 then '5-17'
        when {{ age }} < 25 then '18-24'
        when {{ age }} < 35 then '25-34'
        when {{ age }} < 45 then '35-44'
        when {{ age }} < 55 then '45-54'
        when {{ age }} < 65 then '55-64'
        else '65+'
    end
{%- endmacro %}

{#- Label of a year of publication: its decade; null when it is unknown. -#}
{% macro year_bin(year) -%}
    case
        when {{ year }} is null then null
        when {{ year }} < 1900 then 'before 1900'
        when {{ year }} < 1950 then '1900-1949'
        else ({{ year }} / 10 * 10)::text || 's'
    end
{%- endmacro %}
