-- Offsets have no gaps, so a page is a range. Bounded by LIMIT alone it may be sorted out of all that is behind it: the
-- planner does so where statistics are missing. The range starts at the first event there is, so that a hole shows.
WITH first AS (
    SELECT s.id, (
        SELECT min(e.stream_offset) FROM events e WHERE e.stream_id = s.id AND e.stream_offset > $2
    ) AS "offset"
    FROM streams s
    WHERE s.name = $1
)
SELECT $1::text AS stream, e.stream_offset AS "offset", e.position, e.partition, e.id, e.type, e.payload, e.schema_version,
       e.actor, e.task_id, e.causation_id, e.correlation_id, e.idempotency_key, e.recorded_at
FROM events e
WHERE e.stream_id = (SELECT f.id FROM first f)
    AND e.stream_offset BETWEEN (SELECT f."offset" FROM first f) AND (SELECT f."offset" + $3 - 1 FROM first f)
ORDER BY e.stream_offset
