SELECT max(stream_offset) FROM events WHERE stream_id = (SELECT id FROM streams WHERE name = $1)
