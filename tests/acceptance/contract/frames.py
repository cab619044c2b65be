"""Every frame and step that the sockets take, send or show, with its test over the real server: those of the contract
(`words.py` quotes it) and those beyond it."""

PUSH = "test_push::test_a_push_reaches_every_socket_of_the_user_on_both_nodes"
BOARD = "test_board_sockets::test_a_board_of_five_for_three_rounds"
TEAM = "test_team_sockets::test_a_team_of_four_with_two_phases_at_once"
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
FEED_TAKES = {"ping": "test_asyncapi::test_the_frames_of_a_feed_look_as_it_says"}
FEED_SENDS = dict.fromkeys(
    ("resumed", "events", "delta", "heartbeat", "error", "pong"),
    "test_asyncapi::test_the_frames_of_a_feed_look_as_it_says",
)
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
EVOLUTION = "test_evolution::"
TOLD_ONCE = EVOLUTION + "test_experiences_are_told_once_also_after_a_reconnect_on_the_other_node"
EVOLUTION_TAKES = {"ping": EVOLUTION + "test_bad_frames_and_cursors_are_told_so"}
EVOLUTION_SENDS = {
    "connected": TOLD_ONCE,
    "experience_added": TOLD_ONCE,
    "metrics_updated": EVOLUTION + "test_word_of_changed_metrics_is_coalesced",
    "error": EVOLUTION + "test_bad_frames_and_cursors_are_told_so",
    "pong": EVOLUTION + "test_bad_frames_and_cursors_are_told_so",
}
OPERATION = STEPS["operation"]
FRAMES_OF_MEETINGS = {
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
