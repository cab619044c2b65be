-- Tasks have no index in the log (it would be one more to write for each event): this looks through all of it.
SELECT s.name
FROM events e
JOIN streams s ON s.id = e.stream_id
WHERE e.task_id = $1 AND e.type = 'run.requested'
LIMIT 1
