"""Past experiences are found in the views, handed to a run once, and stay the same for whoever takes the run up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from app.composition.lessons import LessonFinder
from app.core import events as ev
from app.core.agent import Agent
from app.core.envelope import Recorded
from app.core.events import RunRequested
from app.core.lessons import FOOT, HEAD, Lesson
from app.core.messages import ModelRequest
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedError, ScriptedModel, When
from app.log.log import Log
from app.runs.lessons import FindLessons
from app.runs.prompts import rebuild
from projections import lessons
from projections.runner import ProjectionRunner
from tests.support.projected import START, Book, reads, requested, task, write
from tests.support.runs import (
    DyingLog,
    Killed,
    Process,
    of_type,
    process,
    task_events,
    types,
)

GOAL = "Convert the quarterly report into a table"
AGAIN = "Please convert this quarterly report into a short table"
LEARNER = Agent(lessons=3)
FAILS = ScriptedModel(
    [Rule(Answer(error=ScriptedError("bad_request", "The report is empty."), error_after_chunks=0))]
)


@asynccontextmanager
async def learning(
    log: Log, model: ScriptedModel, find: FindLessons | None, agent: Agent = LEARNER, tools: Any = ()
) -> AsyncIterator[Process]:
    """A process whose runs find past experiences so."""
    async with process(log, model, tools, agent=agent) as p:
        p.runs._means = msgspec.structs.replace(p.runs._means, find_lessons=find)
        yield p


@pytest.fixture
async def finder(dsn: str, log: Log) -> AsyncIterator[LessonFinder]:
    """Over views that fold as in the service."""
    views = ProjectionRunner(dsn)
    await asyncio.to_thread(views.start)
    log.wakeups.on_any(views.wake)
    async with reads(dsn) as pool:
        yield LessonFinder(log, views, pool)
    await asyncio.to_thread(views.close)


def task_of(events: Sequence[Recorded]) -> UUID:
    assert events[0].task_id is not None
    return events[0].task_id


def asked(request: ModelRequest) -> str:
    return request.messages[-1].content or ""


def an_end(number: int, **fields: Any) -> Lesson:
    given: dict[str, Any] = {
        "id": f"e{number}",
        "outcome": "failure",
        "ended_at": START,
        "goal": f"goal {number}",
    }
    return Lesson(**given | fields)


class Finds:
    """Finds something else each time, and counts."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, UUID, RunRequested]] = []

    async def __call__(self, owner: str, task_id: UUID, asked_for: RunRequested) -> Sequence[Lesson]:
        self.calls.append((owner, task_id, asked_for))
        return [an_end(len(self.calls))]


async def test_a_run_is_told_of_the_earlier_failure_and_the_event_names_it(
    log: Log, finder: LessonFinder
) -> None:
    async with learning(log, FAILS, finder.find) as p:
        failed = await p.run(GOAL)
        assert failed[-1].type == "run.failed"
    model = ScriptedModel([Rule(Answer(text="Done."))])
    async with learning(log, model, finder.find) as p:
        again = await p.run(AGAIN)
    kinds = types(again)
    assert kinds.index("run.claimed") < kinds.index("run.lessons_given") < kinds.index("model.called")
    (given,) = of_type(again, "run.lessons_given")
    assert given["experiences"] == [str(task_of(failed))]
    problem = of_type(failed, "run.failed")[0]["message"]
    assert f'"{GOAL}"' in given["text"]
    assert f'What went wrong: "{problem}"' in given["text"]
    assert asked(model.requests[-1]) == f"{given['text']}\n\n{AGAIN}"
    assert (given["text"].startswith(HEAD), given["text"].endswith(FOOT)) == (True, True)
    assert again[-1].type == "run.completed"


async def test_the_prompt_is_rebuilt_with_the_lessons_as_they_were_shown(
    log: Log, finder: LessonFinder
) -> None:
    model = ScriptedModel(
        [
            Rule(Answer(tool_calls=(ScriptedCall("calculator", {"expression": "1/0"}),)), When(step=0)),
            Rule(Answer(text="It is undefined.")),
        ]
    )
    async with learning(log, model, finder.find) as p:
        first = await p.run(GOAL)
        again = await p.run(AGAIN)
        # What has happened since changes nothing, nor does a deletion.
        await p.run(GOAL)
        key = first[0].stream.split("/")
        await p.conversations.delete(key[1], key[2])
    (given,) = of_type(again, "run.lessons_given")
    assert 'Answered: "It is undefined."' in given["text"]
    assert 'Tools whose calls failed: "calculator"' in given["text"]
    steps = [called["step"] for called in of_type(again, "model.called")]
    rebuilt = [(await rebuild(log.reader, again[0].stream, task_of(again), step)).request for step in steps]
    assert len(rebuilt) == 2
    assert all(given["text"] in (request.messages[1].content or "") for request in rebuilt)
    assert [msgspec.to_builtins(request.messages) for request in rebuilt] == [
        msgspec.to_builtins(request.messages) for request in list(model.requests)[2:4]
    ]


async def test_where_nothing_is_alike_an_empty_event_says_so(log: Log, finder: LessonFinder) -> None:
    model = ScriptedModel([Rule(Answer(text="Done."))])
    async with learning(log, model, finder.find) as p:
        await p.run(GOAL)
        other = await p.run("Which mountain in Peru is the highest?")
    assert of_type(other, "run.lessons_given") == [{"type": "run.lessons_given"}]
    assert asked(model.requests[-1]) == "Which mountain in Peru is the highest?"


async def test_other_owners_deleted_conversations_and_the_task_itself_are_never_used(
    log: Log, finder: LessonFinder
) -> None:
    model = ScriptedModel([Rule(Answer(text="Done."))])
    async with learning(log, model, finder.find) as p:
        bobs = await p.conversations.accept("bob", GOAL)
        await p.runs.start(bobs)
        gone = await p.conversations.accept("alice", GOAL)
        await p.runs.start(gone)
        own = await p.run(AGAIN)
        assert of_type(own, "run.lessons_given")[0]["experiences"] == [str(gone.task_id)]
        await p.conversations.delete("alice", gone.conversation_id)
        later = await p.run(AGAIN)
    assert of_type(later, "run.lessons_given")[0]["experiences"] == [str(task_of(own))]


async def test_an_agent_without_lessons_asks_for_none(log: Log) -> None:
    finds = Finds()
    async with learning(log, ScriptedModel(), finds, Agent()) as p:
        events = await p.run(GOAL)
    assert finds.calls == []
    assert "run.lessons_given" not in types(events)
    assert "lessons" not in of_type(events, "run.requested")[0]


async def test_it_is_asked_for_once_for_the_task_and_its_owner(log: Log) -> None:
    finds = Finds()
    async with learning(log, ScriptedModel(), finds) as p:
        events = await p.run(GOAL)
    ((owner, task_id, asked_for),) = finds.calls
    assert (owner, task_id, asked_for.input, asked_for.lessons) == ("alice", task_of(events), GOAL, 3)


@pytest.mark.parametrize("written", [False, True])
async def test_killed_at_any_append_every_call_is_shown_what_is_on_record(log: Log, written: bool) -> None:
    """Each search would find something else, so a second one behind the first call would be seen."""
    rules = [
        Rule(Answer(tool_calls=(ScriptedCall("calculator", {"expression": "2+2"}),)), When(step=0)),
        Rule(Answer(text="Four.")),
    ]
    searched: list[int] = []
    for kill_at in range(1, 9):
        model, finds = ScriptedModel(rules), Finds()
        async with learning(log, model, finds) as p:
            accepted = await p.conversations.accept("alice", GOAL, str(uuid4()))
        dying = DyingLog(log, kill_at, written=written)
        async with learning(dying, model, finds) as p:  # type: ignore[arg-type]
            with suppress(Killed):
                await p.runs.resume(accepted.task_id, accepted.stream)
        async with learning(log, model, finds) as p:
            await p.runs.resume(accepted.task_id, accepted.stream)
        events = await task_events(log, accepted)
        (given,) = of_type(events, "run.lessons_given")
        assert events[-1].type == "run.completed", f"killed at append {kill_at}"
        assert all(
            any(given["text"] in (m.content or "") for m in request.messages) for request in model.requests
        )
        assert given["experiences"] == [f"e{len(finds.calls)}"]
        searched.append(len(finds.calls))
    # The claim is the first append, the lessons are the second: only who died before that was written looks again.
    assert searched == [1, 1 if written else 2, *([1] * 6)]


async def test_a_run_that_an_older_release_has_begun_is_shown_none(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `record.steps` in `give_lessons`. A lesson would change the prompt behind the first call."""
    finds, model = Finds(), ScriptedModel([Rule(Answer(tool_calls=(ScriptedCall("clock"),)), When(step=0))])
    async with learning(log, model, finds) as p:
        accepted = await p.conversations.accept("alice", GOAL)
    with monkeypatch.context() as older:
        older.setattr("app.runs.work.give_lessons", nothing)
        async with learning(DyingLog(log, 3, written=True), model, finds) as p:  # type: ignore[arg-type]
            with pytest.raises(Killed):
                await p.runs.resume(accepted.task_id, accepted.stream)
    async with learning(log, model, finds) as p:
        await p.runs.resume(accepted.task_id, accepted.stream)
    events = await task_events(log, accepted)
    assert types(events).count("run.claimed") == 2
    assert (finds.calls, events[-1].type) == ([], "run.completed")
    assert "run.lessons_given" not in types(events)


async def nothing(*arguments: object) -> None:
    """What a release without lessons does for them."""


async def test_views_that_are_away_behind_or_broken_cost_the_lessons_and_not_the_run(
    dsn: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(owner: str, task_id: UUID, asked_for: RunRequested) -> Sequence[Lesson]:
        raise ZeroDivisionError

    async def stuck(owner: str, task_id: UUID, asked_for: RunRequested) -> Sequence[Lesson]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("app.composition.lessons.BEHIND_SECONDS_MAX", 0.05)
    monkeypatch.setattr("app.runs.lessons.SEARCH_SECONDS_MAX", 2.0)
    idle = ProjectionRunner(dsn)  # nobody folds
    async with reads(dsn) as pool:
        behind = LessonFinder(log, idle, pool).find
        for find, problem in ((behind, "behind"), (broken, "unavailable"), (None, "unavailable")):
            await told_of(log, find, problem)
    monkeypatch.setattr("app.runs.lessons.SEARCH_SECONDS_MAX", 0.05)
    await told_of(log, stuck, "late")


async def told_of(log: Log, find: FindLessons | None, problem: str) -> None:
    model = ScriptedModel()
    async with learning(log, model, find) as p:
        events = await p.run(GOAL)
    assert of_type(events, "run.lessons_given") == [{"type": "run.lessons_given", "problem": problem}]
    assert (asked(model.requests[0]), events[-1].type) == (GOAL, "run.completed")


async def test_a_cancel_is_heard_while_lessons_are_looked_for(log: Log) -> None:
    looking, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck(owner: str, task_id: UUID, asked_for: RunRequested) -> Sequence[Lesson]:
        looking.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return []

    model = ScriptedModel()
    async with learning(log, model, stuck) as p:
        accepted = await p.conversations.accept("alice", GOAL)
        running = p.runs.start(accepted)
        await looking.wait()
        await p.conversations.request_cancel(accepted.task_id, accepted.stream, "user:alice")
        await running
    assert cancelled.is_set()
    events = await task_events(log, accepted)
    assert events[-1].type == "run.cancelled"
    assert "run.lessons_given" not in types(events)
    assert not model.requests


def ended(book: Book, number: int, goal: str, end: ev.Event, owner: str = "alice", **fields: Any) -> Recorded:
    """A task of its own conversation with two calls of the tool `fetch`, of which one failed."""
    stream = f"conversation/{owner}/c{number}"
    book.add(requested(goal, **fields), task(number), stream)
    book.add(ev.ToolReturned(1, "k", "c", "fetch", "no", "http_error"), task(number), stream)
    book.add(ev.ToolReturned(2, "k", "c", "fetch", "yes"), task(number), stream)
    return book.add(end, task(number), stream)


def fold(dsn: str, book: Book) -> None:
    write(dsn, book.recorded)
    assert all(status.stopped is None for status in ProjectionRunner(dsn).run_to_end())


def pitfalls_of(book: Book) -> list[Recorded]:
    """Alice has three time-outs and two crashes, one of them deleted; Bob a time-out of the same kind."""
    late, broke = ev.RunFailed("timeout", "Too slow."), ev.RunFailed("internal", "Sorry.")
    ends = [ended(book, n, f"late {n}", late) for n in range(3)]
    ends += [ended(book, 3, "broke 3", broke), ended(book, 4, "broke 4", broke)]
    ends += [ended(book, 5, "late of bob", late, "bob"), ended(book, 6, "fine", ev.RunCompleted())]
    book.add(ev.ConversationDeleted("c2"), None, "conversation/alice/c2")
    return ends


async def test_failures_that_repeat_are_pitfalls_with_their_newest_examples(dsn: str) -> None:
    book = Book()
    ends = pitfalls_of(book)
    fold(dsn, book)
    span: dict[str, Any] = {"since": START, "until": START + timedelta(hours=1)}
    async with reads(dsn) as pool:
        tool, late = await lessons.pitfalls(pool, owner="alice", **span)
        assert (late.kind, late.task_type, late.agent, late.error_class) == (
            "run",
            "react",
            "assistant",
            "timeout",
        )
        assert (late.failures, late.first_at, late.last_at) == (3, ends[0].recorded_at, ends[2].recorded_at)
        assert [(one.id, one.goal) for one in late.examples] == [
            (task(2), ""),  # its conversation was deleted
            (task(1), "late 1"),
            (task(0), "late 0"),
        ]
        assert (tool.kind, tool.tool, tool.failures, tool.calls) == ("tool", "fetch", 6, 12)
        assert [one.goal for one in tool.examples] == ["fine", "broke 4", "broke 3"]
        everybody = await lessons.pitfalls(pool, owner=None, **span)
        assert [(one.tool or one.error_class, one.failures) for one in everybody] == [
            ("fetch", 7),
            ("timeout", 4),
        ]
        assert [one.examples[0].goal for one in everybody] == ["fine", "late of bob"]


async def test_pitfalls_keep_to_their_limits_and_their_time(dsn: str) -> None:
    book = Book()
    ends = pitfalls_of(book)
    fold(dsn, book)

    async def found(**options: Any) -> list[tuple[str, int]]:
        given: dict[str, Any] = {"owner": "alice", "since": START, "until": START + timedelta(hours=1)}
        async with reads(dsn) as pool:
            listed = await lessons.pitfalls(pool, **given | options)
        return [(one.tool or one.error_class, one.failures) for one in listed]

    assert await found(at_least=2) == [("fetch", 6), ("timeout", 3), ("internal", 2)]
    assert await found(at_least=2, limit=2) == [("fetch", 6), ("timeout", 3)]
    # What the log had up to a position, also where the next event has the same time.
    assert await found(at_least=2, position=ends[-1].position) == await found(at_least=2)
    assert await found(at_least=2, position=ends[4].position) == [
        ("fetch", 5),
        ("timeout", 3),
        ("internal", 2),
    ]
    assert await found(at_least=2, position=ends[4].position - 1) == [("fetch", 4), ("timeout", 3)]
    assert await found(at_least=2, position=0) == []
    assert await found(limit=0) == await found(limit=-1) == await found(owner="nobody") == []
    assert await found(at_least=0, since=ends[3].recorded_at, until=ends[4].recorded_at) == [
        ("internal", 1),
        ("fetch", 1),
    ]
    assert await found(since=ends[-1].recorded_at + timedelta(seconds=1)) == []


async def test_the_words_of_a_goal_find_it_in_whatever_language(dsn: str) -> None:
    book = Book()
    told = [
        "分析第三季度的销售数据",
        "Übersetze den Vertrag ins Englische",
        "O'Brien's \\ 'quoted' & | ! <-> report: (draft)",
    ]
    wanted = ["请帮我分析一下销售数据", "Vertrag auf Englische übersetze", "the O'Brien draft report!"]
    for number, goal in enumerate(told):
        answered = ended(book, number, goal, ev.MessageAnswered("a", "Done."))
        book.add(ev.RunCompleted(), task(number), answered.stream)
    fold(dsn, book)
    async with reads(dsn) as pool:
        for number, goal in enumerate(wanted):
            found = await lessons.relevant(
                pool, owner="alice", task_id=task(99), task_type="react", goal=goal, limit=3
            )
            assert [one.goal for one in found] == [told[number]]
            assert found[0].failed_tools == ("fetch",)


async def test_what_teaches_nothing_is_not_found(dsn: str) -> None:
    """A cancelled task, one that goes on, one that another task started, one that was answered with another."""
    book = Book()
    ended(book, 1, GOAL, ev.RunCancelled("user:alice"))
    book.add(requested(GOAL), task(2), "conversation/alice/c2")
    ended(book, 3, GOAL, ev.RunFailed("internal", "Sorry."), parent=str(task(2)))
    ended(book, 4, GOAL, ev.RunMerged(str(task(2)), "m"))
    teaches = ended(book, 5, GOAL, ev.RunFailed("internal", "Sorry."))
    fold(dsn, book)
    async with reads(dsn) as pool:
        find = {"owner": "alice", "task_type": "react", "goal": GOAL}
        found = await lessons.relevant(pool, task_id=task(99), limit=10, **find)
        assert [one.id for one in found] == [str(teaches.task_id)]
        assert await lessons.relevant(pool, task_id=task(5), limit=10, **find) == []
        assert await lessons.relevant(pool, task_id=task(99), limit=0, **find) == []
