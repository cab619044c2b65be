-- Which of these events are in the log, looked for only behind a position known to be older than all of them.
SELECT s.name AS stream, e.id, e.stream_offset, e.position, e.recorded_at
FROM events e
JOIN streams s ON s.id = e.stream_id
WHERE e.partition = $1 AND e.position > $2 AND e.id = ANY ($3::text::uuid[])
