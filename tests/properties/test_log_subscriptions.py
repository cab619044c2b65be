"""Readers that are killed at any moment and resumed from the last offset they saw: no gap, no double."""

import asyncio
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.envelope import NewEvent, Recorded
from app.core.events import MessageInterrupted, MessageReceived
from app.core.ids import named_id
from app.log.log import Log
from app.log.subscribe import Filter
from tests.support.nodes import Nodes

TASKS = (None, named_id("task", 1), named_id("task", 2))


class Life(msgspec.Struct, frozen=True):
    """One life of a reader: it gives up after so many batches, or in the middle of waiting for one."""

    node: int
    batch_events_max: int
    batches: int
    killed_after_turns: int


lives = st.builds(
    Life,
    node=st.integers(0, 1),
    batch_events_max=st.sampled_from([1, 2, 5, 500]),
    batches=st.integers(0, 4),
    killed_after_turns=st.integers(0, 6),
)
filters = st.builds(
    Filter,
    types=st.sampled_from([frozenset(), frozenset({"message.received"}), frozenset({"message.interrupted"})]),
    task_id=st.sampled_from(TASKS),
)
appends = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=15
)


@settings(max_examples=40)
@given(
    plan=appends, readers=st.lists(st.tuples(filters, st.lists(lives, max_size=5)), min_size=1, max_size=3)
)
def test_readers_have_exactly_the_log_whatever_happens_to_them(
    nodes: Nodes, plan: list[tuple[int, int, int]], readers: list[tuple[Filter, list[Life]]]
) -> None:
    nodes.run(play(nodes, plan, readers))


async def play(
    nodes: Nodes, plan: list[tuple[int, int, int]], readers: list[tuple[Filter, list[Life]]]
) -> None:
    stream = nodes.fresh()
    total = sum(count for _, count, _ in plan)
    writing = asyncio.create_task(write(nodes, stream, plan))
    seen = await asyncio.gather(*(read(nodes, stream, wanted, rest, total) for wanted, rest in readers))
    await writing
    log = [recorded async for recorded in nodes.logs[0].reader.all_of(stream)]
    assert len(log) == total
    for (wanted, _), events in zip(readers, seen, strict=True):
        assert events == [recorded for recorded in log if wanted.wants(recorded)]


async def write(nodes: Nodes, stream: str, plan: list[tuple[int, int, int]]) -> None:
    for node, count, turns in plan:
        await nodes.logs[node].append(stream, [event(n) for n in range(count)])
        for _ in range(turns):
            await asyncio.sleep(0)


def event(number: int) -> NewEvent:
    payload = MessageReceived("m", "a") if number % 2 else MessageInterrupted("m", "b")
    return NewEvent(UUID(int=0), payload, task_id=TASKS[number % 3])


async def read(nodes: Nodes, stream: str, wanted: Filter, plan: list[Life], total: int) -> list[Recorded]:
    """Live through the plan, then once more until the end."""
    events: list[Recorded] = []
    cursor = 0
    for life in plan:
        reading = asyncio.create_task(live(nodes.logs[life.node], stream, wanted, cursor, life))
        cursor, more = await reading
        events += more
    async with nodes.logs[0].subscribe(stream, after=cursor, wanted=wanted, heartbeat_seconds=0.05) as reader:
        while cursor < total:
            batch = await reader.next()
            assert batch.cursor >= cursor
            cursor = batch.cursor
            events += batch.events
    return events


async def live(log: Log, stream: str, wanted: Filter, cursor: int, life: Life) -> tuple[int, list[Recorded]]:
    events: list[Recorded] = []
    options = {"batch_events_max": life.batch_events_max, "heartbeat_seconds": 0.01}
    async with log.subscribe(stream, after=cursor, wanted=wanted, **options) as reader:  # type: ignore[arg-type]
        for _ in range(life.batches):
            batch = await reader.next()
            assert len(batch.events) <= life.batch_events_max
            cursor = batch.cursor
            events += batch.events
        last = asyncio.create_task(reader.next())
        for _ in range(life.killed_after_turns):
            await asyncio.sleep(0)
        last.cancel()
        await asyncio.gather(last, return_exceptions=True)  # what it may have got is lost with it
    return cursor, events
