SELECT s.name AS stream, e.stream_offset AS "offset", e.position, e.partition, e.id, e.type, e.payload, e.schema_version,
       e.actor, e.task_id, e.causation_id, e.correlation_id, e.idempotency_key, e.recorded_at
FROM events e
JOIN streams s ON s.id = e.stream_id
WHERE e.partition = $1 AND e.position > $2
ORDER BY e.position
LIMIT $3
