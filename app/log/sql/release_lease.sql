DELETE FROM leases WHERE task_id = $1 AND epoch = $2
