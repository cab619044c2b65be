INSERT INTO open_answers (answer_id, restart, part, stream, task_id, after_offset, kind, text)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::uuid[], $6::bigint[], $7::text[], $8::text[])
ON CONFLICT DO NOTHING
