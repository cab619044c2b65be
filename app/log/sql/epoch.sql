-- Differs after a restore: another cluster, another timeline, another database, or a new seed.
SELECT md5(concat_ws('/', i.seed, s.system_identifier, c.timeline_id, 'events'::regclass::oid,
                     (SELECT oid FROM pg_database WHERE datname = current_database()))) AS digest
FROM log_identity i, pg_control_system() s, pg_control_checkpoint() c
