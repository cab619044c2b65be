"""What a model is shown of a conversation."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from app.core import events as ev
from app.core.envelope import Recorded
from app.core.messages import ChatMessage, ToolCall
from app.runs.history import consistent, from_openai, history

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)


def stream(*events: tuple[ev.Event, UUID | None]) -> list[Recorded]:
    return [
        Recorded(
            "s", n, n, 0, UUID(int=100 + n), ev.event_type(event), ev.encode(event), 1, "user:a", task_id, None, None,
            None, datetime.fromtimestamp(n, UTC),
        )
        for n, (event, task_id) in enumerate(events, start=1)
    ]  # fmt: skip


def asked(content: str, task_id: UUID) -> tuple[ev.Event, UUID]:
    return ev.MessageReceived("m", content), task_id


def answered(content: str, task_id: UUID) -> tuple[ev.Event, UUID]:
    return ev.MessageAnswered("a", content), task_id


def told(recorded: list[Recorded], task_id: UUID, max_history: int = 50) -> list[str | None]:
    return [message.content for message in history(recorded, task_id=task_id, max_history=max_history)]


def test_answers_stand_behind_their_messages_and_later_messages_are_not_shown() -> None:
    recorded = stream(asked("1", A), asked("2", B), asked("3", C), answered("one", A), answered("two", B))
    assert told(recorded, A) == []
    assert told(recorded, B) == ["1", "one"]
    assert told(recorded, C) == ["1", "one", "2", "two"]


def test_an_interrupted_answer_is_part_of_the_conversation() -> None:
    recorded = stream(asked("1", A), (ev.MessageInterrupted("a", "half"), A), asked("2", B))
    assert told(recorded, B) == ["1", "half"]


def test_a_deletion_is_forgetting() -> None:
    recorded = stream(asked("1", A), answered("one", A), (ev.ConversationDeleted("c"), None), asked("2", B))
    assert told(recorded, B) == []


def test_only_the_newest_messages_are_shown_and_the_first_is_the_users() -> None:
    recorded = stream(asked("1", A), answered("one", A), asked("2", B), answered("two", B), asked("3", C))
    assert told(recorded, C, 2) == ["2", "two"]
    assert told(recorded, C, 3) == ["2", "two"]
    assert told(recorded, C, 0) == []


def test_imported_messages_keep_their_tool_calls_but_not_the_foreign_prompt() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    messages = [
        {"role": "system", "content": "You are an airline."},
        {"role": "user", "content": [{"type": "text", "text": "fly"}, {"type": "text", "text": "me"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x", "name": "f", "content": ""},
        {"role": "assistant", "content": "done"},
    ]
    imported = [
        (ev.MessageImported(n, msgspec.Raw(msgspec.json.encode(message))), None)
        for n, message in enumerate(messages)
    ]
    assert history(stream(*imported, asked("next", A)), task_id=A, max_history=50) == (
        ChatMessage("user", "fly\nme"),
        ChatMessage("assistant", None, tool_calls=(ToolCall("x", "f", '{"a":1}'),)),
        ChatMessage("tool", "", "f", "x"),
        ChatMessage("assistant", "done"),
    )


def test_calls_without_results_and_results_without_calls_are_left_out() -> None:
    user, call = ChatMessage("user", "u"), ToolCall("x", "f")
    result = ChatMessage("tool", "r", "f", "x")
    assert consistent([result, user]) == (user,)
    assert consistent([user, ChatMessage("assistant", "hm", tool_calls=(call,)), user]) == (
        user,
        ChatMessage("assistant", "hm"),
        user,
    )
    assert consistent([user, ChatMessage("assistant", tool_calls=(call, ToolCall("y", "f"))), result]) == (
        user,
    )
    assert consistent([user, result, user]) == (user, user)


def test_odd_messages_do_no_harm() -> None:
    assert from_openai(b'{"role":"assistant","content":null}') is None
    assert from_openai(b'{"role":"function","content":"x"}') is None
    assert from_openai(b'{"role":"assistant","tool_calls":[{"id":"1"}],"content":"x"}') == ChatMessage(
        "assistant", "x"
    )
