SELECT s.id, s.name, coalesce((SELECT max(e.stream_offset) FROM events e WHERE e.stream_id = s.id), 0) AS head
FROM streams s
WHERE s.name = ANY ($1::text[])
