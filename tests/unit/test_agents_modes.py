"""Modes need no I/O: outcomes in, intents out."""

from typing import Any

import pytest

from app.agents.direct import direct_chat
from app.agents.react import LAST_CALL, PARALLEL_CALLS_MAX, react
from app.core.events import RunLimits
from app.core.intents import (
    CallModel,
    CallTool,
    Intent,
    Mode,
    ModelFailure,
    Outcome,
    RunAborted,
    RunStart,
    ToolResult,
    intent_key,
)
from app.core.messages import ChatMessage, ModelAnswer, ToolCall, ToolSpec

SPEC = ToolSpec("clock", "Tells the time.", {"type": "object"})
START = RunStart(
    "What time is it?", "Be brief.", (ChatMessage("user", "earlier"),), (SPEC,), RunLimits(max_steps=3)
)


def said(text: str, *calls: ToolCall) -> ModelAnswer:
    return ModelAnswer("m", text, tool_calls=calls)


def play(mode: Mode, *outcomes: tuple[Outcome, ...]) -> tuple[list[tuple[Intent, ...]], Any]:
    """What the mode asks for when it is sent these outcomes, and its answer (None: it wants more)."""
    asked = [next(mode)]
    for outcome in outcomes:
        try:
            asked.append(mode.send(outcome))
        except StopIteration as stop:
            return asked, stop.value
    return asked, None


def request_of(intents: tuple[Intent, ...]):
    (intent,) = intents
    assert isinstance(intent, CallModel)
    return intent.request


def test_direct_chat_asks_once_without_tools() -> None:
    asked, answer = play(direct_chat(START), (said("Noon."),))
    assert answer == "Noon."
    request = request_of(asked[0])
    assert request.tools == ()
    assert [m.content for m in request.messages] == ["Be brief.", "earlier", "What time is it?"]


@pytest.mark.parametrize("mode", [direct_chat, react])
def test_a_failed_model_call_aborts_the_run_with_its_sentence(mode: Any) -> None:
    with pytest.raises(RunAborted, match="The model is away") as raised:
        play(mode(START), (ModelFailure("unreachable", "The model is away."),))
    assert raised.value.error_class == "unreachable"


def test_react_answers_as_soon_as_no_tool_is_asked_for() -> None:
    asked, answer = play(react(START), (said("Noon."),))
    assert answer == "Noon."
    assert request_of(asked[0]).tools == (SPEC,)


def test_react_carries_out_all_calls_of_an_answer_at_once_and_tells_the_model_in_order() -> None:
    calls = (ToolCall("1", "clock", '{"timezone":"UTC"}'), ToolCall("2", "clock"))
    asked, _ = play(
        react(START),
        (said("Let me look.", *calls),),
        (ToolResult("1", "clock", "a"), ToolResult("2", "clock", "b")),
    )
    assert asked[1] == (CallTool(calls[0]), CallTool(calls[1]))
    assert request_of(asked[2]).messages[-3:] == (
        ChatMessage("assistant", "Let me look.", tool_calls=calls),
        ChatMessage("tool", "a", "clock", "1"),
        ChatMessage("tool", "b", "clock", "2"),
    )


def test_the_last_step_of_react_has_no_tools_and_is_told_to_answer() -> None:
    call = ToolCall("1", "clock")
    told = (ToolResult("1", "clock", "noon"),)
    asked, answer = play(
        react(START), (said("", call),), told, (said("", call),), told, (said("Noon, I think.", call),)
    )
    last = request_of(asked[-1])
    assert answer == "Noon, I think."
    assert len(asked) == 5
    assert last.tools == ()
    assert last.messages[-1] == ChatMessage("user", LAST_CALL)


def test_with_one_step_react_is_asked_the_question_as_it_is() -> None:
    asked, answer = play(react(RunStart("Hm?", limits=RunLimits(max_steps=1))), (said("Yes."),))
    assert answer == "Yes."
    assert [m.content for m in request_of(asked[0]).messages] == ["Hm?"]


def test_calls_over_the_limit_are_answered_but_not_carried_out() -> None:
    calls = tuple(ToolCall(str(n), "clock") for n in range(PARALLEL_CALLS_MAX + 2))
    results = tuple(ToolResult(call.id, "clock", "noon") for call in calls[:PARALLEL_CALLS_MAX])
    asked, _ = play(react(START), (said("", *calls),), results)
    assert len(asked[1]) == PARALLEL_CALLS_MAX
    told = [m for m in request_of(asked[2]).messages if m.role == "tool"]
    assert [m.tool_call_id for m in told] == [call.id for call in calls]
    assert told[-1].content is not None
    assert told[-1].content.startswith("Not carried out")


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", "", '"text"'])
def test_malformed_arguments_reach_the_tool_but_not_the_provider_again(arguments: str) -> None:
    call = ToolCall("1", "clock", arguments)
    asked, _ = play(
        react(START), (said("", call),), (ToolResult("1", "clock", "no JSON", "invalid_arguments"),)
    )
    assert asked[1] == (CallTool(call),)
    (echoed,) = next(m for m in request_of(asked[2]).messages if m.tool_calls).tool_calls
    assert echoed == ToolCall("1", "clock", "{}")


def test_attached_files_are_named_to_the_model() -> None:
    asked, _ = play(react(RunStart("Sum it up", sources=("a.txt", "b.md"))))
    assert request_of(asked[0]).messages[-1].content == "Sum it up\n\n[Attached files: a.txt, b.md]"


def test_the_same_outcomes_give_the_same_keys() -> None:
    outcomes = ((said("", ToolCall("1", "clock")),), (ToolResult("1", "clock", "noon"),))
    first, second = (play(react(START), *outcomes)[0] for _ in range(2))
    assert [intent_key(i) for step in first for i in step] == [intent_key(i) for step in second for i in step]
    assert len({intent_key(i) for step in first for i in step}) == 3
