"""A message that comes while its conversation is busy: it waits for its turn, is heard by the run, or is refused."""

import asyncio

import pytest

from app.core.agent import Agent
from app.core.envelope import Recorded
from app.core.events import RunLimits
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedModel, When
from app.log.log import Log, open_log
from app.runs import refused
from app.runs.entry import Entry
from app.runs.turn import open_tasks
from tests.support.runs import (
    WAIT_SECONDS,
    Notes,
    SlowLog,
    StuckModel,
    of_type,
    process,
    stream_events,
    task_events,
    types,
)

FIRST = "A question that takes its time"
SECOND = "And another one about the same"


async def test_messages_of_a_conversation_are_answered_one_after_another_in_their_order(log: Log) -> None:
    model = StuckModel("")
    async with process(log, model) as p:
        accepted = [await p.conversations.accept("alice", f"{FIRST} {n}", "c") for n in range(3)]
        tasks = [p.runs.start(one) for one in reversed(accepted)]
        async with asyncio.timeout(WAIT_SECONDS):
            await model.reached.wait()
        assert types(await stream_events(log, accepted[0].stream)).count("run.claimed") == 1
        model.go_on.set()
        await asyncio.gather(*tasks)
        events = await stream_events(log, accepted[0].stream)

    claimed = [one.task_id for one in events if one.type == "run.claimed"]
    assert claimed == [one.task_id for one in accepted]
    assert [len(request.messages) for request in model.requests] == [2, 4, 6], (
        "each knows the answers before it"
    )


async def test_the_order_holds_over_two_nodes(log: Log, dsn: str) -> None:
    model = StuckModel("")
    other = await open_log(dsn, node_id="other")
    try:
        async with process(log, model) as here, process(other, model) as there:
            first = await here.conversations.accept("alice", FIRST, "c")
            second = await there.conversations.accept("alice", SECOND, "c")
            ended_there = there.runs.start(second)
            ended_here = here.runs.start(first)
            async with asyncio.timeout(WAIT_SECONDS):
                await model.reached.wait()
            model.go_on.set()
            await asyncio.wait_for(asyncio.gather(ended_here, ended_there), WAIT_SECONDS)
            events = await stream_events(log, first.stream)
    finally:
        await other.close()
    order = [(one.type, one.task_id) for one in events if one.type in ("run.claimed", "run.completed")]
    assert order == [
        ("run.claimed", first.task_id),
        ("run.completed", first.task_id),
        ("run.claimed", second.task_id),
        ("run.completed", second.task_id),
    ]


async def test_a_waiting_message_is_cancelled_without_its_turn_and_the_next_takes_it(log: Log) -> None:
    model = StuckModel("")
    async with process(log, model) as p:
        accepted = [await p.conversations.accept("alice", f"{FIRST} {n}", "c") for n in range(3)]
        tasks = [p.runs.start(one) for one in accepted]
        async with asyncio.timeout(WAIT_SECONDS):
            await model.reached.wait()
        await p.conversations.request_cancel(accepted[1].task_id, accepted[1].stream, "user:alice")
        await asyncio.wait_for(tasks[1], WAIT_SECONDS)
        assert not tasks[0].done()
        model.go_on.set()
        await asyncio.gather(*tasks)
        ends = [types(await task_events(log, one))[-1] for one in accepted]
    assert ends == ["run.completed", "run.cancelled", "run.completed"]


async def test_what_is_open_is_found_without_reading_the_whole_conversation(log: Log) -> None:
    async with process(log, ScriptedModel.of("yes")) as p:
        for n in range(5):
            await p.run(f"{FIRST} {n}", conversation_id="c")
        pending = [await p.conversations.accept("alice", SECOND, "c") for _ in range(2)]
        reader = CountingReader(log.reader)
        found = await open_tasks(reader, pending[0].stream)  # type: ignore[arg-type]
    assert [task.task_id for task in found.tasks] == [one.task_id for one in pending]
    assert found.head == pending[1].offset
    assert reader.pages == 1


class CountingReader:
    def __init__(self, reader: object) -> None:
        self._reader = reader
        self.pages = 0

    async def stream_backwards(self, stream: str, **options: int) -> object:
        self.pages += 1
        return await self._reader.stream_backwards(stream, **options)  # type: ignore[attr-defined]


async def test_so_many_tasks_of_a_conversation_and_no_more(log: Log) -> None:
    async with process(log, ScriptedModel.of("yes"), tasks_max=2) as p:
        first, second = [await p.conversations.accept("alice", FIRST, "c") for _ in range(2)]
        with pytest.raises(refused.TooManyTasks, match="2 tasks"):
            await p.conversations.accept("alice", SECOND, "c")
        await p.conversations.accept("alice", SECOND, "another")
        await p.conversations.accept("bob", SECOND, "c")
        await asyncio.gather(p.runs.start(first), p.runs.start(second))
        assert types(await p.run(SECOND, conversation_id="c"))[-1] == "run.completed"


async def test_where_busy_means_refused_a_message_sent_twice_is_still_the_same(log: Log) -> None:
    async with process(log, ScriptedModel.of("yes"), busy="reject") as p:
        first = await p.conversations.accept("alice", FIRST, "c", client_message_id="m1")
        with pytest.raises(refused.ConversationBusy):
            await p.conversations.accept("alice", SECOND, "c", client_message_id="m2")
        again = await p.conversations.accept("alice", FIRST, "c", client_message_id="m1")
        assert again.duplicate
        assert again.task_id == first.task_id
        await p.runs.start(first)
        assert types(await p.run(SECOND, conversation_id="c", client_message_id="m2"))[-1] == "run.completed"
    assert types(await stream_events(log, first.stream)).count("message.received") == 2


async def test_a_steered_message_is_heard_before_the_next_model_call_and_ends_as_merged(
    log: Log, steered: asyncio.Event
) -> None:
    notes = Notes("pure")
    slow = SlowLog(log, "tool.returned")
    model = ScriptedModel(
        [Rule(Answer(tool_calls=(ScriptedCall("note"),)), When(step=0, last_user_contains=FIRST))]
    )
    async with process(slow, model, [notes.tool], busy="steer") as p:  # type: ignore[arg-type]
        first = await p.conversations.accept("alice", FIRST, "c")
        running = p.runs.start(first)
        async with asyncio.timeout(WAIT_SECONDS):
            await slow.reached.wait()
        second = await p.conversations.accept("alice", "In red, please", "c")
        waiting = p.runs.start(second)
        await asyncio.wait_for(steered.wait(), WAIT_SECONDS)
        slow.go_on.set()
        await asyncio.wait_for(asyncio.gather(running, waiting), WAIT_SECONDS)

    assert model.requests[-1].messages[-1].content == "In red, please"
    events = await task_events(log, first)
    heard = of_type(events, "run.intervention_heard")[0]
    assert [one["content"] for one in heard["messages"]] == ["In red, please"]
    assert of_type(events, "message.answered")[0]["content"] == "You said: In red, please"
    merged = await task_events(log, second)
    assert types(merged)[-1] == "run.merged"
    assert types(merged).count("run.claimed") == 0
    assert (await log.held([first.task_id, second.task_id])) == set()


async def test_a_steered_message_that_nobody_heard_takes_its_turn(log: Log) -> None:
    model = StuckModel("")
    async with process(log, model, busy="steer") as p:
        first = await p.conversations.accept("alice", "hello", "c")  # small talk: a mode that does not listen
        running = p.runs.start(first)
        async with asyncio.timeout(WAIT_SECONDS):
            await model.reached.wait()
        second = await p.conversations.accept("alice", SECOND, "c")
        waiting = p.runs.start(second)
        model.go_on.set()
        await asyncio.wait_for(asyncio.gather(running, waiting), WAIT_SECONDS)
        assert types(await task_events(log, first))[-1] == "run.completed"
        assert types(await task_events(log, second))[-1] == "run.completed"


async def test_a_steered_message_that_was_cancelled_is_not_heard(log: Log) -> None:
    slow = SlowLog(log, "tool.returned")
    model = ScriptedModel(
        [Rule(Answer(tool_calls=(ScriptedCall("clock"),)), When(step=0, last_user_contains=FIRST))]
    )
    async with process(slow, model, busy="steer") as p:  # type: ignore[arg-type]
        first = await p.conversations.accept("alice", FIRST, "c")
        running = p.runs.start(first)
        async with asyncio.timeout(WAIT_SECONDS):
            await slow.reached.wait()
        second = await p.conversations.accept("alice", "In red, please", "c")
        await p.conversations.request_cancel(second.task_id, second.stream, "user:alice")
        await asyncio.wait_for(p.runs.start(second), WAIT_SECONDS)
        slow.go_on.set()
        await asyncio.wait_for(running, WAIT_SECONDS)
    assert types(await task_events(log, second))[-1] == "run.cancelled"
    assert "run.intervention_heard" not in types(await task_events(log, first))


async def test_a_budget_of_tokens_ends_the_run_before_the_call_that_would_go_on(log: Log) -> None:
    model = ScriptedModel([Rule(Answer(text="hm", tool_calls=(ScriptedCall("clock"),)))])
    agent = Agent(limits=RunLimits(tokens_max=1))
    async with process(log, model, agent=agent) as p:
        events = await p.run(FIRST, conversation_id="c")
    failed = of_type(events, "run.failed")[0]
    assert failed["error_class"] == "budget_exceeded"
    assert "1 tokens" in failed["message"]
    assert len(of_type(events, "model.called")) == 1, "the first call is made, the second is not"
    assert len(of_type(events, "tool.returned")) == 1


async def test_a_budget_of_money_counts_what_prices_say(log: Log) -> None:
    model = Priced([Rule(Answer(tool_calls=(ScriptedCall("clock"),)))])
    agent = Agent(limits=RunLimits(cost_usd_max=0.5))
    async with process(log, model, agent=agent) as p:
        events = await p.run(FIRST, conversation_id="c")
    failed = of_type(events, "run.failed")[0]
    assert (failed["error_class"], failed["cost_usd"]) == ("budget_exceeded", 0.5)
    assert [one["cost_usd"] for one in of_type(events, "model.answered")] == [0.25, 0.25]


class Priced(ScriptedModel):
    def cost_usd(self, answer: object) -> float:
        return 0.25


@pytest.fixture
def steered(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a process has noticed a steered message."""
    event = asyncio.Event()
    notice = Entry.notice

    def noticed(entry: Entry, recorded: Recorded) -> None:
        notice(entry, recorded)
        if entry.said:
            event.set()

    monkeypatch.setattr(Entry, "notice", noticed)
    return event
