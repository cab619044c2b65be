"""What a process appends it hands to its own readers without reading it; what they get is what the log holds."""

import asyncio
import random
from uuid import uuid4

import msgspec
import pytest

from app.core.envelope import NewEvent, Recorded
from app.log.log import Log
from app.log.subscribe import Subscription
from tests.support.events import STREAM, make_event
from tests.support.logs import Gate, contents, open_logs, whole_log, within

NODES = 2
ROUNDS = 30


def filled(number: int) -> NewEvent:
    """With every field of an envelope, and text that JSON has to escape."""
    event = make_event(f'{number} "\\\u0001 会议', actor="agent:x", task_id=uuid4())
    return msgspec.structs.replace(event, causation_id=uuid4(), correlation_id=uuid4())


async def test_own_appends_reach_readers_as_the_log_holds_them(log: Log) -> None:
    """Guard: `recorded` in batch.py builds the very rows."""
    await log.append(STREAM, [make_event("before")])
    gate = Gate.of_tails(log)
    async with log.subscribe(STREAM) as reader, log.subscribe(STREAM) as other:
        for one in (reader, other):
            await within(one.next())
        at_the_end = gate.reads
        await log.append(STREAM, [filled(1), filled(2), make_event("3")], idempotency_key="a key")
        await log.append(STREAM, [filled(4)], idempotency_key="another key")
        await log.append(STREAM, [filled(5), filled(6)])
        told = (await within(reader.next())).events
        assert told == (await within(other.next())).events == (await whole_log(log))[1:]
        assert [msgspec.structs.astuple(one) for one in told] == [
            msgspec.structs.astuple(one) for one in await log.reader.stream(STREAM, after=1)
        ]
        assert gate.reads == at_the_end


async def test_a_repeated_append_shows_the_events_of_the_first(dsn: str) -> None:
    """Guard: `duplicate` in `Log._grow_tail`; the ids of the second are in no log."""
    async with open_logs(dsn, NODES) as (here, there):
        there._notifier.tell = lambda channel, streams: None  # type: ignore[method-assign]
        await here.append(STREAM, [make_event("a")])
        async with here.subscribe(STREAM) as reader:
            await within(reader.next())
            first = make_event("b")
            await there.append(STREAM, [first], idempotency_key="k")
            again = await here.append(STREAM, [make_event("b")], idempotency_key="k")
            assert again.duplicate
            assert [one.id for one in (await within(reader.next())).events] == [first.id]


async def test_what_another_node_wrote_in_between_is_read(dsn: str) -> None:
    """Guard: `_Tail.joins`."""
    async with open_logs(dsn, NODES) as (here, there):
        there._notifier.tell = lambda channel, streams: None  # type: ignore[method-assign]
        async with here.subscribe(STREAM) as reader:
            assert (await within(reader.next(timeout_seconds=0))).events == []
            await there.append(STREAM, [make_event("theirs")])
            await here.append(STREAM, [make_event("ours")])
            assert contents((await within(reader.next())).events) == ["theirs", "ours"]


@pytest.mark.parametrize("seed", range(3))
async def test_readers_of_two_nodes_that_both_write_get_the_whole_log_in_order(dsn: str, seed: int) -> None:
    dice = random.Random(seed)

    async def read(reader: Subscription, count: int) -> list[Recorded]:
        seen: list[Recorded] = []
        while len(seen) < count:
            seen += (await reader.next()).events
        return seen

    async with (
        open_logs(dsn, NODES) as logs,
        logs[0].subscribe(STREAM) as one,
        logs[0].subscribe(STREAM) as two,
        logs[1].subscribe(STREAM) as three,
    ):
        readers = [asyncio.create_task(read(reader, ROUNDS)) for reader in (one, two, three)]
        while (written := await logs[0].reader.head(STREAM)) < ROUNDS:
            count = min(dice.randint(1, 3), ROUNDS - written)
            await dice.choice(logs).append(STREAM, [filled(n) for n in range(count)])
        seen = [await within(reader) for reader in readers]  # type: ignore[arg-type]
        assert seen == [await whole_log(logs[0])] * 3
