"""Long-running tools: the call answers at once, the work goes on by itself, and its result is an event."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from app.core.events import Effect
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedModel, When
from app.log.log import Log
from app.runs import operations
from app.runs.accept import Accepted
from app.runs.operations import canonical
from app.tools.tool import Tool, ToolContext, make_tool
from tests.support.runs import (
    WAIT_SECONDS,
    DyingLog,
    Killed,
    NoteArguments,
    of_type,
    process,
    stream_events,
    task_events,
    types,
    until,
)

QUESTION = "A film of a boat, if you please"
DIRECTOR = ScriptedModel(
    [
        Rule(Answer(tool_calls=(ScriptedCall("render", {"text": "boat"}),)), When(step=0)),
        Rule(Answer(text="{last_tool}")),
    ]
)


class Studio:
    """A long-running tool that is done when `go_on` is set."""

    def __init__(self, effect: Effect = "idempotent") -> None:
        self.keys: list[str] = []
        self.go_on = asyncio.Event()
        self.begun = asyncio.Event()
        self.tool: Tool = make_tool(
            "render",
            "Renders.",
            NoteArguments,
            self._render,
            effect=effect,
            timeout_seconds=60,
            long_running=True,
        )

    async def _render(self, arguments: NoteArguments, context: ToolContext) -> str:
        self.keys.append(context.idempotency_key)
        self.begun.set()
        await self.go_on.wait()
        return f"film of a {arguments.text}"


def told(events: Any) -> dict[str, Any]:
    return msgspec.json.decode(of_type(events, "tool.returned")[0]["content"])


async def test_the_answer_does_not_wait_for_the_work_and_the_result_comes_by_itself(log: Log) -> None:
    studio = Studio()
    async with process(log, DIRECTOR, [studio.tool]) as p:
        events = await p.run(QUESTION, conversation_id="c")
        assert types(events)[-1] == "run.completed"
        started = told(events)
        assert started["status"] == "operation_started"
        assert started["tool_name"] == "render"
        stream = "conversation/alice/c"
        again = p.runs.resume(UUID(started["operation_id"]), stream)
        studio.go_on.set()
        await asyncio.wait_for(again, WAIT_SECONDS)
    everything = await stream_events(log, stream)
    (finished,) = of_type(everything, "operation.finished")
    assert finished["content"] == "film of a boat"
    assert finished["operation_id"] == started["operation_id"]
    assert finished["parent"] == str(events[0].task_id)
    assert len(studio.keys) == 1
    assert types(everything)[-2:] == ["operation.finished", "run.completed"]


async def test_the_same_call_while_it_runs_is_the_same_operation(log: Log) -> None:
    studio = Studio()
    running: dict[tuple[str, str], UUID] = {}

    async def find(stream: str, name: str, arguments: str) -> UUID | None:
        return running.get((name, arguments))

    async with process(log, DIRECTOR, [studio.tool], find_operation=find) as p:
        first = told(await p.run(QUESTION, conversation_id="c"))
        running["render", canonical('{"text": "boat"}')] = UUID(first["operation_id"])
        second = told(await p.run(QUESTION, conversation_id="c"))
        studio.go_on.set()
    assert (second["status"], second["operation_id"]) == ("operation_in_progress", first["operation_id"])
    assert len(studio.keys) == 1


async def test_a_view_that_does_not_answer_is_asked_again_and_nothing_starts_twice(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "FIND_WAITS_SECONDS", (0.0, 0.0, 0.0))
    studio = Studio()
    asked = 0
    running = uuid4()

    async def find(stream: str, name: str, arguments: str) -> UUID | None:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise ConnectionError("the database is shutting down")
        return running

    async with process(log, DIRECTOR, [studio.tool], find_operation=find) as p:
        answer = told(await p.run(QUESTION, conversation_id="c"))
    assert (answer["status"], answer["operation_id"]) == ("operation_in_progress", str(running))
    assert studio.keys == []


@pytest.mark.parametrize("written", [False, True])
async def test_killed_at_any_append_the_operation_is_started_once_and_ends(log: Log, written: bool) -> None:
    for kill_at in range(1, 20):
        studio = Studio()
        studio.go_on.set()
        async with process(log, DIRECTOR, [studio.tool]) as p:
            accepted = await p.conversations.accept("alice", QUESTION, f"c{kill_at}")
        dying = DyingLog(log, kill_at, written=written)
        async with process(dying, DIRECTOR, [studio.tool]) as p:  # type: ignore[arg-type]
            await through(p, accepted)
        async with process(log, DIRECTOR, [studio.tool]) as p:
            await through(p, accepted)
            await through(p, accepted, operation_of(await stream_events(log, accepted.stream)))
        everything = await stream_events(log, accepted.stream)
        assert len(of_type(everything, "operation.started")) == 1
        assert len(of_type(everything, "operation.finished")) == 1
        assert types(everything).count("run.completed") == 2
        assert len(set(studio.keys)) == 1
        if not dying.dead:
            return
    raise AssertionError("there were more appends than expected")


async def through(p: Any, accepted: Accepted, task_id: UUID | None = None) -> None:
    try:
        await asyncio.wait_for(p.runs.resume(task_id or accepted.task_id, accepted.stream), WAIT_SECONDS)
        while rest := p.runs._tasks():
            await asyncio.wait_for(asyncio.gather(*rest), WAIT_SECONDS)
    except Killed:
        pass


def operation_of(events: Any) -> UUID:
    return UUID(of_type(events, "operation.started")[0]["operation_id"])


async def test_a_once_operation_that_was_interrupted_is_not_begun_again(log: Log) -> None:
    studio = Studio("once")
    async with process(log, DIRECTOR, [studio.tool]) as p:
        events = await p.run(QUESTION, conversation_id="c")
        await asyncio.wait_for(studio.begun.wait(), WAIT_SECONDS)
    everything = await stream_events(log, "conversation/alice/c")
    (finished,) = of_type(everything, "operation.finished")
    assert finished["error_class"] == "cancelled"
    assert "tool.effect_unknown" in types(everything)
    assert len(studio.keys) == 1
    assert types(events)[-1] == "run.completed"


async def test_an_operation_is_cancelled_like_any_task(log: Log) -> None:
    studio = Studio()
    async with process(log, DIRECTOR, [studio.tool]) as p:
        events = await p.run(QUESTION, conversation_id="c")
        operation = UUID(told(events)["operation_id"])
        ending = p.runs.resume(operation, "conversation/alice/c")
        await asyncio.wait_for(studio.begun.wait(), WAIT_SECONDS)
        assert await p.conversations.request_cancel(operation, "conversation/alice/c", "user:alice", "enough")
        await asyncio.wait_for(ending, WAIT_SECONDS)
    (finished,) = of_type(await stream_events(log, "conversation/alice/c"), "operation.finished")
    assert (finished["error_class"], finished["content"]) == ("cancelled", "enough")


async def test_an_operation_does_not_keep_the_conversation_waiting(log: Log) -> None:
    studio = Studio()
    async with process(log, DIRECTOR, [studio.tool], tasks_max=1) as p:
        await p.run(QUESTION, conversation_id="c")
        assert types(await p.run("hello", conversation_id="c"))[-1] == "run.completed"
        studio.go_on.set()


@pytest.mark.parametrize(
    ("one", "other"),
    [('{"b":1,"a":[2, 3]}', '{"a": [2,3], "b": 1}'), ("not json", "not json"), ("{}", " { } ")],
)
def test_the_same_arguments_are_the_same_however_they_are_written(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


async def test_unknown_operations_are_nothing(log: Log) -> None:
    async with process(log, DIRECTOR) as p:
        await asyncio.wait_for(p.runs.resume(uuid4(), "conversation/alice/c"), WAIT_SECONDS)
    assert await stream_events(log, "conversation/alice/c") == []


async def test_waiting_for_an_event_of_an_operation(log: Log) -> None:
    studio = Studio()
    studio.go_on.set()
    async with process(log, DIRECTOR, [studio.tool]) as p:
        events = await p.run(QUESTION, conversation_id="c")
        finished = await until(log, "conversation/alice/c", "operation.finished")
    assert finished.task_id == UUID(told(events)["operation_id"])
    assert types(await task_events(log, Finished(finished.task_id)))[0] == "run.requested"


class Finished:
    """What `task_events` needs of an accepted task."""

    stream = "conversation/alice/c"

    def __init__(self, task_id: UUID | None) -> None:
        self.task_id = task_id
