-- Differs after a restore: another cluster, another timeline, another database, or a new seed.
-- The timeline is that of the next write: the control file names the old one until the first checkpoint after a
-- failover, which takes minutes.
SELECT md5(concat_ws('/', i.seed, s.system_identifier,
                     ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer, 'events'::regclass::oid,
                     (SELECT oid FROM pg_database WHERE datname = current_database()))) AS digest
FROM log_identity i, pg_control_system() s
