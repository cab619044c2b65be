-- What is being said in these streams. An answer whose event is in the log is over, whatever is left of it here.
SELECT a.answer_id, a.restart, a.part, a.stream, a.task_id, a.after_offset, a.kind, a.text
FROM open_answers a
WHERE a.stream = ANY ($1::text[])
    AND NOT EXISTS (
        SELECT FROM events e
        WHERE e.stream_id = (SELECT s.id FROM streams s WHERE s.name = a.stream)
            AND e.stream_offset > a.after_offset AND e.id = a.answer_id
    )
ORDER BY a.answer_id, a.restart, a.part
