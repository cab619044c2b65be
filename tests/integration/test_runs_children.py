"""Runs that start others: awaited as they end, told things, interrupted, ended with their parent, within its budget."""

import asyncio
from collections import defaultdict
from contextlib import suppress

import pytest

from app.agents.modes import MODES, ModeEntry
from app.core.agent import Agent
from app.core.envelope import Recorded
from app.core.events import ExpertCard, RunLimits, TeamFormed
from app.core.intents import (
    CallModel,
    ChildSpec,
    Mode,
    ModelFailure,
    RunStart,
    await_run,
    listen,
    start_run,
    take_minute,
    tell_run,
)
from app.core.messages import ChatMessage, ModelAnswer, ModelRequest
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedModel, When
from app.log.log import Log
from app.runs.entry import Entry
from tests.support.runs import (
    WAIT_SECONDS,
    DyingLog,
    Killed,
    Process,
    SlowLog,
    StuckModel,
    normal,
    of_type,
    process,
    stream_events,
    task_events,
    types,
    until,
    until_said,
)

QUESTION = "Build a boat, all of you"
STREAM = "conversation/alice/c"


def pair(start: RunStart) -> Mode:
    """Two at once; the answer is what they said, in the order in which they ended."""
    yield from take_minute(TeamFormed(start.input, (ExpertCard("ana", "Ana"),), "ana"))
    children = []
    for name in ("hull", "sail"):
        children.append((yield from start_run(ChildSpec(f"make the {name}", "Ana", expert_id="ana"))))
    told = []
    while children:
        ended = yield from await_run(tuple(children), or_word=True)
        if not ended.child:
            for words in (yield from listen()):
                yield from tell_run(children[0], words)
            continue
        children.remove(ended.child)
        told.append(ended.content or f"({ended.error_class})")
    return " and ".join(sorted(told))


def speech(start: RunStart) -> Mode:
    """One speech; what came of it is the answer."""
    request = ModelRequest((ChatMessage("user", start.input),))
    (outcome,) = yield (CallModel(request, speaker="ana", round=1, purpose="speech"),)
    match outcome:
        case ModelAnswer(text=text):
            return text
        case ModelFailure(error_class, _, partial):
            return f"{error_class}: {partial}"
        case _:
            raise TypeError


@pytest.fixture(autouse=True)
def modes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODES, "pair", ModeEntry(1, pair))
    monkeypatch.setitem(MODES, "speech", ModeEntry(1, speech))
    monkeypatch.setitem(MODES, "impatient", ModeEntry(1, impatient))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> "defaultdict[str, asyncio.Event]":
    """By task id: set when the process has noticed something that was said to the task."""
    events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
    notice = Entry.notice

    def noticed(entry: Entry, recorded: Recorded) -> None:
        notice(entry, recorded)
        if entry.said:
            events[str(entry.task_id)].set()

    monkeypatch.setattr(Entry, "notice", noticed)
    return events


MAKING = ScriptedModel(
    [
        Rule(Answer(tool_calls=(ScriptedCall("clock"),)), When(last_user_contains="make the", step=0)),
        Rule(Answer(text="done: {last_user}")),
    ]
)


async def test_children_work_at_once_and_their_answers_reach_the_parent(log: Log) -> None:
    async with process(log, MAKING) as p:
        events = await p.run(QUESTION, conversation_id="c", mode="pair")
    assert of_type(events, "message.answered")[0]["content"] == "done: make the hull and done: make the sail"
    everything = await stream_events(log, STREAM)
    assert types(everything).count("run.child_answered") == 2
    assert types(everything).count("message.answered") == 1, "children have no messages"
    assert types(everything).count("run.completed") == 3
    assert types(everything).index("team.dissolved") < types(everything).index("message.answered")
    children = [one["child"] for one in of_type(events, "run.child_started")]
    requested = [one for one in everything if one.type == "run.requested" and str(one.task_id) in children]
    assert all(one["parent"] == str(events[0].task_id) for one in of_type(requested, "run.requested"))


@pytest.mark.parametrize("written", [False, True])
async def test_killed_at_any_append_it_ends_as_if_nothing_had_happened(log: Log, written: bool) -> None:
    async with process(log, MAKING) as p:
        whole = await p.run(QUESTION, conversation_id="whole", mode="pair")
    for kill_at in range(1, 60):
        async with process(log, MAKING) as p:
            accepted = await p.conversations.accept("alice", QUESTION, f"c{kill_at}", mode="pair")
        dying = DyingLog(log, kill_at, written=written)
        async with process(dying, MAKING) as p:  # type: ignore[arg-type]
            with suppress(Killed):
                await until_dead(p, dying, p.runs.resume(accepted.task_id, accepted.stream))
        async with process(log, MAKING) as p:
            await asyncio.wait_for(p.runs.resume(accepted.task_id, accepted.stream), WAIT_SECONDS)
        everything = await stream_events(log, accepted.stream)
        mine = [one for one in everything if one.task_id == accepted.task_id]
        assert settled(mine) == settled(whole), f"killed at {kill_at}"
        assert types(everything).count("run.completed") == 3
        assert types(everything).count("run.child_answered") == 2
        assert len({one.id for one in everything}) == len(everything)
        if not dying.dead:
            return
    raise AssertionError("there were more appends than expected")


async def until_dead(p: Process, dying: DyingLog, running: "asyncio.Task[None]") -> None:
    """A process that dies takes all of its runs with it."""
    died = asyncio.create_task(dying.died.wait())
    await asyncio.wait({running, died}, return_when=asyncio.FIRST_COMPLETED)
    died.cancel()
    for task in p.runs._tasks():
        task.cancel()
        with suppress(asyncio.CancelledError, Killed):
            await task
    if running.done() and not running.cancelled():
        running.exception()


def settled(events: list) -> list:  # type: ignore[type-arg]
    """Which child ended first is chance, and so is what it was called."""
    rows = []
    for kind, payload in normal(events):
        for volatile in ("child", "children", "key", "content", "tokens"):
            payload.pop(volatile, None)
        rows.append((kind, payload))
    return rows


async def test_a_person_is_heard_by_the_parent_and_the_child_while_they_work(
    log: Log, said: "defaultdict[str, asyncio.Event]"
) -> None:
    slow = SlowLog(log, "tool.returned")
    async with process(slow, MAKING, busy="steer") as p:  # type: ignore[arg-type]
        first = await p.conversations.accept("alice", QUESTION, "c", mode="pair")
        running = p.runs.start(first)
        async with asyncio.timeout(WAIT_SECONDS):
            await slow.reached.wait()
        second = await p.conversations.accept("alice", "In red, please", "c")
        waiting = p.runs.start(second)
        told = await until(log, STREAM, "run.told")
        async with asyncio.timeout(WAIT_SECONDS):
            await said[of_type([told], "run.told")[0]["to"]].wait()
        slow.go_on.set()
        await asyncio.wait_for(asyncio.gather(running, waiting), WAIT_SECONDS)
    everything = await stream_events(log, STREAM)
    assert types(await task_events(log, second))[-1] == "run.merged"
    heard = of_type(everything, "run.intervention_heard")
    assert [one["messages"][0]["content"] for one in heard] == ["In red, please"] * 2, (
        "by the parent and the child"
    )
    assert any("In red, please" in (request.messages[-1].content or "") for request in MAKING.requests)


async def test_children_end_with_their_parent(log: Log) -> None:
    model = StuckModel("Half a hull")
    async with process(log, model) as p:
        accepted = await p.conversations.accept("alice", QUESTION, "c", mode="pair")
        running = p.runs.start(accepted)
        async with asyncio.timeout(WAIT_SECONDS):
            await model.reached.wait()
        await until(log, STREAM, "run.child_awaited")
        await p.conversations.request_cancel(accepted.task_id, STREAM, "user:alice")
        await asyncio.wait_for(running, WAIT_SECONDS)
        while tasks := p.runs._tasks():
            await asyncio.wait_for(asyncio.gather(*tasks), WAIT_SECONDS)
    everything = await stream_events(log, STREAM)
    assert types(everything).count("run.cancelled") == 3
    assert of_type(everything, "team.dissolved")[0]["reason"] == "cancelled"


async def test_a_parent_that_waits_lends_its_slot_to_its_children(log: Log) -> None:
    async with process(log, MAKING, running_max=1) as p:
        events = await asyncio.wait_for(p.run(QUESTION, conversation_id="c", mode="pair"), WAIT_SECONDS)
        assert p.runs._slots._value == 1
    assert types(events)[-1] == "run.completed"


async def test_children_work_within_what_their_parent_has_left(log: Log) -> None:
    agent = Agent(limits=RunLimits(tokens_max=1_000, cost_usd_max=2.0, timeout_seconds=20))
    async with process(log, MAKING, agent=agent) as p:
        await p.run(QUESTION, conversation_id="c", mode="pair")
    requested = of_type(await stream_events(log, STREAM), "run.requested")[1:]
    for child in requested:
        assert child["limits"]["tokens_max"] <= 1_000
        assert child["limits"]["cost_usd_max"] <= 2.0
        assert child["limits"]["timeout_seconds"] <= 20


async def test_a_speaker_is_cut_short_and_the_run_goes_on_with_what_was_said(log: Log) -> None:
    model = StuckModel("So far so")
    async with process(log, model) as p:
        accepted = await p.conversations.accept("alice", QUESTION, "c", mode="speech")
        running = p.runs.start(accepted)
        await until_said(log, STREAM, "So far so")
        (entry,) = p.runs._entries.values()
        entry.interrupt()
        await asyncio.wait_for(running, WAIT_SECONDS)
    events = await task_events(log, accepted)
    failed = of_type(events, "model.failed")[0]
    assert (failed["error_class"], failed["partial_text"]) == ("interrupted", "So far so")
    assert of_type(events, "message.answered")[0]["content"] == "interrupted: So far so"
    called = of_type(events, "model.called")[0]
    assert (called["speaker"], called["round"], called["purpose"]) == ("ana", 1, "speech")
    assert model.stopped == 1


async def test_a_speaker_over_budget_is_told_to_the_meeting_instead_of_ending_the_run(log: Log) -> None:
    agent = Agent(limits=RunLimits(tokens_max=0))
    async with process(log, ScriptedModel.of("words"), agent=agent) as p:
        events = await p.run(QUESTION, conversation_id="c", mode="speech")
    assert of_type(events, "message.answered")[0]["content"] == "budget_exceeded: "
    assert types(events)[-1] == "run.completed"


async def test_a_parent_whose_time_is_nearly_up_is_told_so_instead_of_waiting_on(log: Log) -> None:
    model = StuckModel("Half a hull")
    agent = Agent(limits=RunLimits(timeout_seconds=1.5))
    async with process(log, model, agent=agent, locale="zh") as p:
        events = await p.run(QUESTION, conversation_id="c", mode="impatient")
        while tasks := p.runs._tasks():
            await asyncio.wait_for(asyncio.gather(*tasks), WAIT_SECONDS)
    assert of_type(events, "message.answered")[0]["content"] == "budget_exceeded"
    assert of_type(events, "run.child_ended")[0]["content"] == "时间已用完。"
    assert types(await stream_events(log, STREAM)).count("run.cancelled") == 1


def impatient(start: RunStart) -> Mode:
    """Waits for one child; what it is told instead of the child's answer is its own."""
    child = yield from start_run(ChildSpec("make the hull", "Ana"))
    ended = yield from await_run((child,))
    return ended.error_class or ended.content
