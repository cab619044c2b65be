-- A run's lease for a worker: free, expired or its own. The epoch grows with every claim; no row: somebody else holds
-- it.
INSERT INTO leases AS l (task_id, epoch, worker, expires_at)
VALUES ($1, nextval('lease_epochs'), $2, clock_timestamp() + $3)
ON CONFLICT (task_id) DO UPDATE
    SET epoch = excluded.epoch, worker = excluded.worker, expires_at = excluded.expires_at
    WHERE l.expires_at <= clock_timestamp() OR l.worker = excluded.worker
RETURNING epoch
