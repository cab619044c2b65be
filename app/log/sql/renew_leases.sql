-- Prolongs those of these leases that the worker still has. One statement, for the reason that `claim_lease.sql` gives.
WITH locked AS (
    SELECT partition FROM partitions ORDER BY partition FOR UPDATE
),
counters AS (
    SELECT count(*) AS taken FROM locked
)
UPDATE leases SET expires_at = clock_timestamp() + $3
FROM counters
WHERE counters.taken > 0 AND worker = $1 AND task_id = ANY ($2::text::uuid[])
RETURNING task_id
