"""Contract section 7: `openai-messages` is a list that the `openai` client accepts as `messages` unchanged."""

import json
from typing import Any

import msgspec

from app.core import events as ev
from app.core.messages import ModelAnswer, ToolCall
from app.transfer.openai_messages import (
    NEVER_GIVEN,
    NO_RESULT,
    NOT_CARRIED_OUT,
    NOT_YET,
    OpenAIMessages,
)
from tests.support import real
from tests.support.meetings import whole_board, whole_team
from tests.support.openai_types import demand_sendable
from tests.support.projected import Book, requested, said, task

RUN = task(1)


def folded(book: Book) -> OpenAIMessages:
    messages = OpenAIMessages()
    for recorded in book.recorded:
        messages.add(recorded)
    return messages


def sent(book: Book) -> list[dict[str, Any]]:
    """The messages, after a check that the client takes them."""
    return demand_sendable([msgspec.json.decode(one) for one in folded(book).messages()])


def asked(book: Book, content: str = "hello", run: Any = RUN, **fields: Any) -> None:
    book.add(ev.MessageReceived("m1", content), run)
    book.add(requested(content, **fields), run)


def called(*ids: str, text: str = "") -> ev.ModelAnswered:
    calls = tuple(ToolCall(one, "clock", '{"zone":"UTC"}') for one in ids)
    return ev.ModelAnswered(1, "k", ModelAnswer("m", text, tool_calls=calls))


def calls(*ids: str, name: str = "clock", arguments: str = '{"zone":"UTC"}') -> list[dict[str, Any]]:
    return [
        {"id": one, "type": "function", "function": {"name": name, "arguments": arguments}} for one in ids
    ]


def returned(call_id: str, content: str) -> ev.ToolReturned:
    return ev.ToolReturned(2, "k", call_id, "clock", content)


def added(role: str, content: object, **fields: object) -> ev.MessageAdded:
    return ev.MessageAdded(f"m{role}", said(role, content, **fields))


def result(call_id: str, content: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


@real.needs_conversations
def test_every_real_conversation_comes_out_exactly_as_it_was() -> None:
    for line in real.CONVERSATIONS.read_text(encoding="utf-8").splitlines():
        conversation = json.loads(line)
        book = Book()
        book.add(ev.ConversationImported(conversation["id"]))
        for index, message in enumerate(conversation["messages"]):
            book.add(ev.MessageImported(index, msgspec.Raw(json.dumps(message).encode())))
        assert sent(book) == conversation["messages"]


def test_a_run_with_parallel_tools_is_calls_results_and_the_answer() -> None:
    book = Book()
    asked(book, "what time?", system_prompt="You keep clocks.")
    book.add(called("c1", "c2", text="I look."), RUN)
    book.add(returned("c2", "1 pm"), RUN)
    book.add(returned("c1", "noon"), RUN)
    book.add(ev.MessageAnswered("a", "Noon."), RUN)
    book.add(ev.RunCompleted(), RUN)
    assert sent(book) == [
        {"role": "user", "content": "what time?"},
        {"role": "assistant", "content": "I look.", "tool_calls": calls("c1", "c2")},
        result("c2", "1 pm"),
        result("c1", "noon"),
        {"role": "assistant", "content": "Noon."},
    ]


def test_a_call_that_is_open_says_so_and_one_that_was_cut_off_too() -> None:
    book = Book()
    asked(book)
    book.add(called("c1", "c2"), RUN)
    book.add(returned("c1", "noon"), RUN)
    assert sent(book)[-1] == result("c2", NOT_YET)
    book.add(ev.MessageInterrupted("a", ""), RUN)
    book.add(ev.RunCancelled("user:alice"), RUN)
    assert sent(book)[2:] == [result("c1", "noon"), result("c2", NO_RESULT)]


def test_the_result_of_an_operation_takes_the_place_of_the_pending_one() -> None:
    started = '{"status":"operation_started","operation_id":"o"}'
    book = Book()
    asked(book)
    book.add(called("c1"), RUN)
    book.add(ev.OperationStarted("o", "clock", "Begun.", "c1", step=2), RUN)
    book.add(returned("c1", started), RUN)
    book.add(ev.MessageAnswered("a", "It is on its way."), RUN)
    book.add(ev.RunCompleted(), RUN)
    assert json.loads(sent(book)[2]["content"])["status"] == "operation_pending"
    book.add(ev.OperationFinished("o", "clock", "noon", None, "c1", str(RUN)), task(2))
    assert sent(book)[2] == result("c1", "noon")


def test_an_operation_that_is_faster_than_the_call_that_started_it_has_its_result() -> None:
    book = Book()
    asked(book)
    book.add(called("c1"), RUN)
    book.add(ev.OperationStarted("o", "clock", "Begun.", "c1", step=2), RUN)
    book.add(ev.OperationFinished("o", "clock", "noon", None, "c1", str(RUN)), task(2))
    book.add(returned("c1", '{"status":"operation_started"}'), RUN)
    assert sent(book)[2] == result("c1", "noon")


def test_the_steps_of_a_plan_become_calls_in_the_form_of_the_api() -> None:
    """`rewoo` calls tools that no model has asked for by a tool call."""
    book = Book()
    asked(book)
    plan = ModelAnswer("m", "Plan: look\n#E1 = clock[{}]", tool_calls=())
    book.add(ev.ModelAnswered(1, "k", plan, aside=True), RUN)
    for step, name in ((3, "E1"), (4, "E2")):
        book.add(ev.ToolCalled(step, "k", name, "clock", "{}"), RUN)
    for name in ("E2", "E1"):
        book.add(returned(name, f"of {name}"), RUN)
    book.add(ev.ToolCalled(5, "k", "E3", "clock", "{}"), RUN)
    book.add(returned("E3", "of E3"), RUN)
    book.add(ev.MessageAnswered("a", "Noon."), RUN)
    book.add(ev.RunCompleted(), RUN)
    assert sent(book)[1:-1] == [
        {"role": "assistant", "content": None, "tool_calls": calls("E1", "E2", arguments="{}")},
        result("E2", "of E2"),
        result("E1", "of E1"),
        {"role": "assistant", "content": None, "tool_calls": calls("E3", arguments="{}")},
        result("E3", "of E3"),
    ]


def test_what_plan_exec_answers_itself_has_a_result_too() -> None:
    book = Book()
    asked(book)
    book.add(called("c1"), RUN)
    book.add(ev.PhaseViolated("plan", "clock", (), "c1"), RUN)
    advance = ModelAnswer("m", "", tool_calls=(ToolCall("c2", "advance_phase"), ToolCall("c3", "clock")))
    book.add(ev.ModelAnswered(3, "k", advance), RUN)
    book.add(ev.PhaseChanged("execute", "plan"), RUN)
    book.add(ev.MessageAnswered("a", "Done."), RUN)
    book.add(ev.RunCompleted(), RUN)
    results = [message["content"] for message in sent(book) if message["role"] == "tool"]
    assert results == [
        "Not called: the phase plan does not allow clock.",
        "The phase execute begins.",
        NOT_CARRIED_OUT,
    ]


def test_a_board_and_a_team_are_what_was_asked_and_what_came_of_it() -> None:
    for meeting, topic, answer in (
        (whole_board, "@board boats", "# Boats are wanted."),
        (whole_team, "@team a paper on boats", "There are two boats."),
    ):
        assert sent(meeting(Book())) == [
            {"role": "user", "content": topic},
            {"role": "assistant", "content": answer},
        ]


def test_what_clients_add_stands_where_they_added_it_and_a_result_behind_its_call() -> None:
    book = Book()
    book.add(added("developer", "Be brief.", name="ops"))
    book.add(added("assistant", None, tool_calls=calls("c1", "c2")))
    asked(book)
    book.add(added("tool", "late", tool_call_id="c2"))
    book.add(ev.MessageAnswered("a", "Hello."), RUN)
    book.add(ev.RunCompleted(), RUN)
    book.add(added("assistant", None, refusal="I will not."))
    book.add(added("function", "old", name="f"))
    assert sent(book) == [
        {"role": "developer", "content": "Be brief.", "name": "ops"},
        {"role": "assistant", "content": None, "tool_calls": calls("c1", "c2")},
        result("c2", "late"),
        result("c1", NEVER_GIVEN),
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hello."},
        {"role": "assistant", "content": None, "refusal": "I will not."},
        {"role": "function", "content": "old", "name": "f"},
    ]
    assert folded(book).calls() == ({"c1"}, {"c2"})


def test_an_imported_call_that_was_left_open_is_closed_once_somebody_goes_on() -> None:
    book = Book()
    book.add(ev.MessageImported(0, said("user", "x")))
    book.add(ev.MessageImported(1, said("assistant", None, tool_calls=calls("c1"))))
    assert len(folded(book).messages()) == 2
    asked(book)
    assert sent(book)[2:] == [result("c1", NEVER_GIVEN), {"role": "user", "content": "hello"}]


def test_what_the_types_would_not_take_of_an_import_comes_in_a_form_that_they_do() -> None:
    book = Book()
    for index, message in enumerate(
        (
            said("user", [{"type": "text", "text": "look"}, {"type": "hologram", "data": "x"}], name=None),
            said("assistant", "There.", tool_calls=None, refusal=None),
            said("assistant", None, refusal="No.", tool_calls=None, name=None),
            said("assistant", None, tool_calls=[{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]),
            said("tool", None, tool_call_id="c1"),
            said("system", None),
        )
    ):
        book.add(ev.MessageImported(index, message))
    assert sent(book) == [
        {"role": "user", "content": "look\n[hologram]"},
        {"role": "assistant", "content": "There."},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": None, "tool_calls": calls("c1", name="f", arguments="{}")},
        result("c1", ""),
        {"role": "system", "content": ""},
    ]


def test_what_is_before_a_deletion_is_forgotten_and_what_its_runs_say_later_too() -> None:
    book = Book()
    asked(book)
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.MessageAnswered("a", "too late"), RUN)
    book.add(ev.RunCompleted(), RUN)
    assert sent(book) == []
