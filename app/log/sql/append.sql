-- Appends one batch to one partition, whole or not at all.
--
-- Nothing that this statement reads decides anything, so it does not matter that its snapshot is older than the
-- counter's lock. Offsets come from the client, counted on from the newest one it knows. If another node has written
-- to the stream since, the primary key refuses the batch; likewise the index of idempotency keys. Unique indexes see
-- what is committed, not a snapshot. A log that went backwards (restored under a running service) would leave a gap,
-- so that is refused as well.
--
-- $1 partition   $2 number of events   $3 newest position that this process has seen   $4 schema version
-- per event, arrays: $5 stream's id   $6 offset   $7 id   $8 type   $9 payload   $10 actor   $11 task   $12 causation
--   $13 correlation   $14 idempotency key   ($11 to $14: null where all are null, unnest fills up)
-- Arrays come as literals, payloads as one text: the driver encodes them faster than lists.
WITH counter AS (
    UPDATE partitions SET position = position + $2 WHERE partition = $1
    RETURNING position - $2 AS base, clock_timestamp() AS recorded_at,
              CASE WHEN position - $2 < $3 THEN refuse_append('the log went backwards') END
),
written AS (
    INSERT INTO events (position, stream_id, stream_offset, recorded_at, id, task_id, causation_id, correlation_id,
                        partition, schema_version, type, actor, idempotency_key, payload)
    SELECT c.base + e.ordinality, e.stream, e.stream_offset, c.recorded_at, e.id, e.task, e.causation, e.correlation,
           $1, $4, e.type, e.actor, e.key, e.payload::json
    FROM counter c,
         unnest($5::text::bigint[], $6::text::bigint[], $7::text::uuid[], $8::text::text[],
                string_to_array($9::text, E'\x1e'), $10::text::text[], $11::text::uuid[], $12::text::uuid[],
                $13::text::uuid[], $14::text::text[])
             WITH ORDINALITY
             AS e (stream, stream_offset, id, type, payload, actor, task, causation, correlation, key, ordinality)
)
SELECT c.base, c.recorded_at FROM counter c
