-- The log.
--
-- Every event of the service is one row of `events`, and everything anybody sees is a fold of those rows.
--
-- Order. `stream_offset` counts 1, 2, 3 … within a stream, `position` within a partition; neither has gaps. Positions
-- are taken from a counter (`partitions.position`) that stays locked until commit, so position order is commit order:
-- whoever has read up to position P will never find a lower one later. A sequence could not promise that. An offset is
-- the stream's newest one plus 1; whoever knew an older newest one runs into the primary key and looks again. A counter
-- for each stream would be one more row to write for each event: it took twice the time.
--
-- Truth. Rows are added, never changed: the grants are gone and triggers refuse. Leases and open answers are not
-- minutes: they say who is working and what is being said right now, and the service is correct when they are empty.

CREATE TABLE log_identity (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seed uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE log_identity IS 'Who this log is. The epoch of cursors is a digest of this, the cluster and its
timeline.'; INSERT INTO log_identity DEFAULT VALUES;

CREATE TABLE partitions (
    partition integer PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0)
) WITH (fillfactor = 10);
COMMENT ON TABLE partitions IS 'One counter row a partition; locked from the first to the last moment of an append.';
INSERT INTO partitions (partition) VALUES (0);

CREATE TABLE streams (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 400),
    partition integer NOT NULL REFERENCES partitions,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE streams IS 'Names of streams. Made just before the first event, so a name may have no events.';

CREATE TABLE events (
    position bigint NOT NULL,
    stream_id bigint NOT NULL,
    stream_offset bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    id uuid NOT NULL,
    task_id uuid,
    causation_id uuid,
    correlation_id uuid,
    partition integer NOT NULL,
    schema_version smallint NOT NULL,
    type text NOT NULL,
    actor text NOT NULL,
    idempotency_key text,
    payload json NOT NULL,
    PRIMARY KEY (stream_id, stream_offset)
);
COMMENT ON TABLE events IS 'The minutes. Append-only.';
CREATE UNIQUE INDEX events_position ON events (partition, position);
CREATE UNIQUE INDEX events_idempotency ON events (stream_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Payloads stay in the row and are compressed from 256 bytes on; lz4 where the server was built with it.
ALTER TABLE events ALTER COLUMN payload SET STORAGE MAIN;
ALTER TABLE events SET (toast_tuple_target = 256);
DO $$
BEGIN
    ALTER TABLE events ALTER COLUMN payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this server has no lz4; payloads are compressed with pglz';
END
$$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'Append an event that says what has changed.';
END
$$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
-- The owner is the service, so it takes these rights from itself too.
REVOKE UPDATE, DELETE, TRUNCATE ON events FROM PUBLIC, CURRENT_USER;

-- Raised from within the append when one of its conditions does not hold; the appender then sorts out whose it was.
CREATE FUNCTION refuse_append(reason text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'append refused: %', reason USING ERRCODE = 'MB001';
END
$$;

CREATE TABLE leases (
    task_id uuid PRIMARY KEY,
    epoch bigint NOT NULL CHECK (epoch > 0),
    worker text NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE leases IS 'Who may append for a run. An append with another epoch than the lease is fenced off.';
-- No epoch is given twice, not even after the lease was given back.
CREATE SEQUENCE lease_epochs OWNED BY leases.epoch;

CREATE UNLOGGED TABLE open_answers (
    answer_id uuid NOT NULL,
    restart bigint NOT NULL,
    part integer NOT NULL,
    stream text NOT NULL,
    task_id uuid,
    after_offset bigint NOT NULL,
    kind text NOT NULL,
    text text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (answer_id, restart, part)
);
COMMENT ON TABLE open_answers IS
    'Text of answers that are still being written; gone in the transaction that appends the event with id = answer_id.';
CREATE INDEX open_answers_stream ON open_answers (stream);
