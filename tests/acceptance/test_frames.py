"""Which test has seen which row of the wire contract: sections 1 to 7, as far as runs are concerned.

The table is checked: every test in it exists, every frame that the sockets' code can send or take is in it, and every
route of these surfaces too. What it names are tests over real sockets and REST of the real server.
"""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest
from litestar import Router
from litestar.handlers import HTTPRouteHandler

from app.api import chat_socket, portal_socket, task_socket
from app.api.chat import chat_router
from app.api.chat_wire import AS_FRAMES
from app.api.meeting_wire import FRAMES
from app.api.notifications import notifications_router, users_notifications_router
from app.api.portal import portal_router
from app.api.portal_stream import portal_stream_router
from app.api.reminders import reminders_router
from app.api.requests import requests_router
from app.api.session_agents import agents_router
from app.api.tasks import tasks_router
from app.api.uploads import uploads_router
from app.core.steps import NAMES

HERE = Path(__file__).parent
API = Path(chat_socket.__file__).parent

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
PUSH = "test_push::test_a_push_reaches_every_socket_of_the_user_on_both_nodes"
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
TASK_TAKES = {
    "cancel": "test_tasks_socket::test_cancel_from_any_watcher_ends_the_task_for_all",
    "cancel by who may not": (
        "test_tasks_owners::test_an_auditor_watches_and_changes_nothing_and_an_admin_may_end_it"
    ),
    "reply": "test_tasks_socket::test_a_question_is_answered_by_any_watcher",
    "confirmation_reply": "test_tasks_socket::test_a_call_is_agreed_to_by_a_watcher",
    "ping": "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result",
    "not JSON, unknown": "test_tasks_socket::test_bad_frames_are_answered_and_do_no_harm",
    "nothing for too long, no key": (
        "test_tasks_owners::test_a_silent_client_is_closed_with_1000_and_without_a_key_with_4001"
    ),
    "no task": "test_tasks_socket::test_what_is_no_task_or_cursor_gets_one_sentence_and_4004",
    "?after=": "test_tasks_socket::test_a_resume_at_any_frame_repeats_nothing_and_misses_nothing",
    "?after= that cannot be": ("test_tasks_socket::test_a_cursor_that_cannot_be_resumed_begins_at_the_start"),
}
TASK_SENDS = {
    "connected": "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result",
    "step": "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result",
    "step of a team": "test_tasks_socket::test_the_frames_of_a_team_are_steps",
    "result": "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result",
    "result to everybody once": (
        "test_tasks_socket::test_every_watcher_on_two_nodes_is_told_every_frame_once"
    ),
    "result cancelled": "test_tasks_socket::test_cancel_from_any_watcher_ends_the_task_for_all",
    "error": "test_tasks_socket::test_a_failed_task_ends_with_one_sentence",
    "pong": "test_tasks_socket::test_a_task_is_told_step_by_step_with_its_result",
}
PORTAL_TAKES = {
    "chat": "test_portal_socket::test_a_turn_is_told_step_by_step",
    "cancel": "test_portal_socket::test_cancel_keeps_what_there_was",
    "resume": "test_portal_socket::test_a_dropped_socket_resumes_elsewhere_with_the_same_text",
    "resume that fails closed": "test_portal_socket::test_resume_fails_closed",
    "interrupt": "test_board_sockets::test_a_board_of_five_for_three_rounds",
    "interrupt where nobody speaks": "test_board_sockets::test_an_interrupt_where_nobody_speaks_is_one_sentence",
    "reply": "test_chat_people::test_the_portal_shows_and_answers_them_too",
    "confirmation_reply": "test_chat_people::test_the_portal_shows_and_answers_them_too",
    "ping": "test_portal_socket::test_bad_frames_are_answered_and_do_no_harm",
    "not JSON, unknown": "test_portal_socket::test_bad_frames_are_answered_and_do_no_harm",
    "nothing for too long, no key": "test_portal_socket::test_keys_heartbeat_and_chinese",
    "a 17th socket": "test_portal_socket::test_a_17th_socket_closes_the_oldest",
}
PORTAL_SENDS = {
    "connected": "test_portal_socket::test_a_known_conversation_goes_on_and_is_named_once",
    "routing": "test_portal_socket::test_a_turn_is_told_step_by_step",
    "step": "test_portal_socket::test_a_turn_is_told_step_by_step",
    "result": "test_portal_socket::test_a_turn_is_told_step_by_step",
    "result cancelled": "test_portal_socket::test_cancel_keeps_what_there_was",
    "result steered": "test_chat_people::test_a_message_to_a_busy_task_is_heard_by_it",
    "error": "test_portal_socket::test_a_model_error_ends_as_one_sentence",
    "pong": "test_portal_socket::test_bad_frames_are_answered_and_do_no_harm",
    "notification": PUSH,
}
CHAT_TAKES = {
    "message": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "message sent twice": "test_chat_socket::test_the_same_client_message_is_taken_once_and_answered_again",
    "message to a closed session": (
        "test_chat_socket::test_a_closed_session_takes_no_message_but_can_be_read"
    ),
    "a fifth message": "test_chat_socket::test_at_most_four_tasks_at_once_in_a_session",
    "reply": "test_chat_people::test_a_question_is_answered_over_the_socket_and_only_once",
    "confirmation_reply": ("test_chat_people::test_a_confirmation_is_shown_and_consent_lets_the_command_run"),
    "confirmation_reply that refuses": "test_chat_people::test_a_refusal_keeps_the_command_from_running",
    "cancel": "test_chat_socket::test_every_socket_of_a_session_is_told_and_any_of_them_cancels",
    "interrupt": "test_board_sockets::test_a_board_of_five_for_three_rounds",
    "interrupt where nobody speaks": "test_board_sockets::test_an_interrupt_where_nobody_speaks_is_one_sentence",
    "cancel on another node": "test_chat_socket::test_a_task_of_one_node_is_watched_and_cancelled_on_the_other",
    "ping": "test_chat_socket::test_bad_frames_are_answered_and_do_no_harm",
    "not JSON, unknown": "test_chat_socket::test_bad_frames_are_answered_and_do_no_harm",
    "nothing for too long, no key": "test_chat_socket::test_keys_heartbeat_and_owners",
    "?after=": "test_chat_socket::test_a_reconnect_is_told_exactly_what_was_missed",
}
CHAT_SENDS = {
    "connected": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "skill_match": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "thinking": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "token": "test_chat_socket::test_tokens_of_what_can_only_be_an_answer_come_while_it_is_written",
    "token, never what is thinking": "test_chat_modes::test_rewoo_plans_and_solves",
    "token, of a last call while it comes": (
        "test_chat_final::test_the_last_call_of_a_mode_is_told_while_it_comes_and_earlier_ones_are_not"
    ),
    "step": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "step turn.draft": (
        "test_chat_socket::test_what_may_still_be_thinking_comes_as_a_draft_to_who_asks_for_it"
    ),
    "step session.closed": "test_chat_socket::test_a_closed_session_takes_no_message_but_can_be_read",
    "ask_human": "test_chat_people::test_a_question_is_answered_over_the_socket_and_only_once",
    "ask_human again": (
        "test_chat_people::test_an_open_question_is_shown_again_on_another_node_and_answered_there"
    ),
    "ask_human after a restart": "test_chat_people::test_a_question_outlives_the_process_that_asked_it",
    "final_answer": "test_chat_socket::test_a_turn_is_told_step_by_step",
    "confirmation_request": (
        "test_chat_people::test_a_confirmation_is_shown_and_consent_lets_the_command_run"
    ),
    "confirmation_result": (
        "test_chat_people::test_a_confirmation_is_shown_and_consent_lets_the_command_run"
    ),
    "phase_changed": "test_chat_socket::test_phases_are_frames",
    "phase_violation": "test_chat_socket::test_phases_are_frames",
    "result": "test_chat_socket::test_every_socket_of_a_session_is_told_and_any_of_them_cancels",
    "result steered": "test_chat_people::test_a_message_to_a_busy_task_is_heard_by_it",
    "error": "test_chat_socket::test_a_model_error_ends_as_one_sentence",
    "pong": "test_chat_socket::test_bad_frames_are_answered_and_do_no_harm",
    "notification": PUSH,
}
STEPS = {
    "thinking": "test_portal_socket::test_a_turn_is_told_step_by_step",
    "tool_call": "test_portal_socket::test_a_turn_is_told_step_by_step",
    "tool_result": "test_portal_socket::test_a_turn_is_told_step_by_step",
    "token": "test_portal_socket::test_streamed_tokens_add_up_to_the_answer",
    "final_answer": "test_portal_socket::test_a_turn_is_told_step_by_step",
    "step": "test_chat_socket::test_every_socket_of_a_session_is_told_and_any_of_them_cancels",
    "ask_human": "test_chat_people::test_the_portal_shows_and_answers_them_too",
    "human_answered": "test_chat_people::test_the_portal_shows_and_answers_them_too",
    "human_unanswered": "test_chat_people::test_a_task_that_waits_is_cancelled_over_rest",
    "confirmation_request": "test_chat_people::test_the_portal_shows_and_answers_them_too",
    "confirmation_result": "test_chat_people::test_the_portal_shows_and_answers_them_too",
    "phase_changed": "test_chat_modes::test_plan_exec_goes_through_its_phases",
    "phase_violation": "test_chat_socket::test_phases_are_frames",
    "plan": "test_chat_modes::test_rewoo_plans_and_solves",
    "critique": "test_chat_modes::test_reflexion_criticises_its_attempts",
    "summary": "test_chat_modes::test_a_summary_of_what_was_said_before_is_never_told_as_the_answer",
    "operation": (
        "test_chat_operations::"
        "test_the_call_answers_at_once_and_its_result_takes_the_place_of_the_pending_one"
    ),
    "effect_unknown": ("test_chat_people::test_a_command_that_was_interrupted_is_told_as_of_unknown_effect"),
    "model_attempt_failed": (
        "test_chat_rest::test_attempts_that_failed_are_steps_and_the_final_answer_tells_of_the_last_tier"
    ),
    "steered": "test_chat_people::test_a_message_to_a_busy_task_is_heard_by_it",
    "speaker_interrupted": "test_board_sockets::test_a_board_of_five_for_three_rounds",
    "expert_silent": "test_board_sockets::test_a_board_of_five_for_three_rounds",
}
BOARD = "test_board_sockets::test_a_board_of_five_for_three_rounds"
TEAM = "test_team_sockets::test_a_team_of_four_with_two_phases_at_once"
MEETINGS = {
    "board_started": BOARD,
    "expert_speech_chunk": BOARD,
    "expert_speech": BOARD,
    "round_summary": BOARD,
    "user_intervention": BOARD,
    "board_concluded": BOARD,
    "team_formed": TEAM,
    "plan_update": TEAM,
    "plan_step": TEAM,
    "phase_started": TEAM,
    "phase_completed": TEAM,
    "phase_failed": TEAM,
    "replanning": TEAM,
    "expert_step": TEAM,
    "expert_result_chunk": TEAM,
    "expert_result_chunk_reset": TEAM,
    "expert_result": TEAM,
    "collaboration_contract_defined": TEAM,
    "collaboration_notice": TEAM,
    "review_result": TEAM,
    "risk_flagged": TEAM,
    "team_synthesis_chunk": TEAM,
    "team_synthesis": TEAM,
    "team_dissolved": TEAM,
    "team_intervention_ack": BOARD,
    "team_intervention_ack of a team": TEAM,
    "POST /portal/chat": "test_board_sockets::test_a_board_over_rest_waits_for_its_answer",
    "POST /portal/chat/stream": (
        "test_board_sockets::test_a_board_over_server_sent_events_and_its_rest_after_a_reconnect"
    ),
    "POST /portal/chat/stream of a team": (
        "test_team_sockets::"
        "test_a_team_over_server_sent_events_and_its_rest_after_a_reconnect_at_a_members_event"
    ),
    "?after= in a team": (
        "test_team_sockets::test_a_session_that_is_opened_anew_is_told_exactly_what_it_missed_of_a_team"
    ),
}
"""Both tests of the frames run on either socket."""
ROUTING = {
    "@skill:NAME rest": "test_chat_modes::test_a_skill_by_its_prefix",
    "greeting": "test_chat_modes::test_small_talk_is_direct_chat",
    "default": "test_chat_modes::test_everything_else_is_react_with_the_default_agent",
    "direct_chat": "test_chat_modes::test_small_talk_is_direct_chat",
    "react": "test_chat_modes::test_everything_else_is_react_with_the_default_agent",
    "skill_react": "test_chat_modes::test_a_skill_by_its_prefix",
    "rewoo": "test_chat_modes::test_rewoo_plans_and_solves",
    "reflexion": "test_chat_modes::test_reflexion_criticises_its_attempts",
    "plan_exec": "test_chat_modes::test_plan_exec_goes_through_its_phases",
    "no mode falls back silently": "test_chat_modes::test_an_unknown_mode_is_an_error_and_nothing_else",
}
OPERATIONS = {
    "operation_started": STEPS["operation"],
    "operation_in_progress": STEPS["operation"],
    "operation_pending": STEPS["operation"],
    "the result takes its place": STEPS["operation"],
    "on the portal": "test_chat_operations::test_the_portal_tells_of_the_result_too",
    "cancel": "test_chat_operations::test_an_operation_is_cancelled_by_its_id",
}
TABLE = {
    "1 Portal, REST": PORTAL_REST,
    "1 Portal, client sends": PORTAL_TAKES,
    "1 Portal, server sends": PORTAL_SENDS,
    "1 Portal, steps": STEPS,
    "2 Sessions, REST": CHAT_REST,
    "2 Sessions, client sends": CHAT_TAKES,
    "2 Sessions, server sends": CHAT_SENDS,
    "3 Tasks, REST": TASKS_REST,
    "3 Tasks, client sends": TASK_TAKES,
    "3 Tasks, server sends": TASK_SENDS,
    "4 Boards and teams": MEETINGS,
    "5 Routing": ROUTING,
    "6 Long-running tools": OPERATIONS,
    "7 Sessions as a store": STORE_REST,
    "9 Users, pushes and reminders": PUSH_REST,
}


def functions_of(module: str) -> set[str]:
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def sent_by(*modules: str) -> set[str]:
    """The values of `"type"` in the dictionaries that these modules of the API make."""
    found: set[str] = set()
    for module in modules:
        for node in ast.walk(ast.parse((API / f"{module}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                values = [
                    value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "type"
                ]
                found |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
    return found


def steps_of_turns() -> set[str]:
    """The names that a turn gives to its steps itself."""
    tree = ast.parse((API / "portal_wire.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    named = [
        call.args[0]
        for call in calls
        if (isinstance(call.func, ast.Attribute) and call.func.attr == "_shown")
        or (isinstance(call.func, ast.Name) and call.func.id == "Step")
    ]
    return {str(name.value) for name in named if isinstance(name, ast.Constant)}


def routes(routers: Iterable[Router]) -> set[str]:
    found: set[str] = set()
    for router in routers:
        for route in router.routes:
            for handler in getattr(route, "route_handlers", ()):
                if isinstance(handler, HTTPRouteHandler):
                    path = "/".join("{}" if part.startswith("{") else part for part in route.path.split("/"))
                    found |= {f"{method} {path.removeprefix('/api/v1')}" for method in handler.http_methods}
    return {route for route in found if not route.startswith("OPTIONS")}


@pytest.mark.parametrize(
    ("section", "row", "test"),
    [(section, row, test) for section, rows in TABLE.items() for row, test in rows.items()],
)
def test_every_row_names_a_test_that_is_there(section: str, row: str, test: str) -> None:
    module, _, name = test.partition("::")
    assert name in functions_of(module), f"{section}, {row}"


@pytest.mark.parametrize(
    ("rows", "there"),
    [
        (PORTAL_SENDS, sent_by("portal_socket", "portal_wire", "socket_loop", "sockets", "push")),
        (CHAT_SENDS, sent_by("chat_socket", "chat_wire", "socket_loop", "sockets", "push") | AS_FRAMES),
        (PORTAL_TAKES, set(portal_socket.KINDS)),
        (CHAT_TAKES, set(chat_socket.KINDS)),
        (STEPS, steps_of_turns() | set(NAMES) | {"expert_silent"}),
        (MEETINGS, set(FRAMES)),
        (PORTAL_REST, routes((portal_router, portal_stream_router))),
        (CHAT_REST | STORE_REST, routes((chat_router, uploads_router))),
        (STORE_REST, routes((agents_router,))),
        (TASKS_REST, routes((tasks_router, requests_router))),
        (PUSH_REST, routes((users_notifications_router, notifications_router, reminders_router))),
        (TASK_TAKES, set(task_socket.KINDS)),
        (TASK_SENDS, sent_by("task_socket", "socket_loop")),
    ],
)
def test_whatever_can_be_sent_or_called_is_in_the_table(rows: dict[str, str], there: set[str]) -> None:
    """Guard: a frame, step or route that nobody has put to the test."""
    assert there
    assert there <= rows.keys()
