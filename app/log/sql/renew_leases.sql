UPDATE leases SET expires_at = clock_timestamp() + $3
WHERE worker = $1 AND task_id = ANY ($2::uuid[])
RETURNING task_id
