-- Those of these runs that a worker holds now.
SELECT task_id FROM leases WHERE task_id = ANY ($1::text::uuid[]) AND expires_at > clock_timestamp()
