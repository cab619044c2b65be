"""How runs end when they are not left alone: cancelled, deleted, timed out, shut down, robbed of their lease."""

import asyncio
from uuid import uuid4

import pytest

from app.core.agent import Agent
from app.core.envelope import NewEvent
from app.core.events import ModelCalled, RunLimits
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedModel, When
from app.log.log import Log, open_log
from app.runs import runner
from app.runs.accept import Accepted, Conversations
from app.runs.record import intent_id
from app.runs.roster import plain_roster
from app.tools.toolbox import ToolBox
from tests.support.runs import (
    WAIT_SECONDS,
    FlakyLog,
    Notes,
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

QUESTION = "A question that takes its time"
CLOSED_BY_CANCEL = ["model.failed", "message.interrupted", "run.cancelled"]


async def stuck(p: Process, model: StuckModel) -> tuple[Accepted, asyncio.Task[None]]:
    accepted = await p.conversations.accept("alice", QUESTION, "c")
    task = p.runs.start(accepted)
    async with asyncio.timeout(WAIT_SECONDS):
        await model.reached.wait()
    return accepted, task


async def test_a_cancel_is_an_event_stops_the_model_and_keeps_what_there_was(log: Log) -> None:
    model = StuckModel()
    async with process(log, model, locale="zh") as p:
        accepted, task = await stuck(p, model)
        assert await p.conversations.request_cancel(
            accepted.task_id, accepted.stream, "user:alice", "too slow"
        )
        await asyncio.wait_for(task, WAIT_SECONDS)
        events = await task_events(log, accepted)

    assert types(events)[-4:] == ["run.cancel_requested", *CLOSED_BY_CANCEL]
    assert of_type(events, "message.interrupted")[0]["content"] == "Half an answer"
    cancelled = of_type(events, "run.cancelled")[0]
    assert (cancelled["by"], cancelled["reason"]) == ("user:alice", "too slow")
    assert of_type(events, "model.failed")[0]["message"] == "此调用在得到结果之前已结束。"
    assert model.stopped == 1
    assert log.live.of(accepted.stream) == []
    assert not p.runs.is_running(accepted.task_id)


async def test_another_node_cancels_a_run_and_a_run_that_has_ended_is_left_alone(log: Log, dsn: str) -> None:
    model = StuckModel()
    other = await open_log(dsn, node_id="other")
    try:
        there = Conversations(other, plain_roster(ToolBox([])))
        async with process(log, model) as p:
            accepted, task = await stuck(p, model)
            await until_said(other, accepted.stream, "Half an answer")
            assert await there.request_cancel(accepted.task_id, accepted.stream, "user:alice")
            await asyncio.wait_for(task, WAIT_SECONDS)
        assert await log._pool.fetchval("SELECT count(*) FROM open_answers") == 0
        assert not await there.request_cancel(accepted.task_id, accepted.stream, "user:alice")
        assert not await there.request_cancel(uuid4(), accepted.stream, "user:alice")
    finally:
        await other.close()
    assert types(await task_events(log, accepted))[-4:] == ["run.cancel_requested", *CLOSED_BY_CANCEL]


async def test_a_run_that_waits_for_a_slot_is_cancelled_without_having_begun(log: Log) -> None:
    model = StuckModel()
    async with process(log, model, running_max=1) as p:
        first, _ = await stuck(p, model)
        second = await p.conversations.accept("alice", QUESTION, "d")
        waiting = p.runs.start(second)
        assert await p.conversations.request_cancel(second.task_id, second.stream, "user:alice")
        await asyncio.wait_for(waiting, WAIT_SECONDS)
        assert p.runs.is_running(first.task_id)
        events = await task_events(log, second)

    assert types(events)[2:] == ["run.cancel_requested", "run.claimed", "run.cancelled"]


async def test_waiting_runs_take_the_slots_of_those_that_end(log: Log) -> None:
    async with process(log, ScriptedModel.of("yes"), running_max=2) as p:
        accepted = [await p.conversations.accept("alice", QUESTION, str(n)) for n in range(7)]
        await asyncio.gather(*(p.runs.start(one) for one in accepted))
        for one in accepted:
            assert types(await task_events(log, one))[-1] == "run.completed"


async def test_deleting_a_conversation_ends_its_runs_and_leaves_nothing_to_see(log: Log) -> None:
    model = StuckModel()
    async with process(log, model) as p:
        accepted, task = await stuck(p, model)
        assert await p.conversations.delete("alice", "c") is not None
        await asyncio.wait_for(task, WAIT_SECONDS)
        assert await p.conversations.delete("alice", "c") is None
        assert await p.conversations.delete("alice", "never was") is None
        model.go_on.set()
        again = await p.run("And now something new, please", conversation_id="c")
    events = await stream_events(log, accepted.stream)

    behind = types(events)[types(events).index("conversation.deleted") + 1 :]
    assert behind[:2] == ["model.failed", "run.cancelled"]
    assert types(again)[-1] == "run.completed"
    assert "conversation.created" not in behind
    assert len(model.requests[-1].messages) == 2  # system and the new message: the history was forgotten


async def test_the_time_limit_ends_a_run_as_failed(log: Log) -> None:
    model = StuckModel()
    async with process(log, model, agent=Agent(limits=RunLimits(timeout_seconds=0.3))) as p:
        events = await p.run(QUESTION, conversation_id="c")

    assert types(events)[-3:] == ["model.failed", "message.interrupted", "run.failed"]
    failed = of_type(events, "run.failed")[0]
    assert failed["error_class"] == "timeout"
    assert "0.3 seconds" in failed["message"]


async def test_shutdown_ends_what_runs_and_leaves_what_waits_to_the_next_process(log: Log) -> None:
    model = StuckModel()
    async with process(log, model, running_max=1) as p:
        first, _ = await stuck(p, model)
        second = await p.conversations.accept("alice", QUESTION, "d")
        third = await p.conversations.accept("alice", QUESTION, "c")
        p.runs.start(second)
        p.runs.start(third)
        await p.runs.close()

    cancelled = of_type(await task_events(log, first), "run.cancelled")[0]
    assert (cancelled["by"], cancelled["reason"]) == ("system", "shutdown")
    assert of_type(await task_events(log, first), "message.interrupted")[0]["content"] == "Half an answer"
    assert types(await task_events(log, second))[-1] == "run.requested"
    model.go_on.set()
    async with process(log, model) as p:
        await asyncio.gather(*(p.runs.resume(one.task_id, one.stream) for one in (second, third)))
    for one in (second, third):
        assert types(await task_events(log, one))[-1] == "run.completed"


async def test_shutdown_does_not_wait_for_ever_for_a_database_that_hangs(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(runner, "ABANDON_SECONDS", 0.05)
    model, hanging = StuckModel(), SlowLog(log)
    async with process(hanging, model) as p:  # type: ignore[arg-type]
        accepted, task = await stuck(p, model)
        hanging.type = "run.cancelled"
        await asyncio.wait_for(p.runs.close(), WAIT_SECONDS)
        assert task.done()
    async with process(log, ScriptedModel.of("yes")) as p:  # whoever comes next brings it to its end
        await p.runs.resume(accepted.task_id, accepted.stream)
    assert types(await task_events(log, accepted))[-1] == "run.completed"


STEAL = "UPDATE leases SET worker = 'thief', epoch = epoch + 1"


async def test_a_run_whose_lease_is_gone_writes_nothing_more(log: Log) -> None:
    model = StuckModel()
    async with process(log, model, lease_seconds=60) as p:
        accepted, task = await stuck(p, model)
        await log._pool.execute(STEAL)
        before = await stream_events(log, accepted.stream)
        model.go_on.set()
        await asyncio.wait_for(task, WAIT_SECONDS)

    assert await stream_events(log, accepted.stream) == before
    assert log.live.of(accepted.stream) == []


async def test_the_heartbeat_notices_a_lost_lease_and_stops_the_model(log: Log) -> None:
    model = StuckModel()
    async with process(log, model, lease_seconds=0.3) as p:
        accepted, task = await stuck(p, model)
        await log._pool.execute(STEAL)
        await asyncio.wait_for(task, WAIT_SECONDS)

    assert model.stopped == 1
    assert types(await task_events(log, accepted))[-1] == "model.called"


@pytest.mark.parametrize("written", [False, True])
async def test_a_run_survives_a_database_that_was_away_at_any_append(log: Log, written: bool) -> None:
    calls = (ScriptedCall("note", {"text": "a"}), ScriptedCall("note", {"text": "b"}))
    rules = [Rule(Answer(text="noting", tool_calls=calls), When(step=0)), Rule(Answer(text="{last_tool}"))]

    async def events_with(flaky: Log | FlakyLog, conversation_id: str):
        notes, model = Notes("once"), ScriptedModel(rules)
        async with process(flaky, model, [notes.tool]) as p:  # type: ignore[arg-type]
            accepted = await Conversations(log, plain_roster(ToolBox([notes.tool]))).accept(
                "alice", QUESTION, conversation_id
            )
            await asyncio.wait_for(p.runs.start(accepted), WAIT_SECONDS)
        assert len(notes.keys) == 2  # nothing was done again: the outcomes were only not yet in the log
        assert len(model.requests) == 2
        return await task_events(log, accepted)

    whole = await events_with(log, "whole")
    for at in range(1, 9):
        flaky = FlakyLog(log, at, written=written)
        events = await events_with(flaky, f"away at {at}")
        assert flaky.failed == (at <= 8)
        assert normal(events) == normal(whole)
        assert len({one.id for one in events}) == len(events)


async def test_a_run_that_has_ended_is_not_taken_up_again(log: Log) -> None:
    async with process(log, ScriptedModel.of("yes")) as p:
        accepted = await p.conversations.accept("alice", QUESTION, "c")
        await p.runs.start(accepted)
        before = await stream_events(log, accepted.stream)
        await p.runs.start(accepted)
        await p.runs.resume(accepted.task_id, accepted.stream)
        await p.runs.resume(uuid4(), accepted.stream)
    assert await stream_events(log, accepted.stream) == before


async def test_a_replay_that_diverges_fails_and_says_where(log: Log) -> None:
    async with process(log, ScriptedModel.of("yes")) as p:
        accepted = await p.conversations.accept("alice", QUESTION, "c")
        foreign = ModelCalled(1, "a key of other code")
        await log.append(
            accepted.stream,
            [NewEvent(intent_id(accepted.task_id, 1), foreign, task_id=accepted.task_id)],
        )
        await p.runs.resume(accepted.task_id, accepted.stream)
        events = await task_events(log, accepted)

    failed = of_type(events, "run.failed")[0]
    assert failed["error_class"] == "replay_diverged"
    assert "step 1" in failed["message"]
    assert types(events)[-2:] == ["model.failed", "run.failed"]


async def test_a_cancel_in_the_middle_of_an_append_leaves_no_call_without_its_outcome(log: Log) -> None:
    slow = SlowLog(log, "model.answered")
    async with process(slow, ScriptedModel.of("yes")) as p:  # type: ignore[arg-type]
        accepted = await p.conversations.accept("alice", QUESTION, "c")
        task = p.runs.start(accepted)
        async with asyncio.timeout(WAIT_SECONDS):
            await slow.reached.wait()
        assert await p.conversations.request_cancel(accepted.task_id, accepted.stream, "user:alice")
        stopped = p.runs._entries[accepted.task_id].stopped
        await asyncio.wait_for(asyncio.shield(stopped), WAIT_SECONDS)  # it has seen the request
        slow.go_on.set()
        await asyncio.wait_for(task, WAIT_SECONDS)
        events = await task_events(log, accepted)

    assert types(events)[3:] == [
        "model.called",
        "run.cancel_requested",
        "model.answered",
        "message.interrupted",
        "run.cancelled",
    ]
    assert of_type(events, "message.interrupted")[0]["content"] == "yes"


async def test_a_live_answer_is_named_by_the_event_that_ends_it(log: Log) -> None:
    model = StuckModel("So far ", Rule(Answer(text="So far so good")))
    async with process(SlowLog(log), model) as p:  # type: ignore[arg-type]
        accepted, task = await stuck(p, model)
        (answer,) = log.live.of(accepted.stream)
        assert answer.text == "So far "
        model.go_on.set()
        await task
        answered = await until(log, accepted.stream, "model.answered")
        assert answer.answer_id not in log.live._own
        assert answered.id == answer.answer_id
        assert log.live.of(accepted.stream) == []
        left = await log._pool.fetchval("SELECT count(*) FROM open_answers")
    assert left == 0
