"""What a model is shown of a conversation."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from app.core import events as ev
from app.core.envelope import Recorded
from app.core.messages import ChatMessage, ToolCall
from app.runs.history import History, consistent, from_openai, history, read_history

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
    shown = history(recorded, task_id=task_id, max_history=max_history)
    return [message.content for message in (*shown.unsummarized, *shown.messages)]


def requested(task_id: UUID) -> tuple[ev.Event, UUID]:
    return ev.RunRequested("m", "input", "assistant", "react", 1), task_id


def summarized(content: str, until: int, task_id: UUID) -> tuple[ev.Event, UUID]:
    return ev.HistorySummarized(content, until), task_id


def talk(turns: int) -> list[tuple[ev.Event, UUID]]:
    """Turns at the offsets 1 and 2, 3 and 4, …: `u1`, `a1`, `u2`, `a2`, …"""
    return [
        event
        for n in range(1, turns + 1)
        for event in (asked(f"u{n}", UUID(int=1000 + n)), answered(f"a{n}", UUID(int=1000 + n)))
    ]


def contents(messages: Iterable[ChatMessage]) -> list[str | None]:
    return [message.content for message in messages]


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


def test_up_to_the_limit_everything_is_shown_as_it_is() -> None:
    recorded = stream(*talk(3), asked("own", A))
    assert history(recorded, task_id=A, max_history=6) == History(
        messages=tuple(
            ChatMessage("user" if content[0] == "u" else "assistant", content)
            for content in ("u1", "a1", "u2", "a2", "u3", "a3")
        )
    )


def test_over_the_limit_all_but_the_newest_half_is_to_be_summarised() -> None:
    found = history(stream(*talk(4), asked("own", A)), task_id=A, max_history=7)
    assert contents(found.unsummarized) == ["u1", "a1", "u2", "a2", "u3", "a3"]
    assert contents(found.messages) == ["u4", "a4"]  # of 3 that might be shown: it begins with the user's
    assert (found.summary, found.unsummarized_until) == ("", 6)


def test_what_is_summarised_is_not_read_again_and_what_came_since_is_shown() -> None:
    recorded = stream(*talk(4), asked("x", B), summarized("so far", 6, B), answered("y", B), asked("own", A))
    found = history(recorded, task_id=A, max_history=7)
    assert found.summary == "so far"
    assert contents(found.messages) == ["u4", "a4", "x", "y"]
    assert found.unsummarized == ()


def test_the_newest_summary_counts_and_is_summarised_on() -> None:
    recorded = stream(*talk(2), summarized("one", 2, B), summarized("two", 4, B), *talk(4), asked("own", A))
    found = history(recorded, task_id=A, max_history=4)
    assert found.summary == "two"
    assert contents(found.unsummarized) == ["u1", "a1", "u2", "a2", "u3", "a3"]
    assert contents(found.messages) == ["u4", "a4"]
    assert found.unsummarized_until == 12


def test_a_summary_that_covers_the_tasks_own_message_is_not_for_it() -> None:
    # Another task that was asked later began earlier and summarised on.
    recorded = stream(
        *talk(1), summarized("one", 2, B), asked("own", A), asked("later", C), summarized("all", 4, C)
    )
    found = history(recorded, task_id=A, max_history=6)
    assert (found.summary, found.messages) == ("one", ())
    after = history(stream(*talk(1), asked("own", A), summarized("u1 a1", 2, C)), task_id=A, max_history=6)
    assert (after.summary, after.messages) == ("u1 a1", ())


def test_a_deletion_forgets_the_summary_too() -> None:
    deleted = (ev.ConversationDeleted("c"), None)
    recorded = stream(*talk(1), summarized("one", 2, B), deleted, asked("2", C), asked("own", A))
    assert history(recorded, task_id=A, max_history=6) == History(messages=(ChatMessage("user", "2"),))


def test_never_more_than_four_times_the_limit_is_looked_at() -> None:
    recorded = stream(*talk(20), asked("own", A), *(asked("later", UUID(int=n)) for n in range(50, 70)))
    found = history(recorded, task_id=A, max_history=2)
    assert contents((*found.unsummarized, *found.messages)) == [
        "u17", "a17", "u18", "a18", "u19", "a19", "u20", "a20",
    ]  # fmt: skip
    assert contents(found.messages) == ["u20", "a20"]
    assert history(recorded, task_id=A, max_history=0) == History()


def test_the_cut_parts_offsets_so_that_nothing_is_summarised_twice_or_never() -> None:
    # The answers came after all questions: at no place do the offsets before it all lie below those behind it.
    recorded = stream(asked("1", B), asked("2", C), answered("one", B), answered("two", C), asked("own", A))
    found = history(recorded, task_id=A, max_history=2)
    assert (found.unsummarized, found.unsummarized_until) == ((), 0)
    assert contents(found.messages) == ["2", "two"]
    further = stream(
        asked("1", B), asked("2", C), answered("one", B), answered("two", C), *talk(1), asked("own", A)
    )
    found = history(further, task_id=A, max_history=2)
    assert contents(found.unsummarized) == ["1", "one", "2", "two"]
    assert found.unsummarized_until == 4


def test_an_answer_that_came_after_its_message_was_summarised_is_still_shown() -> None:
    recorded = stream(
        asked("1", B), summarized("1", 1, C), asked("2", C), answered("two", C), answered("one", B), asked("own", A)
    )  # fmt: skip
    assert contents(history(recorded, task_id=A, max_history=6).messages) == ["2", "two", "one"]


@pytest.mark.parametrize("merged_first", [True, False])
def test_a_message_that_another_task_has_heard_stands_before_the_answer_of_that_task(
    merged_first: bool,
) -> None:
    merged = (ev.RunMerged(str(A), "m"), B)
    end = [merged, answered("both", A)] if merged_first else [answered("both", A), merged]
    assert told(stream(asked("1", A), asked("2", B), *end, asked("own", C)), C) == ["1", "2", "both"]


def test_an_operation_has_no_message_of_its_own_and_knows_what_was_said_before_it() -> None:
    recorded = stream(*talk(1), requested(A), asked("later", B), answered("x", B))
    assert told(recorded, A) == ["u1", "a1"]


class Pages:
    """A reader of these events in pages, which counts them."""

    def __init__(self, recorded: list[Recorded]) -> None:
        self.recorded = recorded
        self.pages = 0

    async def stream_backwards(self, stream: str, *, before: int, limit: int) -> list[Recorded]:
        self.pages += 1
        return [one for one in reversed(self.recorded) if one.offset < before][:limit]


@pytest.mark.parametrize("max_history", [0, 1, 2, 7, 50, 60, 500])
@pytest.mark.parametrize("with_summary", [True, False])
async def test_reading_backwards_gives_the_same_as_a_fold_of_everything(
    max_history: int, with_summary: bool
) -> None:
    noise = [(ev.RunClaimed("w", 1), B)] * 7
    turns = talk(300)
    events = [event for n, turn in enumerate(turns) for event in (turn, *(noise if n % 3 == 0 else []))]
    if with_summary:
        events.insert(1500, summarized("s", 1400, B))
    recorded = stream(*events, asked("own", A), requested(A), asked("later", C))
    reader = Pages(recorded)
    found = await read_history(reader, "s", task_id=A, until=len(recorded), max_history=max_history)  # type: ignore[arg-type]
    assert found == history(recorded, task_id=A, max_history=max_history)
    assert (found.summary == "s") == (with_summary and max_history >= 50)
    if max_history <= 50:
        assert reader.pages <= 5  # of 10
    assert len(found.messages) <= max_history


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
    assert history(stream(*imported, asked("next", A)), task_id=A, max_history=50).messages == (
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
