SELECT $1::text AS stream, e.stream_offset AS "offset", e.position, e.partition, e.id, e.type, e.payload, e.schema_version,
       e.actor, e.task_id, e.causation_id, e.correlation_id, e.idempotency_key, e.recorded_at
FROM events e
WHERE e.stream_id = (SELECT s.id FROM streams s WHERE s.name = $1) AND e.stream_offset > $2
ORDER BY e.stream_offset
LIMIT $3
