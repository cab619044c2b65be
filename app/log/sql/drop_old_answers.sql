-- Left behind by runs that nobody took up again.
DELETE FROM open_answers WHERE written_at < now() - interval '1 day'
