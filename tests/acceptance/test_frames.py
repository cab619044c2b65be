"""Which test has seen which row of the wire contract: sections 1, 2, 4, 5 and 6, as far as runs are concerned.

The table is checked: every test in it exists, every frame that the sockets' code can send or take is in it, and every
route of these surfaces too. What it names are tests over real sockets and REST of the real server.
"""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest
from litestar import Router
from litestar.handlers import HTTPRouteHandler

from app.api import chat_socket, portal_socket
from app.api.chat import chat_router
from app.api.chat_wire import AS_FRAMES
from app.api.meeting_wire import FRAMES
from app.api.portal import portal_router
from app.api.portal_stream import portal_stream_router
from app.api.requests import requests_router
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
    "POST /chat/upload": "test_portal_rest::test_an_uploaded_text_is_kept_and_given_back_as_an_attachment",
    "GET /chat/uploads/{}": "test_portal_rest::test_an_uploaded_text_is_kept_and_given_back_as_an_attachment",
    "POST /tasks/{}/reply": (
        "test_chat_people::test_a_task_waits_while_its_question_is_open_and_is_answered_over_rest_on_another_node"
    ),
    "POST /tasks/{}/confirm": "test_chat_people::test_a_confirmation_is_given_over_rest",
    "POST /tasks/{}/cancel": "test_chat_people::test_a_task_that_waits_is_cancelled_over_rest",
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
    "4 Boards and teams": MEETINGS,
    "5 Routing": ROUTING,
    "6 Long-running tools": OPERATIONS,
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
        (PORTAL_SENDS, sent_by("portal_socket", "portal_wire", "socket_loop", "sockets")),
        (CHAT_SENDS, sent_by("chat_socket", "chat_wire", "socket_loop", "sockets") | AS_FRAMES),
        (PORTAL_TAKES, set(portal_socket.KINDS)),
        (CHAT_TAKES, set(chat_socket.KINDS)),
        (STEPS, steps_of_turns() | set(NAMES) | {"expert_silent"}),
        (MEETINGS, set(FRAMES)),
        (PORTAL_REST, routes((portal_router, portal_stream_router))),
        (CHAT_REST, routes((chat_router, requests_router, uploads_router))),
    ],
)
def test_whatever_can_be_sent_or_called_is_in_the_table(rows: dict[str, str], there: set[str]) -> None:
    """Guard: a frame, step or route that nobody has put to the test."""
    assert there
    assert there <= rows.keys()
