-- One row: the newest event that has a time. Windows count back from it, not from now.
select max(occurred_at) as newest_at from {{ ref('interactions') }}
