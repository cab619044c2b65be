"""Contract section 2: what each event of a session is to its socket. The rule for tokens and thinking above all."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.api.chat_wire import MEETINGS_MAX, SessionFrames
from app.core import events as ev
from app.core.messages import ModelAnswer, ToolCall
from app.log.subscribe import Delta
from tests.support.projected import START, Book, requested, task

RUN, OTHER = task(1), task(2)
CALL = ToolCall("c1", "calculator", '{"expression":"1+1"}')


def shown(book: Book, *, after: int = 0, drafts: bool = False) -> list[dict[str, Any]]:
    frames = SessionFrames("en", after=after, drafts=drafts)
    return [frame for recorded in book.recorded for frame in frames.show(recorded)]


def kinds(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]


def answered(step: int, text: str, *calls: ToolCall, thinking: str = "") -> ev.ModelAnswered:
    return ev.ModelAnswered(step, "k", ModelAnswer("m", text, thinking, calls))


def begun(mode: str = "react", **fields: Any) -> Book:
    book = Book()
    book.add(requested("hi", **fields) if mode == "react" else ev.RunRequested("m1", "hi", "a", mode, 1), RUN)
    book.add(ev.RunClaimed("w", 1, history_until=1), RUN)
    book.add(ev.ModelCalled(1, "k"), RUN)
    return book


def test_text_before_a_tool_call_is_thinking_and_the_rest_is_the_answer() -> None:
    book = begun()
    book.add(answered(1, "Let me see.", CALL, thinking="Hm."), RUN)
    book.add(ev.ToolCalled(2, "k", "c1", "calculator", CALL.arguments), RUN)
    book.add(ev.ToolReturned(2, "k", "c1", "calculator", "2"), RUN)
    book.add(ev.ModelCalled(3, "k"), RUN)
    book.add(answered(3, "It is 2."), RUN)
    book.add(ev.MessageAnswered("a", "It is 2."), RUN)
    book.add(ev.RunCompleted(), RUN)
    frames = shown(book)
    assert kinds(frames) == ["skill_match", "thinking", "step", "step", "token", "final_answer"]
    assert frames[0]["data"] == {
        "skill": "assistant",
        "method": "default",
        "confidence": 1.0,
        "mode": "react",
    }
    assert frames[1]["content"] == "Hm.\nLet me see."
    assert frames[2]["data"]["event_type"] == "turn.tool_call"
    assert frames[2]["data"]["data"]["arguments"] == {"expression": "1+1"}
    assert frames[4]["content"] == frames[5]["content"] == "It is 2."
    assert frames[5]["is_final"] is True
    assert msgspec.json.encode(frames)


def test_text_that_is_followed_by_more_work_is_thinking_also_without_a_tool_call() -> None:
    """A plan, a phase's result, an attempt that is criticised: none of them is the answer."""
    book = begun("reflexion")
    book.add(answered(1, "First try."), RUN)
    book.add(ev.ModelCalled(2, "k"), RUN)
    book.add(answered(2, "Too short."), RUN)
    book.add(ev.AttemptCritiqued(1, False, "Too short.", 3, "k"), RUN)
    book.add(ev.ModelCalled(4, "k"), RUN)
    book.add(answered(4, "Second try."), RUN)
    book.add(ev.MessageAnswered("a", "Second try."), RUN)
    frames = shown(book)
    assert kinds(frames) == ["skill_match", "thinking", "thinking", "step", "token", "final_answer"]
    assert [frame["content"] for frame in frames[1:3]] == ["First try.", "Too short."]
    assert frames[3]["data"]["event_type"] == "turn.critique"


@pytest.mark.parametrize("mode", ["react", "rewoo", "plan_exec", "reflexion", "skill_react"])
def test_no_token_is_told_while_a_tool_call_may_follow(mode: str) -> None:
    frames = SessionFrames("en", after=0)
    for recorded in begun(mode).recorded:
        frames.show(recorded)
    assert frames.token(Delta(UUID(int=9), RUN, "text", "Let m", reset=True)) == []


def test_only_who_asks_for_drafts_gets_text_before_it_is_known_what_it_is() -> None:
    frames = SessionFrames("en", after=0, drafts=True)
    for recorded in begun().recorded:
        frames.show(recorded)
    (frame,) = frames.token(Delta(UUID(int=9), RUN, "text", "Let m", reset=True))
    assert (frame["type"], frame["data"]["event_type"]) == ("step", "turn.draft")
    expected = {"content": "Let m", "answer_id": str(UUID(int=9)), "reset": True, "kind": "text"}
    assert frame["data"]["data"] == expected
    (thought,) = frames.token(Delta(UUID(int=9), RUN, "thinking", "Hm", reset=True))
    assert thought["data"]["data"]["kind"] == "thinking"


def test_a_mode_that_never_looks_at_tool_calls_streams_its_tokens() -> None:
    """They add up to the answer, also where the last ones came with the event, and also where the model asks for a
    tool that nobody offered."""
    frames = SessionFrames("en", after=0)
    book = begun("direct_chat")
    for recorded in book.recorded:
        frames.show(recorded)
    answer_id = UUID(int=9)
    told = frames.token(Delta(answer_id, RUN, "text", "Hel", reset=True))
    told += frames.token(Delta(answer_id, RUN, "text", "lo "))
    told += frames.show(book.add(answered(1, "Hello there", CALL), RUN))
    told += frames.show(book.add(ev.MessageAnswered("a", "Hello there"), RUN))
    assert kinds(told) == ["token", "token", "token", "final_answer"]
    assert [frame["reset"] for frame in told[:3]] == [True, False, False]
    assert "".join(frame["content"] for frame in told[:3]) == told[3]["content"] == "Hello there"


def test_a_call_that_says_it_is_the_answer_is_told_while_it_comes_whatever_the_mode() -> None:
    """Guard: only `final` on record makes it certain; and its text stays the answer where the model asks for a tool."""
    book = begun()
    book.add(answered(1, "Let me see.", CALL), RUN)
    book.add(ev.ToolCalled(2, "k", "c1", "calculator", CALL.arguments), RUN)
    book.add(ev.ToolReturned(2, "k", "c1", "calculator", "2"), RUN)
    frames = SessionFrames("en", after=0)
    told = [frame for recorded in book.recorded for frame in frames.show(recorded)]
    assert frames.token(Delta(UUID(int=8), RUN, "text", "not yet", reset=True)) == []
    frames.show(book.add(ev.ModelCalled(3, "k", final=True), RUN))
    told = frames.token(Delta(UUID(int=9), RUN, "text", "It is", reset=True))
    told += frames.token(Delta(UUID(int=9), RUN, "thinking", "Hm."))
    told += frames.show(book.add(answered(3, "It is 2.", CALL), RUN))
    told += frames.show(book.add(ev.MessageAnswered("a", "It is 2."), RUN))
    assert kinds(told) == ["token", "token", "final_answer"]
    assert told[0]["content"] + told[1]["content"] == told[2]["content"] == "It is 2."


def test_an_answer_that_is_not_what_was_streamed_replaces_it() -> None:
    frames = SessionFrames("en", after=0)
    book = begun("direct_chat")
    for recorded in book.recorded:
        frames.show(recorded)
    frames.token(Delta(UUID(int=9), RUN, "text", "Helo", reset=True))
    told = frames.show(book.add(ev.MessageAnswered("a", "Sorry, no answer.", fallback=True), RUN))
    assert (told[0]["content"], told[0]["reset"]) == ("Sorry, no answer.", True)


def test_a_first_call_that_may_sum_up_a_long_conversation_is_not_streamed() -> None:
    book = Book()
    book.add(ev.RunRequested("m1", "hi", "a", "direct_chat", 1, max_history=50), RUN)
    book.add(ev.RunClaimed("w", 1, history_until=51), RUN)
    book.add(ev.ModelCalled(1, "k"), RUN)
    frames = SessionFrames("en", after=0)
    for recorded in book.recorded:
        frames.show(recorded)
    assert frames.token(Delta(UUID(int=9), RUN, "text", "They spoke of", reset=True)) == []
    told = frames.show(book.add(answered(1, "They spoke of boats."), RUN))
    told += frames.show(book.add(ev.HistorySummarized("They spoke of boats.", 40, 25, 2, "k"), RUN))
    assert kinds(told) == ["thinking", "step"]
    frames.show(book.add(ev.ModelCalled(3, "k"), RUN))
    assert kinds(frames.token(Delta(UUID(int=8), RUN, "text", "Hello", reset=True))) == ["token"]


def test_of_the_frames_of_an_event_the_last_has_the_offset_and_offsets_ascend() -> None:
    book = begun()
    book.add(answered(1, "First."), RUN)
    book.add(ev.PlanDrafted((), 2, "k"), RUN)
    book.add(answered(3, "Done."), RUN)
    book.add(ev.MessageAnswered("a", "Done."), RUN)
    frames = shown(book)
    assert kinds(frames) == ["skill_match", "thinking", "step", "token", "final_answer"]
    assert [frame.get("offset") for frame in frames] == [1, None, 5, None, 7]


def test_behind_any_offset_a_client_is_told_exactly_the_rest() -> None:
    """Two tasks at once; what waits to be known is told to a client that comes back in between."""
    book = begun()
    book.add(ev.RunRequested("m2", "and", "a", "react", 1), OTHER)
    book.add(answered(1, "Let me think."), RUN)
    book.add(ev.RunClaimed("w", 1), OTHER)
    book.add(ev.ToolCalled(1, "k", "c", "clock", "{}"), OTHER)
    book.add(ev.ModelCalled(2, "k"), RUN)
    book.add(ev.ToolReturned(1, "k", "c", "clock", "noon"), OTHER)
    book.add(answered(2, "42"), RUN)
    book.add(ev.MessageAnswered("a", "42"), RUN)
    book.add(ev.RunCompleted(), RUN)
    book.add(ev.RunFailed("timeout", "Too slow."), OTHER)
    whole = shown(book)
    for cut in range(len(whole)):
        seen = max((frame.get("offset", 0) for frame in whole[: cut + 1]), default=0)
        told = shown(book, after=seen)
        assert told == whole[len(whole) - len(told) :]
        assert len(told) + cut + 1 >= len(whole)


@pytest.mark.parametrize(
    ("event", "name", "data"),
    [
        (
            ev.PhaseChanged("plan", "explore", "done"),
            "phase_changed",
            {"phase": "plan", "previous": "explore"},
        ),
        (
            ev.PhaseViolated("plan", "shell", ("search",), "c"),
            "phase_violation",
            {"phase": "plan", "tool": "shell"},
        ),
        (
            ev.ConfirmationRequested("n", 2, "shell", "ls", "It runs a command.", "d", START, "c"),
            "confirmation_request",
            {"confirmation_id": "n", "command": "ls", "reason": "It runs a command."},
        ),
        (
            ev.ConfirmationAnswered("n", True, "d", "user:alice"),
            "confirmation_result",
            {"confirmation_id": "n", "approved": True},
        ),
        (
            ev.ConfirmationExpired("n", "deadline"),
            "confirmation_result",
            {"confirmation_id": "n", "approved": False, "reason": "deadline"},
        ),
    ],
)
def test_frames_of_their_own(event: ev.Event, name: str, data: dict[str, Any]) -> None:
    book = begun()
    book.add(event, RUN)
    frame = shown(book)[-1]
    assert (frame["type"], frame["offset"], frame["task_id"]) == (name, 4, str(RUN))
    assert frame["data"].items() >= data.items()


def test_a_question_is_a_frame_and_its_answer_a_step() -> None:
    book = begun()
    book.add(ev.HumanAsked("q", 2, "Which?", START, "c"), RUN)
    book.add(ev.HumanAnswered("q", "The red one", "user:alice"), RUN)
    _, asked, reply = shown(book)
    assert (asked["type"], asked["question"], asked["request_id"]) == ("ask_human", "Which?", "q")
    assert asked["deadline_at"] == "2026-01-01T00:00:00Z"
    assert reply["data"]["event_type"] == "turn.human_answered"


def test_what_is_still_open_is_shown_again_to_who_has_seen_it_or_comes_anew() -> None:
    book = begun()
    book.add(ev.HumanAsked("q1", 2, "Which?", START), RUN)
    book.add(ev.HumanAsked("q2", 3, "When?", START), RUN)
    book.add(ev.HumanAnswered("q1", "red", "user:alice"), RUN)
    book.add(ev.ConfirmationRequested("n", 4, "shell", "ls", "Why.", "d", START), RUN)
    for after, again in ((5, ["q2"]), (6, ["q2"]), (7, ["q2", "n"])):
        frames = SessionFrames("en", after=after)
        for recorded in book.recorded:
            frames.show(recorded)
        found = frames.open_requests()
        assert [frame.get("request_id") or frame["data"]["confirmation_id"] for frame in found] == again
        assert all(frame["again"] and "offset" not in frame for frame in found)
    frames.show(book.add(ev.RunCancelled("user:alice"), RUN))
    assert frames.open_requests() == []


@pytest.mark.parametrize(
    ("event", "kind", "data"),
    [
        (ev.RunCancelled("user:alice"), "result", {"status": "cancelled"}),
        (ev.RunMerged(str(OTHER), "m"), "result", {"status": "steered", "merged_into": str(OTHER)}),
        (ev.RunFailed("timeout", "x" * 300), "error", {"message": "x" * 199 + "…", "error_class": "timeout"}),
    ],
)
def test_ends_that_are_no_answer(event: ev.Event, kind: str, data: dict[str, Any]) -> None:
    book = begun()
    book.add(event, RUN)
    frame = shown(book)[-1]
    assert frame["type"] == kind
    assert frame["data"].items() >= {**data, "task_id": str(RUN)}.items()


def test_an_operation_tells_only_that_it_began_and_what_came_of_it() -> None:
    book = begun()
    book.add(ev.RunRequested("c1", "{}", "a", "operation", 1, parent=str(RUN)), OTHER)
    book.add(ev.OperationStarted(str(OTHER), "render", "Started.", "c1", "{}", 2), RUN)
    book.add(ev.RunClaimed("w", 1), OTHER)
    book.add(ev.ToolCalled(1, "k", "operation", "render", "{}"), OTHER)
    book.add(ev.ToolReturned(1, "k", "operation", "render", "done"), OTHER)
    book.add(ev.OperationFinished(str(OTHER), "render", "done", None, "c1", str(RUN)), OTHER)
    book.add(ev.RunCompleted(), OTHER)
    _, started, finished = shown(book)
    assert started["data"]["event_type"] == finished["data"]["event_type"] == "turn.operation"
    assert started["data"]["data"]["status"] == "operation_started"
    told = finished["data"]["data"]
    assert (told["status"], told["operation_id"], told["content"]) == (
        "operation_finished",
        str(OTHER),
        "done",
    )


def test_the_running_task_comes_before_those_that_wait_and_operations_do_not_count() -> None:
    book = Book()
    frames = SessionFrames("en", after=0)
    for number in (1, 2):
        frames.show(book.add(requested(), task(number)))
    frames.show(book.add(ev.RunRequested("c", "{}", "a", "operation", 1, parent=str(task(1))), task(3)))
    frames.show(book.add(ev.RunClaimed("w", 1), task(2)))
    assert frames.running() == [task(2), task(1)]
    frames.show(book.add(ev.RunCompleted(), task(2)))
    assert frames.running() == [task(1)]


def test_the_last_hundred_meetings_are_known_and_no_more() -> None:
    book, frames = Book(), SessionFrames("en", after=0)
    for number in range(MEETINGS_MAX + 2):
        frames.show(book.add(ev.RunRequested("m1", "boats?", "a", "board", 1), task(number)))
        frames.show(book.add(ev.RunClaimed("w", 1), task(number)))
        frames.show(book.add(ev.RunCompleted(), task(number)))
    assert list(frames.meetings) == [str(task(number)) for number in range(2, MEETINGS_MAX + 2)]


def test_the_answer_of_the_last_tier_says_so() -> None:
    book = begun()
    book.add(ev.ModelAttemptFailed(1, "k", 1, "main", "big", "timeout", "Too slow."), RUN)
    book.add(ev.ModelAttemptFailed(1, "k", 2, "recovery", "mid", "rate_limited", "Too many."), RUN)
    book.add(ev.ModelAnswered(1, "k", ModelAnswer("small", "Hi"), 5, 3, "emergency"), RUN)
    book.add(ev.MessageAnswered("a", "Hi"), RUN)
    frames = shown(book)
    assert kinds(frames) == ["skill_match", "step", "step", "token", "final_answer"]
    assert frames[-1]["error_struct"] == {
        "error_class": "rate_limited",
        "message": "Too many.",
        "recoverable": True,
    }
    status = frames[-1]["fallback_status"]
    assert (status["tier"], status["model"]) == ("emergency", "small")
    assert status["attempts"][1] == {"tier": "recovery", "model": "mid", "error_class": "rate_limited"}


def test_a_closed_session_says_so() -> None:
    book = Book()
    book.add(ev.SessionClosed("c1"))
    assert shown(book)[0]["data"]["event_type"] == "session.closed"
