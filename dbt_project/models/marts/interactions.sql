{{ config(
    indexes=[{'columns': ['user_id', 'work_id'], 'unique': true}, {'columns': ['work_id']}],
    post_hook="{{ create_interactions_as_of() }}",
) }}

{{ fold_interactions(ref('int_interactions__weighed')) }}
