-- How far each projection has read. Its rows and this row change in one transaction, so they are never apart.
CREATE TABLE projection_checkpoints (
    name text NOT NULL,
    partition integer NOT NULL REFERENCES partitions,
    version integer NOT NULL,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, partition)
) WITH (fillfactor = 50);
