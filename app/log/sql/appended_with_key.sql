-- The events that earlier appends wrote with these keys: the one that carries the key and those that came with it, which
-- carry the key, U+001F and their number. At most one more than the new append has, so that a longer one shows.
--
-- $1 stream names   $2 keys   $3 how many events the new append has
SELECT k.number, e.stream_offset, e.position, e.recorded_at, e.type, e.payload
FROM (
    SELECT a.ordinality AS number, a.key, a.events, f.stream_id, f.stream_offset
    FROM unnest($1::text[], $2::text[], $3::text::integer[]) WITH ORDINALITY AS a (stream, key, events, ordinality)
    JOIN streams s ON s.name = a.stream
    JOIN events f ON f.stream_id = s.id AND f.idempotency_key = a.key
) k
JOIN events e ON e.stream_id = k.stream_id AND e.stream_offset BETWEEN k.stream_offset AND k.stream_offset + k.events
WHERE e.stream_offset = k.stream_offset
   OR e.idempotency_key = k.key || E'\x1f' || (e.stream_offset - k.stream_offset)
ORDER BY k.number, e.stream_offset
