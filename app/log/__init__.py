"""The log: append, read, subscribe. `sql/` holds one statement a file; the tables are in `migrations/0001_log.sql`."""
