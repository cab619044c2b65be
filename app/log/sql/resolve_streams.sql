-- Ids and heads of streams, made where they are new. A stream that another node makes at this moment may be missing
-- from the result: ask again. Not flushed to disk: the commit of the first event flushes it along.
--
-- $1 partition   $2 names, sorted (all nodes lock in one order)
WITH relaxed AS (
    SELECT set_config('synchronous_commit', 'off', true)
),
made AS (
    INSERT INTO streams (name, partition)
    SELECT n.name, $1
    FROM relaxed, unnest($2::text[]) WITH ORDINALITY AS n (name, ordinality)
    WHERE NOT EXISTS (SELECT FROM streams s WHERE s.name = n.name)
    ORDER BY n.ordinality
    ON CONFLICT (name) DO NOTHING
    RETURNING id, name
)
SELECT m.id, m.name, 0::bigint AS head FROM made m
UNION ALL
SELECT s.id, s.name, coalesce((SELECT max(e.stream_offset) FROM events e WHERE e.stream_id = s.id), 0)
FROM streams s
WHERE s.name = ANY ($2::text[])
