-- A run's lease for a worker: free, expired or its own. The epoch grows with every claim; no row: somebody else holds
-- it.
--
-- The counters are locked first, in their order, so an append is either before or behind the change. It is one statement:
-- a worker that is frozen, or cut off, between two of them would keep the counters locked, and nobody could append.
WITH locked AS (
    SELECT partition FROM partitions ORDER BY partition FOR UPDATE
),
counters AS (
    SELECT count(*) AS taken FROM locked
)
INSERT INTO leases AS l (task_id, epoch, worker, expires_at)
SELECT $1, nextval('lease_epochs'), $2, clock_timestamp() + $3 FROM counters WHERE counters.taken > 0
ON CONFLICT (task_id) DO UPDATE
    SET epoch = excluded.epoch, worker = excluded.worker, expires_at = excluded.expires_at
    WHERE l.expires_at <= clock_timestamp() OR l.worker = excluded.worker
RETURNING epoch
