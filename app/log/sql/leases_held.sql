SELECT l.task_id, l.epoch, l.worker FROM leases l WHERE l.task_id = ANY ($1::text::uuid[])
