"""Given events of a conversation, the messages that the OpenAI API takes."""

import json

from app.core import events as ev
from app.core.messages import ModelAnswer, ToolCall
from app.transfer.exporting import NO_RESULT, OpenAIExport
from app.transfer.openai_messages import NOT_YET
from tests.support.projected import Book, requested, said, task

RUN = task(1)


def exported(book: Book) -> dict[str, object]:
    export = OpenAIExport("c1")
    for recorded in book.recorded:
        export.add(recorded)
    return json.loads(export.line())


def called(*ids: str) -> ev.ModelAnswered:
    return ev.ModelAnswered(
        1, "k", ModelAnswer("m", "", tool_calls=tuple(ToolCall(one, "clock", "{}") for one in ids))
    )


def calls(*ids: str) -> dict[str, object]:
    made = [{"id": one, "type": "function", "function": {"name": "clock", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def result(call_id: str, text: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def returned(call_id: str, text: str) -> ev.ToolReturned:
    return ev.ToolReturned(2, "k", call_id, "clock", text)


def test_an_imported_conversation_is_as_it_was() -> None:
    book = Book()
    book.add(ev.ConversationImported("c1", said("x", 1.0)))
    book.add(ev.MessageImported(0, said("user", "中", weight=0.1)))
    assert exported(book) == {
        "id": "c1",
        "role": "x",
        "content": 1.0,
        "messages": [{"role": "user", "content": "中", "weight": 0.1}],
    }


def test_a_turn_with_tools() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "what time?"))
    book.add(requested(system_prompt="Be kind."), RUN)
    book.add(called("c1", "c2"), RUN)
    book.add(returned("c2", "1 pm"), RUN)
    book.add(returned("c1", "noon"), RUN)
    book.add(ev.ModelAnswered(3, "k", ModelAnswer("m", "noon")), RUN)
    book.add(ev.MessageAnswered("m2", "noon"), RUN)
    book.add(ev.RunCompleted(), RUN)
    book.add(ev.MessageReceived("m3", "thanks"))
    book.add(requested(system_prompt="Be kind."), task(2))
    assert exported(book)["messages"] == [
        {"role": "system", "content": "Be kind."},
        user("what time?"),
        calls("c1", "c2"),
        result("c2", "1 pm"),
        result("c1", "noon"),
        assistant("noon"),
        user("thanks"),
    ]


def test_results_stand_right_behind_their_calls_also_where_runs_cross() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "one"))
    book.add(requested(), RUN)
    book.add(called("c1"), RUN)
    book.add(ev.MessageReceived("m2", "two"))
    book.add(requested(), task(2))
    book.add(called("c1"), task(2))
    book.add(returned("c1", "of one"), RUN)
    book.add(returned("c1", "of two"), task(2))
    for run in (task(2), RUN):
        book.add(ev.MessageAnswered("a", "done"), run)
        book.add(ev.RunCompleted(), run)
    assert exported(book)["messages"] == [
        user("one"),
        user("two"),
        calls("c1"),
        result("c1", "of two"),
        assistant("done"),
        calls("c1"),
        result("c1", "of one"),
        assistant("done"),
    ]


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "one"))
    book.add(requested(), RUN)
    book.add(called("c1"), RUN)
    assert exported(book)["messages"] == [user("one"), calls("c1"), result("c1", NOT_YET)]
    book.add(ev.MessageInterrupted("m2", ""), RUN)
    book.add(ev.RunCancelled("user:alice"), RUN)
    book.add(returned("c1", "too late"), RUN)
    assert exported(book)["messages"] == [user("one"), calls("c1"), result("c1", NO_RESULT)]


def test_what_is_before_a_deletion_is_left_out() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "one"))
    book.add(ev.ConversationDeleted("c1"))
    export = OpenAIExport("c1")
    for recorded in book.recorded:
        export.add(recorded)
    assert export.empty
    book.add(ev.MessageReceived("m2", "two"))
    assert exported(book)["messages"] == [user("two")]
