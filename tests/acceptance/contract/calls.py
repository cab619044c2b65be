"""Every call of the API with its test over the real server: those of the contract (`words.py` quotes it) and those
beyond it. Behind a call may stand what it is called with, or what comes of it."""

from tests.acceptance.contract.frames import PUSH

PORTAL_REST = {
    "POST /portal/chat": "test_portal_rest::test_chat_waits_for_the_whole_turn",
    "POST /portal/chat unknown skill": "test_portal_rest::test_an_unknown_skill_is_404_before_anything_is_written",
    "POST /portal/chat empty answer": "test_portal_socket::test_an_empty_answer_becomes_the_fallback_text",
    "POST /portal/chat fallback_status": "test_chat_rest::test_the_answer_of_the_last_tier_says_so",
    "POST /portal/chat/stream": "test_portal_stream::test_one_event_a_step",
    "POST /portal/chat/stream Last-Event-ID": (
        "test_portal_stream::test_last_event_id_misses_nothing_and_repeats_nothing"
    ),
    "POST /portal/chat/stream error": "test_portal_stream::test_a_failed_turn_ends_with_an_error_event",
    "POST /portal/chat/stream other steps": "test_chat_stream::test_what_a_run_asks_is_an_event_of_its_own",
    "GET /portal/capabilities": "test_portal_rest::test_capabilities_name_the_eight_categories",
    "GET /portal/conversations": "test_portal_rest::test_titles_are_cut_and_newest_come_first",
    "GET /portal/conversations/{}": "test_portal_rest::test_chat_waits_for_the_whole_turn",
    "GET /portal/conversations/{} steps": "test_chat_people::test_a_reload_shows_the_question_and_its_answer",
    "PATCH /portal/conversations/{}": (
        "test_session_store::test_a_title_is_neither_lost_nor_overwritten_while_messages_come_in_on_two_nodes"
    ),
    "DELETE /portal/conversations/{}": (
        "test_portal_rest::test_a_deleted_conversation_is_gone_from_the_views_and_stays_in_the_log"
    ),
}
CHAT_REST = {
    "POST /chat/sessions": "test_chat_rest::test_a_session_is_opened_listed_read_and_closed",
    "GET /chat/sessions": "test_chat_rest::test_newest_sessions_come_first_and_a_message_makes_one_newest",
    "GET /chat/sessions/{}": "test_chat_rest::test_what_is_no_session_is_404",
    "DELETE /chat/sessions/{}": "test_chat_rest::test_a_session_is_opened_listed_read_and_closed",
    "GET /chat/sessions/{}/messages": "test_chat_rest::test_a_message_is_answered_by_the_sessions_agent",
    "POST /chat/sessions/{}/messages": "test_chat_rest::test_a_message_is_answered_by_the_sessions_agent",
    "POST /chat/sessions/{}/messages 404": "test_chat_rest::test_what_is_no_session_is_404",
    "POST /chat/sessions/{}/messages 400": "test_chat_rest::test_a_session_is_opened_listed_read_and_closed",
    "POST /chat/sessions/{}/messages execution_mode": (
        "test_chat_rest::test_execution_mode_plan_exec_runs_with_phases"
    ),
    "POST /chat/sessions/{}/messages error_struct": "test_chat_rest::test_the_answer_of_the_last_tier_says_so",
    "POST /chat/sessions/{}/messages 400 at every door": (
        "test_session_store::test_a_closed_session_takes_no_message_through_any_door"
    ),
    "POST /chat/upload": "test_portal_rest::test_an_uploaded_text_is_kept_and_given_back_as_an_attachment",
    "POST /chat/upload 413 while reading": (
        "test_uploads::test_a_body_without_end_is_refused_before_its_end"
    ),
    "POST /chat/upload sniffed type": "test_uploads::test_the_type_is_what_the_bytes_are",
    "POST /chat/upload sanitised name": "test_uploads::test_names_that_lead_elsewhere_lead_nowhere",
    "POST /chat/upload malformed": "test_uploads::test_what_is_no_form_is_told_so",
    "POST /chat/upload conversation_id": "test_uploads::test_a_tool_reads_what_its_conversation_may_use",
    "GET /chat/uploads": "test_uploads::test_files_are_listed_newest_first_a_page_at_a_time",
    "GET /chat/uploads/{}": "test_portal_rest::test_an_uploaded_text_is_kept_and_given_back_as_an_attachment",
    "GET /chat/uploads/{} 404": "test_uploads::test_somebody_elses_file_looks_as_if_it_did_not_exist",
    "HEAD /chat/uploads/{}": "test_uploads::test_a_download_is_an_attachment_with_safe_headers",
}
PUSH_REST = {
    "POST /users/{}/notifications": PUSH,
    "POST /users/{}/notifications 404": "test_push::test_who_may_not_send_or_sends_nonsense_is_told_so",
    "POST /users/{}/notifications twice": "test_push::test_sent_twice_under_one_id_is_sent_once",
    "kept until the next connection": (
        "test_push::test_what_comes_while_nobody_is_there_is_kept_until_the_next_connection"
    ),
    "GET /notifications": "test_push::test_many_notifications_reach_a_socket_in_order_and_once",
    "GET /notifications of somebody else": ("test_push::test_admins_and_auditors_read_what_others_were_sent"),
    "POST /reminders": "test_push::test_a_reminder_is_told_once_on_both_nodes",
    "POST /reminders agent_name": "test_push::test_a_schedule_asks_its_agent",
    "POST /reminders 400": "test_push::test_a_reminder_that_cannot_be_is_told_so",
    "due while nothing ran": ("test_push::test_what_was_due_while_no_server_was_there_is_told_at_the_start"),
    "GET /reminders": "test_push::test_reminders_are_listed_read_and_cancelled_by_their_owner",
    "GET /reminders/{}": "test_push::test_a_reminder_is_told_once_on_both_nodes",
    "DELETE /reminders/{}": "test_push::test_reminders_are_listed_read_and_cancelled_by_their_owner",
}
STORE_REST = {
    "owner, title, usage": "test_session_store::test_a_session_says_what_it_has_used",
    "PATCH /chat/sessions/{}": (
        "test_session_store::test_a_title_is_neither_lost_nor_overwritten_while_messages_come_in_on_two_nodes"
    ),
    "PATCH /chat/sessions/{} metadata": "test_session_store::test_metadata_is_replaced_and_has_a_limit",
    "POST /chat/sessions/{}/messages of all roles": (
        "test_session_store::test_a_message_of_any_other_role_is_added_and_the_agent_is_shown_it_next"
    ),
    "POST /chat/sessions/{}/messages malformed": (
        "test_session_store::test_a_bad_message_gets_a_sentence_and_nothing_is_stored"
    ),
    "POST /chat/sessions/{}/openai-messages": (
        "test_session_store::test_many_messages_are_added_at_once_all_or_none_and_once"
    ),
    "GET /chat/sessions/{}/openai-messages": (
        "test_session_store::test_openai_messages_of_every_kind_of_run"
    ),
    "GET /chat/sessions/{}/openai-messages as they were": (
        "test_session_store::test_real_conversations_go_in_and_come_out_unchanged"
    ),
    "GET /chat/sessions total count and pages": (
        "test_session_store::test_sessions_are_listed_newest_first_a_page_at_a_time_with_their_number"
    ),
    "GET /agents": ("test_session_store::test_agents_say_what_they_have_done_and_have_to_do_for_a_user"),
    "somebody else's": (
        "test_session_store::test_somebody_elses_session_does_not_exist_and_auditors_and_admins_may_look"
    ),
}
TASKS_REST = {
    "GET /tasks": "test_tasks_rest::test_the_list_is_filtered_and_paged",
    "GET /tasks 400": "test_tasks_rest::test_a_list_that_cannot_be_had_is_400_and_says_why",
    "GET /tasks/{}": "test_tasks_rest::test_a_task_is_started_without_a_socket_and_goes_on_unwatched",
    "GET /tasks/{} 404": "test_tasks_rest::test_what_is_no_task_is_404",
    "POST /tasks": "test_tasks_rest::test_a_task_is_started_without_a_socket_and_goes_on_unwatched",
    "POST /tasks input_data": (
        "test_tasks_rest::test_what_a_client_calls_its_input_is_shown_to_the_agent_and_kept"
    ),
    "POST /tasks that starts nothing": "test_tasks_rest::test_a_task_that_cannot_be_started_leaves_nothing",
    "POST /tasks/{}/cancel once ended": "test_tasks_rest::test_a_task_is_cancelled_over_rest",
    "somebody else's": "test_tasks_owners::test_somebody_elses_task_looks_as_if_there_was_none",
    "POST /tasks/{}/reply": (
        "test_chat_people::test_a_task_waits_while_its_question_is_open_and_is_answered_over_rest_on_another_node"
    ),
    "POST /tasks/{}/confirm": "test_chat_people::test_a_confirmation_is_given_over_rest",
    "POST /tasks/{}/cancel": "test_chat_people::test_a_task_that_waits_is_cancelled_over_rest",
}
USERS = "test_users::"
DEPARTMENTS = USERS + "test_departments_and_quotas_are_kept_with_their_author"
OWN_KEYS = USERS + "test_a_member_issues_and_revokes_keys_of_their_own_within_what_they_have"
REVOKED = USERS + "test_a_key_that_is_revoked_dies_at_once_on_the_other_process_with_its_sockets"
READ_BY_AUDITORS = USERS + "test_an_auditor_reads_all_and_writes_nothing"
EVOLUTION = "test_evolution::"
EVOLUTION_REST = {
    "GET /evolution/experiences": EVOLUTION + "test_every_ended_task_leaves_an_experience",
    "GET /evolution/experiences filters": EVOLUTION + "test_experiences_are_found_by_what_they_were",
    "GET /evolution/experiences/{}": EVOLUTION + "test_every_ended_task_leaves_an_experience",
    "GET /evolution/metrics": EVOLUTION + "test_metrics_count_what_has_ended",
    "GET /evolution/metrics 400": EVOLUTION + "test_ranges_and_groups_that_make_no_sense_are_told_so",
    "GET /evolution/pitfalls": EVOLUTION + "test_failures_that_repeat_are_pitfalls",
}
BEYOND = {
    "GET /conversations/{}/events": "test_feed::test_every_cursor_of_every_transport_gives_exactly_the_suffix",
    "GET /conversations/{}/minutes": (
        "test_minutes_rest::test_the_minutes_of_a_conversation_come_as_json_and_as_markdown"
    ),
    "GET /experts": "test_minutes_rest::test_the_experts_are_listed_with_the_defaults",
    "GET /quotas": "test_quotas::test_people_see_what_is_left_of_their_quotas",
    "GET /keys": OWN_KEYS,
    "POST /keys": OWN_KEYS,
    "DELETE /keys/{}": OWN_KEYS,
    "GET /admin/users": USERS + "test_lists_go_page_by_page",
    "POST /admin/users": USERS + "test_lists_go_page_by_page",
    "GET /admin/users/{}": DEPARTMENTS,
    "PATCH /admin/users/{}": USERS + "test_whoever_is_disabled_is_gone_at_once_and_back_when_enabled",
    "GET /admin/departments": READ_BY_AUDITORS,
    "POST /admin/departments": DEPARTMENTS,
    "GET /admin/departments/{}": "test_contract_rest::test_a_department_is_renamed_and_read",
    "PATCH /admin/departments/{}": "test_contract_rest::test_a_department_is_renamed_and_read",
    "DELETE /admin/departments/{}": DEPARTMENTS,
    "GET /admin/quotas": DEPARTMENTS,
    "PUT /admin/quotas": DEPARTMENTS,
    "DELETE /admin/quotas/{}/{}/{}/{}": DEPARTMENTS,
    "GET /admin/keys": REVOKED,
    "POST /admin/keys": REVOKED,
    "DELETE /admin/keys/{}": REVOKED,
    "GET /health": "test_portal_rest::test_health_and_readiness",
    "GET /ready": "test_portal_rest::test_health_and_readiness",
    "GET /metrics": "test_metrics::test_figures_tell_what_was_done",
    "GET /schema/asyncapi.json": "test_asyncapi::test_it_is_served_and_linked_from_the_start_page",
    "GET /schema/asyncapi.yaml": "test_asyncapi::test_it_is_served_and_linked_from_the_start_page",
    "GET /schema": "test_start_page::test_the_page_of_the_calls_asks_nobody_else",
    "GET /schema/openapi.json": "test_asyncapi::test_it_is_served_and_linked_from_the_start_page",
    "GET /schema/{}": "test_walk_input::test_odd_headers_do_no_harm",
    "GET /schema/swagger": "test_start_page::test_the_page_of_the_calls_asks_nobody_else",
    "GET /dashboard": "test_dashboard::test_pages_and_all_that_they_ask_for_are_served_with_a_strict_policy",
    "GET /": "test_asyncapi::test_it_is_served_and_linked_from_the_start_page",
    "GET /pages/{}": "test_contract_rest::test_the_start_page_has_all_that_it_asks_for",
}
