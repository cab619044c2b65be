"""ask_human, and tools that are offered to a box later."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from app.core.intents import ToolResult
from app.core.messages import ToolCall
from app.tools import ask_human, clock
from app.tools.tool import People, Tool, ToolContext, make_tool
from app.tools.toolbox import ToolBox

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Crowd:
    def __init__(self, answer: str | None) -> None:
        self.asked: list[str] = []
        self._answer = answer

    async def ask(self, question: str) -> str | None:
        self.asked.append(question)
        return self._answer


async def asked(people: People, question: str) -> ToolResult:
    context = ToolContext("ana", "c", UUID(int=1), "key", lambda: NOON, people)
    call = ToolCall("1", "ask_human", json.dumps({"question": question}))
    return await ToolBox([ask_human.tool(300)]).call(call, context)


async def test_the_answer_of_a_person_is_the_result() -> None:
    people = Crowd("blue")
    assert (await asked(people, "Which colour?")).content == "The answer: blue"
    assert people.asked == ["Which colour?"]


async def test_a_question_that_nobody_answers_does_not_end_the_work() -> None:
    result = await asked(Crowd(None), "Anybody?")
    assert (result.content, result.error_class) == (ask_human.UNANSWERED, None)


@pytest.mark.parametrize("question", ["", "x" * 2_001])
async def test_a_question_has_a_length(question: str) -> None:
    people = Crowd("yes")
    assert (await asked(people, question)).error_class == "invalid_arguments"
    assert people.asked == []


def test_it_outwaits_the_deadline_and_may_be_asked_again() -> None:
    tool = ask_human.tool(300)
    assert (tool.timeout_seconds, tool.effect, tool.confirm) == (315, "idempotent", False)


class Nothing(msgspec.Struct, frozen=True):
    pass


def named(name: str, says: str = "") -> Tool:
    async def call(arguments: Nothing, context: ToolContext) -> str:
        return says

    return make_tool(name, "Says something.", Nothing, call, effect="pure")


async def said(box: ToolBox, name: str) -> str:
    return (
        await box.call(ToolCall("1", name), ToolContext("ana", "c", UUID(int=1), "key", lambda: NOON))
    ).content


async def test_a_source_offers_its_tools_anew_each_time() -> None:
    box = ToolBox([clock.tool()])
    box.offer("one", [named("a", "first"), named("b")])
    box.offer("two", [named("c")])
    box.offer("one", [named("a", "second"), named("d")])
    assert sorted(box.names) == ["a", "c", "clock", "d"]
    assert await said(box, "a") == "second"


async def test_a_tool_that_is_there_is_not_replaced_by_another_source() -> None:
    box = ToolBox([named("a", "ours")])
    box.offer("one", [named("a", "theirs"), named("b", "one")])
    box.offer("two", [named("b", "two")])
    assert (await said(box, "a"), await said(box, "b")) == ("ours", "one")
    box.offer("two", [])
    box.offer("one", [])
    assert box.names == ("a",)


async def test_a_tool_that_may_still_come_is_waited_for() -> None:
    coming = asyncio.Event()

    async def arrival(name: str) -> None:
        if name == "late":
            await coming.wait()

    box = ToolBox([], arrival=arrival)
    waiting = asyncio.ensure_future(said(box, "late"))
    await asyncio.sleep(0)
    box.offer("one", [named("late", "here")])
    coming.set()
    assert await waiting == "here"
    assert "no tool 'never'" in await said(box, "never")
