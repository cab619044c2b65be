"""Modes need no I/O: outcomes in, intents out. Here: `direct_chat`, `react`, `skill_react`, `operation`."""

from typing import Any

import msgspec
import pytest

from app.agents.direct import direct_chat
from app.agents.modes import MODES
from app.agents.operation import operation
from app.agents.react import react
from app.agents.skill_react import goal_of, skill_react
from app.core.acting import LAST_CALL, PARALLEL_CALLS_MAX, TOO_MANY_CALLS
from app.core.events import RunLimits
from app.core.intents import CallModel, CallTool, Listen, ModelFailure, RunStart, ToolResult, intent_key
from app.core.messages import AnswerShape, ChatMessage, ModelRequest, ToolCall, ToolSpec
from tests.support.modes import drive, failed, said, texts

SPEC = ToolSpec("clock", "Tells the time.", {"type": "object"})
START = RunStart(
    "What time is it?", "Be brief.", (ChatMessage("user", "earlier"),), (SPEC,), RunLimits(max_steps=3)
)
CALL = ToolCall("1", "clock", '{"timezone":"UTC"}')


def test_direct_chat_asks_once_without_tools() -> None:
    played = drive(direct_chat(START), [said("Noon.")])
    assert played.answer == "Noon."
    assert played.shape == ["model"]
    assert played.requests[0].tools == ()
    assert texts(played.requests[0]) == ["Be brief.", "earlier", "What time is it?"]


@pytest.mark.parametrize("name", sorted(MODES.keys() - {"operation", "board", "team_collab"}))
def test_a_failed_model_call_aborts_the_run_with_its_sentence(name: str) -> None:
    played = drive(MODES[name].run(START), [ModelFailure("unreachable", "The model is away.")])
    assert played.answer is None
    assert played.error is not None
    assert (played.error.error_class, str(played.error)) == ("unreachable", "The model is away.")


@pytest.mark.parametrize("name", sorted(MODES.keys() - {"operation", "board", "team_collab"}))
def test_with_one_step_every_mode_makes_one_call_without_tools_and_answers(name: str) -> None:
    start = RunStart("Hm?", tools=(SPEC,), limits=RunLimits(max_steps=1))
    played = drive(MODES[name].run(start), [said("Yes.")])
    assert played.answer == "Yes."
    assert played.requests[0].tools == ()
    assert texts(played.requests[0])[-1] == "Hm?"


def test_react_answers_as_soon_as_no_tool_is_asked_for() -> None:
    played = drive(react(START), [said("Noon.")])
    assert played.answer == "Noon."
    assert played.requests[0].tools == (SPEC,)


def test_react_carries_out_all_calls_of_an_answer_at_once_and_tells_the_model_in_order() -> None:
    calls = (CALL, ToolCall("2", "clock"))
    played = drive(
        react(START),
        [said("Let me look.", *calls), said("Noon.")],
        tool=lambda call: ToolResult(call.id, call.name, f"result {call.id}"),
    )
    assert played.asked[1] == (CallTool(calls[0]), CallTool(calls[1]))
    assert played.requests[1].messages[-3:] == (
        ChatMessage("assistant", "Let me look.", tool_calls=calls),
        ChatMessage("tool", "result 1", "clock", "1"),
        ChatMessage("tool", "result 2", "clock", "2"),
    )


def test_react_listens_before_every_call_but_the_first_and_before_the_end() -> None:
    played = drive(react(START), [said("", CALL), said("Noon.")])
    assert played.shape == ["model", "tool", "listen", "model", "listen"]


def test_what_people_say_while_a_tool_works_is_heard_before_the_next_call() -> None:
    played = drive(react(START), [said("", CALL), said("12:00 UTC")], heard={0: ("In UTC.", "Please.")})
    assert played.requests[1].messages[-1] == ChatMessage("user", "In UTC.\n\nPlease.")
    assert played.answer == "12:00 UTC"


def test_what_people_say_before_the_end_is_answered_too() -> None:
    played = drive(react(START), [said("Noon."), said("Noon in UTC.")], heard={0: ("And in UTC?",)})
    assert played.shape == ["model", "listen", "model", "listen"]
    assert played.requests[1].messages[-2:] == (
        ChatMessage("assistant", "Noon."),
        ChatMessage("user", "And in UTC?"),
    )
    assert played.answer == "Noon in UTC."


def test_after_its_last_step_react_does_not_listen_to_what_it_could_not_answer_any_more() -> None:
    played = drive(
        react(START), [said("a"), said("b"), said("c")], heard={0: ("more",), 1: ("and more",), 2: ("lost",)}
    )
    assert played.shape == ["model", "listen", "model", "listen", "model"]
    assert played.answer == "c"
    assert texts(played.requests[2])[-1] == f"and more\n\n{LAST_CALL}"


def test_the_last_step_of_react_has_no_tools_and_no_tool_messages_and_is_told_to_answer() -> None:
    # Guards the flattening: Anthropic refuses tool messages in a request that defines no tools.
    played = drive(react(START), [said("I look.", CALL), said("", CALL), said("Noon, I think.", CALL)])
    last = played.requests[-1]
    assert played.answer == "Noon, I think."
    assert len(played.requests) == 3
    assert last.tools == ()
    assert {message.role for message in last.messages} == {"system", "user", "assistant"}
    assert not any(message.tool_calls for message in last.messages)
    result = '[Result of the tool clock, called with {"timezone":"UTC"}]\nclock says so'
    assert texts(last)[-2:] == ["I look.", f"{result}\n\n{result}\n\n{LAST_CALL}"]


def test_a_history_with_tool_calls_is_text_where_no_tools_are_offered() -> None:
    history = (
        ChatMessage("user", "u"),
        ChatMessage("assistant", None, tool_calls=(CALL,)),
        ChatMessage("tool", "noon", None, "1"),
        ChatMessage("assistant", "It is noon."),
    )
    played = drive(direct_chat(RunStart("Thanks", history=history)), [said("Welcome.")])
    assert [(m.role, m.content) for m in played.requests[0].messages] == [
        ("user", 'u\n\n[Result of the tool clock, called with {"timezone":"UTC"}]\nnoon'),
        ("assistant", "It is noon."),
        ("user", "Thanks"),
    ]


def test_calls_over_the_limit_are_answered_but_not_carried_out() -> None:
    calls = tuple(ToolCall(str(n), "clock") for n in range(PARALLEL_CALLS_MAX + 2))
    played = drive(react(START), [said("", *calls), said("Noon.")])
    assert len(played.asked[1]) == PARALLEL_CALLS_MAX
    told = [m for m in played.requests[1].messages if m.role == "tool"]
    assert [m.tool_call_id for m in told] == [call.id for call in calls]
    assert told[-1].content == TOO_MANY_CALLS


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", "", '"text"', "[" * 100_000])
def test_malformed_arguments_reach_the_tool_but_not_the_provider_again(arguments: str) -> None:
    call = ToolCall("1", "clock", arguments)
    played = drive(react(START), [said("", call), said("Noon.")])
    assert played.calls == [call]
    (echoed,) = next(m for m in played.requests[1].messages if m.tool_calls).tool_calls
    assert echoed == ToolCall("1", "clock", "{}")


def test_attached_files_are_named_to_the_model() -> None:
    played = drive(react(RunStart("Sum it up", sources=("a.txt", "b.md"))), [said("Done.")])
    assert texts(played.requests[0])[-1] == "Sum it up\n\n[Attached files: a.txt, b.md]"


def test_the_same_outcomes_give_the_same_keys() -> None:
    first, second = (drive(react(START), [said("", CALL), said("Noon.")]).asked for _ in range(2))
    keys = [intent_key(i) for step in first for i in step if not isinstance(i, Listen)]
    assert keys == [intent_key(i) for step in second for i in step if not isinstance(i, Listen)]
    assert len(set(keys)) == 3


MESSAGES = (ChatMessage("system", "Be brief."), ChatMessage("user", "go"))
OLD_KEYS = (
    (CallModel(ModelRequest(MESSAGES, (SPEC,), "m-1")), "7219c367f50ced83ec59b77aa931b5ab"),
    (
        CallModel(ModelRequest(MESSAGES, (SPEC,), "m-1"), True, "ada", 2, "speech"),
        "9b5c957d86fca85fd11be0ce621173e5",
    ),
    (CallModel(ModelRequest(MESSAGES[1:])), "52f95893f53e04655d5cb507ac6259e9"),
)
"""As they were recorded before a request had a shape or could be brief."""


@pytest.mark.parametrize(("call", "key"), OLD_KEYS)
def test_runs_recorded_before_requests_had_shapes_still_replay(call: CallModel, key: str) -> None:
    shaped = msgspec.structs.replace(call.request, shape=AnswerShape({"type": "object"}, {}), brief=True)
    assert intent_key(call) == key
    assert intent_key(msgspec.structs.replace(call, request=shaped)) == key
    assert b"shape" not in msgspec.json.encode(call)


SKILL = "# Release notes\n\nYou write release notes from\na list of changes.\n\nFirst read the list. Then group it."
GOAL = "You write release notes from a list of changes."


@pytest.mark.parametrize(
    ("prompt", "goal"),
    [
        (SKILL, GOAL),
        ("Some text.\n\n**Goal:** tidy notes.\nMore.", "tidy notes."),
        ("Some text.\n- goal: x", "x"),
        ("The goals: none of a line's own.", "The goals: none of a line's own."),
        ("# Only\n## headings", ""),
        ("", ""),
        ("word " * 200, "word " * 79 + "word…"),
    ],
)
def test_the_goal_of_a_skill_is_found_in_its_prompt(prompt: str, goal: str) -> None:
    assert goal_of(prompt) == goal


def test_skill_react_is_reminded_of_the_goal_and_the_tools_behind_the_prompt() -> None:
    start = RunStart("Go", SKILL, tools=(SPEC,), summary="Talked of version 2.")
    played = drive(skill_react(start), [said("", CALL), said("Done.")])
    system = texts(played.requests[0])[0]
    assert system.startswith(SKILL)
    reminder = system.removeprefix(SKILL)
    assert GOAL in reminder
    assert "(clock)" in reminder
    assert played.requests[0].tools == (SPEC,)
    assert texts(played.requests[0])[-1] == "Go"
    assert played.shape == ["model", "tool", "listen", "model", "listen"]


def test_the_last_call_of_a_skill_names_its_goal_again() -> None:
    start = RunStart("Go", SKILL, tools=(SPEC,), limits=RunLimits(max_steps=2))
    played = drive(skill_react(start), [said("", CALL), said("Done.")])
    assert texts(played.requests[1])[-1].count(GOAL) == 1
    assert LAST_CALL in texts(played.requests[1])[-1]


def test_a_skill_without_a_prompt_is_worked_on_without_a_reminder() -> None:
    played = drive(skill_react(RunStart("Go", tools=(SPEC,))), [said("Done.")])
    assert texts(played.requests[0]) == ["Go"]


def test_an_operation_calls_its_tool_once_with_the_input_and_answers_with_the_result() -> None:
    played = drive(operation(RunStart('{"a":1}', tools=(SPEC,))), [])
    assert played.asked == [(CallTool(ToolCall("operation", "clock", '{"a":1}')),)]
    assert played.answer == "clock says so"


def test_an_operation_whose_tool_fails_fails_with_its_words() -> None:
    def broken(call: ToolCall) -> ToolResult:
        return ToolResult(call.id, call.name, "No disk left.", "failed")

    played = drive(operation(RunStart("{}", tools=(SPEC,))), [], tool=broken)
    assert played.error is not None
    assert (played.error.error_class, str(played.error)) == ("failed", "No disk left.")


@pytest.mark.parametrize("mode", [react, skill_react])
def test_a_model_that_fails_after_a_tool_aborts_the_run(mode: Any) -> None:
    assert drive(mode(START), [said("", CALL), failed()]).error is not None
