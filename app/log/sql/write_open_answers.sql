INSERT INTO open_answers (answer_id, restart, part, stream, task_id, after_offset, kind, text)
SELECT * FROM unnest($1::text::uuid[], $2::text::bigint[], $3::text::integer[], $4::text[], $5::text::uuid[],
                     $6::text::bigint[], $7::text[], $8::text[])
ON CONFLICT DO NOTHING
