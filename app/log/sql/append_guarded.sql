-- `append.sql` for a batch that holds leases or closes open answers; raises MB001 where a lease is lost.
--
-- A lease is read with a lock, so it is the newest one and stays until the commit. Leases change under the counter's
-- lock only.
--
-- $1 to $14 as there   $15 leases: task ids   $16 leases: epochs   $17 ids of those events that close an open answer
WITH counter AS (
    UPDATE partitions SET position = position + $2 WHERE partition = $1
    RETURNING position - $2 AS base, clock_timestamp() AS recorded_at,
              CASE WHEN position - $2 < $3 THEN refuse_append('the log went backwards') END
),
held AS (
    SELECT l.task_id
    FROM counter, leases l
    JOIN unnest($15::text::uuid[], $16::text::bigint[]) AS claim (task_id, epoch)
        ON l.task_id = claim.task_id AND l.epoch = claim.epoch
    FOR SHARE OF l
),
fence AS (
    SELECT CASE WHEN count(*) < cardinality($15::text::uuid[]) THEN refuse_append('lease') END AS checked FROM held
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
),
closed AS (
    DELETE FROM open_answers WHERE answer_id = ANY ($17::text::uuid[])
)
SELECT c.base, c.recorded_at, f.checked FROM counter c, fence f
