-- Who folds a projection now. One worker at a time saves the others the work; that the tables are right rests on the
-- position alone. A worker whose lease is over, or whose connection has gone, is followed by whoever looks first.
ALTER TABLE projection_checkpoints ADD COLUMN worker_pid integer;
ALTER TABLE projection_checkpoints ADD COLUMN worker_since timestamptz;
ALTER TABLE projection_checkpoints ADD COLUMN lease_until timestamptz;
COMMENT ON COLUMN projection_checkpoints.worker_pid IS
    'Backend of the worker, with the time of its start, as in pg_stat_activity.';
-- Why a projection goes no further, for whoever looks. Cleared when it moves on, and by `minutebook project retry`.
ALTER TABLE projection_checkpoints ADD COLUMN problem text;
