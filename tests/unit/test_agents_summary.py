"""The older part of a conversation is summarised before a mode begins, and the summary is put on record."""

import pytest

from app.agents.react import react
from app.agents.summary import MESSAGE_CHARS_MAX, SUMMARY_CHARS_MAX, with_summary
from app.core.acting import LAST_CALL
from app.core.events import HistorySummarized, RunLimits
from app.core.intents import RunStart
from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolCall, ToolSpec
from tests.support.modes import drive, failed, said, texts

OLD = (
    ChatMessage("user", "I am Ada."),
    ChatMessage("assistant", "Hello Ada."),
    ChatMessage("user", "x" * 9_000),
)
START = RunStart(
    "Who am I?",
    "Be brief.",
    (ChatMessage("user", "recent"),),
    (ToolSpec("clock", "", {"type": "object"}),),
    RunLimits(max_steps=3),
    model="big",
    summary="They greeted.",
    unsummarized=OLD,
    unsummarized_until=17,
)
LOOK = ToolCall("1", "clock")


def answer_only(text: str) -> ModelRequest:
    """The only request of a run with that summary and without anything to summarise."""
    start = RunStart("Who am I?", "Be brief.", START.history, START.tools, model="big", summary=text)
    return drive(react(start), [said("Ada.")]).requests[0]


def test_what_is_old_is_summarised_first_put_on_record_and_shown_instead() -> None:
    played = drive(with_summary(react)(START), [said(" Ada greeted. "), said("Ada.")])
    assert played.answer == "Ada."
    assert played.shape == ["model", "note", "model", "listen"]
    assert played.notes == [HistorySummarized("Ada greeted.", until=17, messages=3)]
    asked = played.requests[0]
    assert (asked.tools, asked.model) == ((), "big")
    for part in ("They greeted.", "user: I am Ada.", "assistant: Hello Ada."):
        assert part in texts(asked)[-1]
    assert 0 < texts(asked)[-1].count("x") < MESSAGE_CHARS_MAX + 20
    assert played.requests[1] == answer_only("Ada greeted.")


@pytest.mark.parametrize("answer", [failed(), said(" \n")])
def test_without_a_new_summary_the_run_goes_on_with_the_old_one(answer: ModelAnswer) -> None:
    played = drive(with_summary(react)(START), [answer, said("Ada.")])
    assert played.answer == "Ada."
    assert played.notes == []
    assert played.requests[1] == answer_only("They greeted.")


def test_the_call_for_the_summary_counts_towards_the_steps() -> None:
    played = drive(with_summary(react)(START), [said("s"), said("", LOOK), said("Ada.")])
    assert texts(played.requests[2])[-1].endswith(LAST_CALL)
    one = RunStart("Hm?", limits=RunLimits(max_steps=1), unsummarized=OLD, unsummarized_until=17)
    assert drive(with_summary(react)(one), [said("Yes.")]).notes == []


def test_a_model_that_does_not_stop_gives_a_bounded_summary() -> None:
    played = drive(with_summary(react)(START), [said("s" * 99_999), said("Ada.")])
    (note,) = played.notes
    assert isinstance(note, HistorySummarized)
    assert len(note.content) == SUMMARY_CHARS_MAX


def test_tool_calls_in_what_is_old_are_told_as_text() -> None:
    old = (
        ChatMessage("assistant", None, tool_calls=(LOOK,)),
        ChatMessage("tool", "noon", "clock", "1"),
    )
    start = RunStart("Go", unsummarized=old, unsummarized_until=2)
    played = drive(with_summary(react)(start), [said("s"), said("a")])
    assert "[Result of the tool clock, called with {}]\nnoon" in texts(played.requests[0])[-1]
    assert all(message.role in ("system", "user") for message in played.requests[0].messages)


def test_where_nothing_is_old_nothing_is_asked() -> None:
    start = RunStart("Go", "Be brief.", summary="They greeted.")
    assert drive(with_summary(react)(start), [said("a")]).asked == drive(react(start), [said("a")]).asked
