"""Contract section 7: what a client has added to a session's history is what the model is shown next."""

from uuid import UUID

import msgspec

from app.core import events as ev
from app.core.messages import ChatMessage, ToolCall
from app.runs.history import BEGUN, history
from tests.unit.test_runs_history import answered, asked, stream

A, B = UUID(int=1), UUID(int=2)
CALL = {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
ASSISTANT = ChatMessage("assistant", None, tool_calls=(ToolCall("x", "f", '{"a":1}'),))


def added(role: str, content: object, **fields: object) -> tuple[ev.Event, None]:
    message = msgspec.Raw(msgspec.json.encode({"role": role, "content": content, **fields}))
    return ev.MessageAdded("m", message), None


def shown(*events: tuple[ev.Event, UUID | None]) -> tuple[ChatMessage, ...]:
    return history(stream(*events, asked("own", A)), task_id=A, max_history=50).messages


def test_prompts_and_answers_are_shown_at_their_place_whoever_spoke_first() -> None:
    found = shown(
        added("assistant", "Welcome."),
        added("system", "Be brief."),
        asked("1", B),
        answered("one", B),
        added("developer", [{"type": "text", "text": "Now in French."}]),
        added("user", [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "x"}}]),
    )
    assert found == (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", BEGUN),
        ChatMessage("assistant", "Welcome."),
        ChatMessage("user", "1"),
        ChatMessage("assistant", "one"),
        ChatMessage("developer", "Now in French."),
        ChatMessage("user", "Look:\n[image_url]"),
    )


def test_a_result_stands_behind_its_call_also_where_it_was_added_later() -> None:
    user = added("user", "fly")
    call = added("assistant", None, tool_calls=[CALL])
    result = added("tool", "done", tool_call_id="x")
    told = (ChatMessage("user", "fly"), ASSISTANT, ChatMessage("tool", "done", tool_call_id="x"))
    assert shown(user, call, result) == told
    assert shown(user, call, asked("1", B), answered("one", B), result) == (
        *told,
        ChatMessage("user", "1"),
        ChatMessage("assistant", "one"),
    )
    assert shown(user, call) == (ChatMessage("user", "fly"),)  # providers refuse a call without a result


def test_refusals_and_the_old_form_of_tools_are_text() -> None:
    found = shown(
        added("user", "call f"),
        added("assistant", None, function_call={"name": "f", "arguments": "{}"}),
        added("function", "42", name="f"),
        added("assistant", None, refusal="I will not."),
    )
    assert [message.content for message in found] == [
        "call f",
        "[Called the function f with {}]",
        "[Result of the function f]\n42",
        "I will not.",
    ]
    assert [message.role for message in found] == ["user", "assistant", "user", "assistant"]


def test_what_is_added_behind_a_message_is_not_shown_to_its_task() -> None:
    recorded = stream(asked("own", A), added("system", "Later."))
    assert history(recorded, task_id=A, max_history=50).messages == ()


def test_added_messages_are_summarised_like_all_others() -> None:
    events = [added("user" if n % 2 else "assistant", f"w{n}") for n in range(1, 9)]
    found = history(stream(*events, asked("own", A)), task_id=A, max_history=4)
    assert [message.content for message in found.unsummarized] == ["w1", "w2", "w3", "w4", "w5", "w6"]
    assert [message.content for message in found.messages] == ["w7", "w8"]
