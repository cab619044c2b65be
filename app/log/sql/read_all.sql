-- A range, for the reason that `read_stream.sql` gives. LIMIT tells the planner how few names there are to be found.
WITH first AS (
    SELECT min(e.position) AS position FROM events e WHERE e.partition = $1 AND e.position > $2
)
SELECT s.name AS stream, e.stream_offset AS "offset", e.position, e.partition, e.id, e.type, e.payload, e.schema_version,
       e.actor, e.task_id, e.causation_id, e.correlation_id, e.idempotency_key, e.recorded_at
FROM (
    SELECT * FROM events e
    WHERE e.partition = $1
        AND e.position BETWEEN (SELECT f.position FROM first f) AND (SELECT f.position + $3 - 1 FROM first f)
    ORDER BY e.position
    LIMIT 1000
) e
JOIN streams s ON s.id = e.stream_id
ORDER BY e.position
