"""Sections 4 to 7 and 9 of the wire contract in its own words. Section 8 (experiences) is not built yet."""

from tests.acceptance.contract.frames import BOARD, FRAMES_OF_MEETINGS, OPERATION, PUSH, TEAM
from tests.acceptance.contract.words import Tests

REFUSED = (
    "test_meeting_input::test_what_calls_no_meeting_is_an_error_frame_with_the_right_form_and_starts_nothing"
)
_BOARD_FRAMES = (
    "`board_started{team_id, topic, experts:[{id, name, avatar, color, is_moderator, persona}], max_rounds}`",
    "`expert_speech_chunk{expert_name, content, round}`",
    "`expert_speech{expert_id, expert_name, expert_avatar, expert_color, content, round, role}`",
    "`round_summary{moderator_name, moderator_avatar, moderator_color, content, round}`",
    "`user_intervention{content, round}`",
    "`board_concluded{summary, decision_advice, total_rounds, consensus_points, dissent_points}`",
)
_TEAM_FRAMES = (
    "`team_formed{team_id, status, experts, plan_phases, lead_expert}`",
    "`plan_update{plan_phases}`",
    "`plan_step`, `phase_started`,\n`phase_completed`, `phase_failed`, `replanning`",
    "`expert_step{expert_id, expert_name, expert_color, content, step}`",
    "`expert_result_chunk`, `expert_result_chunk_reset`",
    "`expert_result{expert_id, expert_name, expert_color, content}`",
    "`collaboration_contract_defined`, `collaboration_notice`, `review_result`, `risk_flagged`",
    "`team_synthesis_chunk`, `team_synthesis{content}`",
    "`team_dissolved{team_id}`",
)
MEETINGS: dict[str, Tests] = {
    "`@board[:expert,expert…] [rounds=N] topic` holds a board meeting": BOARD,
    "`@team[:expert,expert…] task` runs a team": TEAM,
    "both work on both sockets and over REST": (
        BOARD,
        TEAM,
        "test_board_sockets::test_a_board_over_rest_waits_for_its_answer",
        "test_board_sockets::test_a_board_over_server_sent_events_and_its_rest_after_a_reconnect",
        FRAMES_OF_MEETINGS["POST /portal/chat/stream of a team"],
    ),
    "No topic, or nobody resolvable: an error frame that shows the right form, and nothing is started.": (
        REFUSED,
        "test_meeting_input::test_over_rest_it_is_a_400_with_the_right_form_and_nothing_is_written",
    ),
    "`rounds=N` given by the user beats configuration": (
        BOARD,
        "integration/test_meetings_accept::test_a_board_is_taken_with_its_experts_rounds_and_budgets",
    ),
    "(default 5)": (
        "integration/test_meetings_accept::"
        "test_without_names_the_default_board_sits_for_the_configured_rounds"
    ),
    "Expert names resolve case-insensitively against the expert templates": (
        "test_board_sockets::test_a_board_over_rest_waits_for_its_answer",
        "unit/test_experts_library::test_experts_are_found_by_id_and_name_in_whatever_case",
    ),
    "without names the default board or team is taken": (
        "integration/test_meetings_accept::"
        "test_without_names_the_default_board_sits_for_the_configured_rounds"
    ),
    "the first\nteam member leads": "integration/test_meetings_accept::test_the_first_of_a_team_leads",
    "The user's message is kept as `@board <topic>`.": (
        BOARD,
        "unit/test_routing::"
        "test_the_message_is_kept_as_command_and_topic_and_stays_the_same_when_it_is_read_again",
    ),
    **dict.fromkeys(_BOARD_FRAMES, BOARD),
    "then `final_answer` with summary, decision advice,\npoints of consensus and of dissent": (
        BOARD,
        "unit/test_agents_board_conclusion::test_the_answer_is_markdown_in_english",
    ),
    **dict.fromkeys(_TEAM_FRAMES, TEAM),
    "Where there is no synthesis the answer is the phase results under their phase names.": (
        "unit/test_agents_team::test_without_a_synthesis_the_answer_is_the_results_under_their_phases"
    ),
    "A team is always dissolved, also after an error or a cancel.": (
        TEAM,
        "integration/test_runs_children::test_children_end_with_their_parent",
    ),
}
ROUTING: dict[str, Tests] = {
    "`@skill:NAME rest` (method `prefix`; the rest is the message)": (
        "test_chat_modes::test_a_skill_by_its_prefix"
    ),
    "a greeting or small talk (method `greeting`,\nmode `direct_chat`: one model call, no loop)": (
        "test_chat_modes::test_small_talk_is_direct_chat",
        "test_portal_socket::test_small_talk_is_routed_as_a_greeting",
    ),
    "everything else `react` with the default agent": (
        "test_chat_modes::test_everything_else_is_react_with_the_default_agent"
    ),
    "`skill_react`": "test_chat_modes::test_a_skill_by_its_prefix",
    "`rewoo`": "test_chat_modes::test_rewoo_plans_and_solves",
    "`reflexion`": "test_chat_modes::test_reflexion_criticises_its_attempts",
    "`plan_exec`": "test_chat_modes::test_plan_exec_goes_through_its_phases",
    "`team_collab`": TEAM,
    "A skill names its mode.": "unit/test_routing::test_a_skill_answers_in_its_own_mode",
    "No mode falls back silently to another.": (
        "test_chat_modes::test_an_unknown_mode_is_an_error_and_nothing_else"
    ),
}
OPERATIONS: dict[str, Tests] = {
    "`operation_started{operation_id, tool_name, message}`": OPERATION,
    "its result takes the place of the pending one in the conversation view when it is done": OPERATION,
    "`operation_in_progress` with the same id": OPERATION,
    "a reload shows `operation_pending`": OPERATION,
}
STORE: dict[str, Tests] = {
    "a title (set without racing the messages)": (
        "test_session_store::test_a_title_is_neither_lost_nor_overwritten_while_messages_come_in_on_two_nodes"
    ),
    "messages in the OpenAI shape (roles developer, system, user, assistant,\ntool": (
        "test_session_store::test_a_message_of_any_other_role_is_added_and_the_agent_is_shown_it_next",
        "test_session_store::test_real_conversations_go_in_and_come_out_unchanged",
    ),
    "`name`, `tool_call_id`, `refusal`, `tool_calls`": (
        "test_session_store::test_a_message_of_any_other_role_is_added_and_the_agent_is_shown_it_next",
        "test_session_store::test_real_conversations_go_in_and_come_out_unchanged",
    ),
    "usage (prompt, completion, total tokens)": ("test_session_store::test_a_session_says_what_it_has_used"),
    "counts of successful runs and schedules per agent": (
        "test_session_store::test_agents_say_what_they_have_done_and_have_to_do_for_a_user"
    ),
    "listed by owner, newest first, with a total count": (
        "test_session_store::test_sessions_are_listed_newest_first_a_page_at_a_time_with_their_number"
    ),
    "Reading or deleting somebody else's session behaves as if it did not exist.": (
        "test_walk::test_somebody_elses_things_look_as_if_they_had_never_been",
        "test_session_store::test_somebody_elses_session_does_not_exist_and_auditors_and_admins_may_look",
    ),
    (
        "`GET\n/chat/sessions/{id}/openai-messages` returns a list that the `openai` client accepts"
        " as `messages` unchanged"
    ): (
        "test_session_store::test_openai_messages_of_every_kind_of_run",
        "test_session_store::test_an_imported_conversation_and_one_of_the_portal_have_openai_messages_too",
    ),
}
EVOLUTION: dict[str, Tests] = {
    (
        "Each ended task leaves an experience record `{id, task_type, goal (≤ 200 chars), outcome: "
        "success|failure|cancelled, duration_seconds, created_at}`"
    ): "test_evolution::test_every_ended_task_leaves_an_experience",
    (
        "what analytics\nneeds (agent, skill, mode, model, steps, tool calls, tokens, cost, error class, "
        "conversation, first and last offset)"
    ): "test_evolution::test_every_ended_task_leaves_an_experience",
    "`GET /evolution/experiences`": (
        "test_evolution::test_every_ended_task_leaves_an_experience",
        "test_evolution::test_experiences_are_found_by_what_they_were",
    ),
    "`GET /evolution/metrics?period=24h|7d|30d`": (
        "test_evolution::test_metrics_count_what_has_ended",
        "test_evolution::test_a_plain_computation_over_the_real_conversations_agrees",
        "properties/test_metrics::test_metrics_are_a_plain_sum",
    ),
    "the socket `/evolution/ws` with `experience_added{id, task_type, goal, outcome}`": (
        "test_evolution::test_experiences_are_told_once_also_after_a_reconnect_on_the_other_node"
    ),
    "`metrics_updated{period}`": "test_evolution::test_word_of_changed_metrics_is_coalesced",
}
USERS: dict[str, Tests] = {
    "API keys in `X-API-Key` or `api_key=`": (
        "test_walk::test_without_a_good_key_nothing_is_told_and_nothing_done",
        "test_users::test_a_key_that_is_revoked_dies_at_once_on_the_other_process_with_its_sockets",
    ),
    "JWTs in `Authorization: Bearer` or `token=`": (
        "test_users::test_a_token_is_as_good_as_a_key_until_it_expires"
    ),
    "Without any key configured the server is in development mode, says so in its log and\nbinds loopback only.": (
        "test_development_mode::test_the_first_key_ends_the_development_mode_while_the_server_runs",
        "test_development_mode::test_a_key_made_before_the_first_start_opens_other_addresses",
    ),
    "Keys are compared in constant time and stored hashed.": (
        "unit/test_keys::test_wrong_keys_are_nobody",
        "test_users::test_a_key_in_a_url_never_reaches_a_log",
    ),
    "auditor (reads everything, changes nothing)": (
        "test_users::test_an_auditor_reads_all_and_writes_nothing",
        "test_walk::test_who_may_only_read_changes_nothing",
        "test_walk_sockets::test_who_may_only_read_changes_nothing",
    ),
    "A member sees only their own\nconversations, tasks, files and experiences.": (
        "test_walk::test_somebody_elses_things_look_as_if_they_had_never_been",
        "test_walk::test_naming_somebody_elses_things_in_a_query_tells_nothing",
        "test_walk_sockets::test_somebody_elses_look_as_if_they_had_never_been",
        "test_same_ids::test_nobody_meets_the_other_at_any_surface",
    ),
    "Departments carry quotas (requests, tokens, cost; per hour, day, month)": (
        "test_users::test_departments_and_quotas_are_kept_with_their_author",
        "test_quotas::test_a_message_over_quota_is_refused_and_nothing_is_written",
        "unit/test_quotas::test_periods_are_those_of_the_calendar",
    ),
    "which bind their members\nand not admins or service keys": (
        "test_quotas::test_service_keys_and_admins_are_not_bound"
    ),
    "`send_to_user(user_id, message)` reaches all of a user's sockets on every node": PUSH,
    "now or at their next connection": (
        "test_push::test_what_comes_while_nobody_is_there_is_kept_until_the_next_connection"
    ),
}
