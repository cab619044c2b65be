-- A range, for the reason that `read_stream.sql` gives.
WITH last AS (
    SELECT s.id, (
        SELECT max(e.stream_offset) FROM events e WHERE e.stream_id = s.id AND e.stream_offset < $2
    ) AS "offset"
    FROM streams s
    WHERE s.name = $1
)
SELECT $1::text AS stream, e.stream_offset AS "offset", e.position, e.partition, e.id, e.type, e.payload, e.schema_version,
       e.actor, e.task_id, e.causation_id, e.correlation_id, e.idempotency_key, e.recorded_at
FROM events e
WHERE e.stream_id = (SELECT l.id FROM last l)
    AND e.stream_offset BETWEEN (SELECT l."offset" - $3 + 1 FROM last l) AND (SELECT l."offset" FROM last l)
ORDER BY e.stream_offset DESC
