-- Ends a connection of ours that broke, if its server process still lives, and waits until it is gone (false: it is
-- not).
SELECT pg_terminate_backend(pid, $3::bigint) AS gone
FROM pg_stat_activity
WHERE pid = $1 AND application_name = $2 AND pid <> pg_backend_pid()
