"""Sections 1 to 3 of the wire contract in its own words, with the tests of each. A test of another folder is named with
it; all others are tests over the real server."""

from tests.acceptance.contract.frames import BOARD, TEAM

Tests = str | tuple[str, ...]

PORTAL: dict[str, Tests] = {
    "`POST /portal/chat` | body `{message, conversation_id?, sources?, skill_name?}` → waits for the whole turn": (
        "test_portal_rest::test_chat_waits_for_the_whole_turn"
    ),
    "Unknown `skill_name`: 404 before anything is written": (
        "test_portal_rest::test_an_unknown_skill_is_404_before_anything_is_written"
    ),
    "An empty or blank model answer becomes the fixed fallback text, never an empty string": (
        "test_portal_socket::test_an_empty_answer_becomes_the_fallback_text"
    ),
    (
        "`POST /portal/chat/stream` | same body → Server-Sent Events: first `routing` `{skill, "
        "method, confidence}`; then one SSE event per step"
    ): (
        "test_portal_stream::test_one_event_a_step",
        "test_portal_stream::test_a_failed_turn_ends_with_an_error_event",
    ),
    "a client that reconnects with `Last-Event-ID` misses nothing and sees nothing twice": (
        "test_portal_stream::test_last_event_id_misses_nothing_and_repeats_nothing",
        "test_portal_stream::test_a_dropped_stream_resumes_in_mid_answer",
    ),
    (
        "`GET /portal/capabilities` | `{capabilities: [{name, display_name, description, icon, "
        "enabled, skill_count}]}` for the eight categories chat, workflow, knowledge, skills, "
        "terminal, computer_use, evolution, settings"
    ): ("test_portal_rest::test_capabilities_name_the_eight_categories"),
    "`skill_count` = registered skills that carry the category as a capability tag": (
        "test_contract_rest::test_capabilities_count_the_skills_of_this_deployment_and_say_what_works"
    ),
    "`enabled` says truthfully whether the category works in this deployment": (
        "test_contract_rest::test_capabilities_count_the_skills_of_this_deployment_and_say_what_works"
    ),
    (
        "`GET /portal/conversations?limit=20` | newest first: `[{id, title, created_at, updated_at,"
        " message_count, is_board}]`"
    ): ("test_portal_rest::test_titles_are_cut_and_newest_come_first"),
    (
        "`GET /portal/conversations/{id}?limit=50` | `{id, title, messages, created_at, updated_at,"
        " is_board}`; 404 if there is none"
    ): (
        "test_portal_rest::test_chat_waits_for_the_whole_turn",
        "test_portal_rest::test_an_unknown_skill_is_404_before_anything_is_written",
    ),
    "`DELETE /portal/conversations/{id}` | `{deleted: true, id}`; 404 if there is none": (
        "test_portal_rest::test_a_deleted_conversation_is_gone_from_the_views_and_stays_in_the_log"
    ),
    "Title: first user message, with a leading `@board…`/`@team…` command": (
        "test_contract_rest::test_titles_are_the_same_after_a_restart_from_the_log_alone",
        "unit/test_titles::test_title_is_the_first_message_without_command_cut_at_20_characters",
    ),
    "The same after a restart, from the log alone.": (
        "test_contract_rest::test_titles_are_the_same_after_a_restart_from_the_log_alone"
    ),
    "these keys lifted from `metadata` to the top where present": (
        "test_portal_rest::test_chat_waits_for_the_whole_turn",
        BOARD,
    ),
    "A page reload rebuilds every card (plain, step, board, team) from these alone.": (
        "test_portal_rest::test_chat_waits_for_the_whole_turn",
        "test_chat_people::test_a_reload_shows_the_question_and_its_answer",
        BOARD,
        TEAM,
    ),
    '`{type:"chat", message, conversation_id?, model?}`': "test_portal_socket::test_a_turn_is_told_step_by_step",
    '`{type:"cancel"}`': "test_portal_socket::test_cancel_keeps_what_there_was",
    '`{type:"resume", task_id, conversation_id, after?}`': (
        "test_portal_socket::test_a_dropped_socket_resumes_elsewhere_with_the_same_text"
    ),
    '`{type:"ping"}`': "test_portal_socket::test_bad_frames_are_answered_and_do_no_harm",
    '`{type:"connected", conversation_id}`': (
        "test_portal_socket::test_a_known_conversation_goes_on_and_is_named_once"
    ),
    '`{type:"routing", skill, method, confidence}`': "test_portal_socket::test_a_turn_is_told_step_by_step",
    '`{type:"step", data:{event_type, step, data, timestamp}}`': (
        "test_portal_socket::test_a_turn_is_told_step_by_step"
    ),
    '`{type:"result", data:{message, timestamp}}`': "test_portal_socket::test_a_turn_is_told_step_by_step",
    'After a cancel: `data:{status:"cancelled", timestamp}`': (
        "test_portal_socket::test_cancel_keeps_what_there_was"
    ),
    '`{type:"error", data:{message, task_id?}}`': (
        "test_portal_socket::test_a_model_error_ends_as_one_sentence"
    ),
    '`{type:"pong"}`': "test_portal_socket::test_bad_frames_are_answered_and_do_no_harm",
    "frames that are not JSON, or of an unknown type, are answered with an error frame and do no harm": (
        "test_portal_socket::test_bad_frames_are_answered_and_do_no_harm",
        "test_walk_sockets::test_frames_that_cannot_be_used_get_an_error_and_do_no_harm",
    ),
    "A silent client is closed with 1000": "test_portal_socket::test_keys_heartbeat_and_chinese",
    "A wrong or missing key: an error frame, then close code 4001.": (
        "test_walk_sockets::test_without_a_good_key_it_is_an_error_and_4001",
        "test_portal_socket::test_keys_heartbeat_and_chinese",
    ),
    "the oldest is closed with 1008 when a 17th comes": (
        "test_portal_socket::test_a_17th_socket_closes_the_oldest"
    ),
    "A dropped socket never stops a task": (
        "test_portal_socket::test_a_dropped_socket_resumes_elsewhere_with_the_same_text"
    ),
    "partial output is kept and the task ends as cancelled": (
        "test_portal_socket::test_cancel_keeps_what_there_was"
    ),
    "`resume` fails closed": (
        "test_portal_socket::test_resume_fails_closed",
        "test_tasks_rest::test_the_portals_resume_fails_closed_for_tasks_of_other_conversations",
    ),
    "a finished task answers at once with its result or its error": (
        "test_portal_socket::test_a_dropped_socket_resumes_elsewhere_with_the_same_text"
    ),
}
SESSIONS: dict[str, Tests] = {
    (
        "`POST /chat/sessions` | `{agent_name, metadata?}` → session `{session_id, agent_name, "
        "status, metadata, created_at, updated_at}`"
    ): ("test_chat_rest::test_a_session_is_opened_listed_read_and_closed"),
    "`GET /chat/sessions`, `GET /chat/sessions/{id}` | list, one (404)": (
        "test_chat_rest::test_newest_sessions_come_first_and_a_message_makes_one_newest",
        "test_chat_rest::test_what_is_no_session_is_404",
    ),
    (
        "`GET /chat/sessions/{id}/messages?limit&offset` | `[{message_id, session_id, role, "
        "content, tool_call_id?, agent_name?, created_at}]`"
    ): ("test_chat_rest::test_a_message_is_answered_by_the_sessions_agent"),
    '`POST /chat/sessions/{id}/messages` | `{content, role="user", execution_mode?}` → the assistant\'s message.': (
        "test_chat_rest::test_a_message_is_answered_by_the_sessions_agent"
    ),
    "404 no such session or agent; 400 session closed.": (
        "test_chat_rest::test_what_is_no_session_is_404",
        "test_chat_rest::test_bad_sessions_get_a_sentence",
        "test_chat_rest::test_a_session_is_opened_listed_read_and_closed",
    ),
    '`execution_mode:"plan_exec"` runs with phases.': (
        "test_chat_rest::test_execution_mode_plan_exec_runs_with_phases"
    ),
    "the response also has `error_struct` and `fallback_status`": (
        "test_chat_rest::test_the_answer_of_the_last_tier_says_so"
    ),
    '`DELETE /chat/sessions/{id}` | closes it: `{status:"closed", session_id}`': (
        "test_chat_rest::test_a_session_is_opened_listed_read_and_closed"
    ),
    "`POST /chat/upload` | multipart file ≤ 10 MB (413 above, checked while reading, not after)": (
        "test_uploads::test_ten_megabytes_are_taken_and_a_byte_more_is_not",
        "test_uploads::test_a_body_without_end_is_refused_before_its_end",
    ),
    "`{filename, stored_name, content_type, size, download_url}`; stored under a random name": (
        "test_uploads::test_names_that_lead_elsewhere_lead_nowhere",
        "test_portal_rest::test_an_uploaded_text_is_kept_and_given_back_as_an_attachment",
    ),
    "`GET /chat/uploads/{stored_name}` | the file, as an attachment; 404; no path ever leaves the upload folder": (
        "test_uploads::test_a_download_is_an_attachment_with_safe_headers",
        "test_portal_rest::test_an_uploaded_text_is_kept_and_given_back_as_an_attachment",
    ),
    '`{type:"message", content, model?}`': "test_chat_socket::test_a_turn_is_told_step_by_step",
    '`{type:"reply", request_id, content}`': (
        "test_chat_people::test_a_question_is_answered_over_the_socket_and_only_once"
    ),
    '`{type:"confirmation_reply", confirmation_id, approved}`': (
        "test_chat_people::test_a_confirmation_is_shown_and_consent_lets_the_command_run",
        "test_chat_people::test_a_refusal_keeps_the_command_from_running",
    ),
    "`connected{session_id}`": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "`token{content}`": (
        "test_chat_socket::test_tokens_of_what_can_only_be_an_answer_come_while_it_is_written"
    ),
    "`thinking{content}`": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "`step{data:{event_type, step, data}}`": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "`ask_human{question, request_id}`": (
        "test_chat_people::test_a_question_is_answered_over_the_socket_and_only_once"
    ),
    "`final_answer{content, is_final:true}`": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "`skill_match{data:{skill, method, confidence}}`": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "`confirmation_request{data:{confirmation_id, command, reason}}`": (
        "test_chat_people::test_a_confirmation_is_shown_and_consent_lets_the_command_run"
    ),
    "`confirmation_result{data:{confirmation_id, approved}}`": (
        "test_chat_people::test_a_confirmation_is_shown_and_consent_lets_the_command_run"
    ),
    "`phase_changed{data:{phase, previous}}`": "test_chat_socket::test_phases_are_frames",
    "`phase_violation{data}`": "test_chat_socket::test_phases_are_frames",
    "`team_intervention_ack{data:{content}}`": (BOARD, TEAM),
    '`result{data:{status:"cancelled"}}`': (
        "test_chat_socket::test_every_socket_of_a_session_is_told_and_any_of_them_cancels"
    ),
    "`error{data:{message, quota_info?}}`": (
        "test_chat_socket::test_a_model_error_ends_as_one_sentence",
        "test_quotas::test_the_chat_s_socket_says_which_quota_is_used_up",
    ),
    "text tokens that turn out to precede a tool call are thinking, not answer": (
        "test_chat_socket::test_a_turn_is_told_step_by_step",
        "test_chat_modes::test_rewoo_plans_and_solves",
        "unit/test_chat_wire::test_text_before_a_tool_call_is_thinking_and_the_rest_is_the_answer",
    ),
    "At most 4 tasks run at once in a session; a fifth gets an error frame.": (
        "test_chat_socket::test_at_most_four_tasks_at_once_in_a_session"
    ),
    "A message sent while a team or a board is running is an\nintervention (acknowledged), not a new task.": (
        BOARD,
        TEAM,
        "integration/test_meetings_accept::"
        "test_a_message_while_a_meeting_is_held_is_an_intervention_whatever_busy_says",
    ),
    "A confirmation or a question not answered in 5 minutes counts as refused / unanswered.": (
        "integration/test_runs_people::test_nobody_answers_and_the_run_goes_on_without",
        "integration/test_runs_people::test_consent_that_comes_too_late_is_refused_and_counts_as_no",
    ),
    "`quota_info:{department_id, quota_type, period, limit, current}`": (
        "test_quotas::test_a_message_over_quota_is_refused_and_nothing_is_written",
        "test_quotas::test_the_chat_s_socket_says_which_quota_is_used_up",
    ),
    "Error texts are cut at 200 characters and show no internals.": (
        "test_walk_sockets::test_frames_that_cannot_be_used_get_an_error_and_do_no_harm",
        "unit/test_portal_wire::test_an_error_is_one_sentence_of_at_most_200_characters",
    ),
}
TASKS: dict[str, Tests] = {
    "Any number of sockets may watch one task.": (
        "test_tasks_socket::test_every_watcher_on_two_nodes_is_told_every_frame_once"
    ),
    "Client: `cancel`, `ping`.": (
        "test_tasks_socket::test_cancel_from_any_watcher_ends_the_task_for_all",
        "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result",
    ),
    "`connected{task_id}`": "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result",
    "`step{data:{event_type, step, data, timestamp}}`": (
        "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result"
    ),
    "`result{data:{output, total_steps, total_tokens}}`": (
        "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result"
    ),
    '(after cancel `{status:"cancelled", task_id}`)': (
        "test_tasks_socket::test_cancel_from_any_watcher_ends_the_task_for_all"
    ),
    "`error`, `pong`. Every watcher receives every\nframe once, including the result.": (
        "test_tasks_socket::test_a_failed_task_ends_with_one_sentence",
        "test_tasks_socket::test_every_watcher_on_two_nodes_is_told_every_frame_once",
    ),
    "`cancel` from any authorised watcher ends the task for all.": (
        "test_tasks_socket::test_cancel_from_any_watcher_ends_the_task_for_all",
        "test_tasks_owners::test_an_auditor_watches_and_changes_nothing_and_an_admin_may_end_it",
    ),
    "A silent client is closed after 60 s.": (
        "test_tasks_owners::test_a_silent_client_is_closed_with_1000_and_without_a_key_with_4001"
    ),
    "Task record: `{task_id, conversation_id, agent_name, skill_name?, status, input_data": (
        "test_tasks_rest::test_a_task_is_started_without_a_socket_and_goes_on_unwatched"
    ),
    "`waiting` (for a human)": (
        "test_chat_people::test_a_task_waits_while_its_question_is_open_and_is_answered_over_rest_on_another_node"
    ),
    "`GET /tasks?status&agent_name&limit&cursor`": "test_tasks_rest::test_the_list_is_filtered_and_paged",
    "`GET /tasks/{id}`": (
        "test_tasks_rest::test_a_task_is_started_without_a_socket_and_goes_on_unwatched",
        "test_tasks_rest::test_what_is_no_task_is_404",
    ),
    "`POST /tasks` (start one without a socket)": (
        "test_tasks_rest::test_a_task_is_started_without_a_socket_and_goes_on_unwatched"
    ),
    "`POST /tasks/{id}/cancel`": "test_tasks_rest::test_a_task_is_cancelled_over_rest",
}
