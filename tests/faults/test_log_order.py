"""Order under contention: uncommitted positions, several writers of a stream, a fenced writer, a log that went back."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from app.log.errors import LeaseLost, OffsetConflict
from app.log.log import Lease, Log
from app.log.subscribe import Subscription
from tests.support.databases import TestServer, at_database
from tests.support.events import STREAM, make_event
from tests.support.logs import contents, lock_waits, open_logs, session, whole_log, within

TTL = timedelta(seconds=60)
UNCOMMITTED = """
WITH counter AS (UPDATE partitions SET position = position + 1 WHERE partition = 0 RETURNING position),
     made AS (INSERT INTO streams (name, partition) VALUES ('slow', 0) RETURNING id)
INSERT INTO events (position, stream_id, stream_offset, recorded_at, id, partition, schema_version, type, actor,
                    payload)
SELECT position, id, 1, now(), gen_random_uuid(), 0, 1, 'message.received', 'system',
       '{"type":"message.received","message_id":"m","content":"slow"}'
FROM counter, made
"""


async def test_no_reader_ever_skips_an_uncommitted_position(log: Log) -> None:
    """An append that is not yet committed holds back those behind it, so a reader never passes its position.

    Guard: the lock of the counter row (`counter` in append.sql). With positions from a sequence the second append
    commits first and the reader stands behind the slow one for good.
    """
    async with session(log._dsn) as slow, session(log._dsn) as other:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(UNCOMMITTED)
        quick = asyncio.create_task(log.append(STREAM, [make_event("quick")]))
        await lock_waits(other)
        assert await log.reader.partition() == []
        assert not quick.done()
        await transaction.commit()
        assert (await within(quick)).last_position == 2
        assert contents(await whole_log(log)) == ["slow", "quick"]


async def test_two_nodes_writing_one_stream_leave_no_gap_and_no_double(dsn: str) -> None:
    """Guard: the primary key of `events`. Both nodes know a head; only one can be right about the next offset."""
    async with open_logs(dsn, 2) as logs, session(dsn) as other:
        for log in logs:
            await log.append(STREAM, [make_event(log.node_id)])
        async with other.transaction():
            await other.execute("SELECT FROM partitions FOR UPDATE")
            appends = [
                asyncio.create_task(log.append(STREAM, [make_event(f"{log.node_id}/{n}")]))
                for log in logs
                for n in range(20)
            ]
            await lock_waits(other, 2)
        await within(asyncio.gather(*appends))  # type: ignore[arg-type]
        written = contents(await whole_log(logs[0]))
        assert len(written) == 42
        for log in logs:  # each node's own order is kept
            assert [text for text in written if text.startswith(f"{log.node_id}/")] == [
                f"{log.node_id}/{n}" for n in range(20)
            ]


async def test_of_two_nodes_expecting_the_same_offset_one_wins(dsn: str) -> None:
    """Guard: the primary key of `events`; the loser is told the head as it is now."""
    async with open_logs(dsn, 2) as logs, session(dsn) as other:
        await logs[0].append(STREAM, [make_event()])
        await logs[1].append(STREAM, [make_event()])
        await logs[0].append(STREAM, [make_event()])
        async with other.transaction():
            await other.execute("SELECT FROM partitions FOR UPDATE")
            appends = [
                asyncio.create_task(log.append(STREAM, [make_event("mine")], expected_offset=3))
                for log in logs
            ]
            bystander = asyncio.create_task(logs[1].append("user/bob", [make_event("bystander")]))
            await lock_waits(other, 2)
        results = await within(asyncio.gather(*appends, return_exceptions=True))  # type: ignore[arg-type]
        (loser,) = [result for result in results if isinstance(result, OffsetConflict)]
        assert (loser.expected, loser.actual) == (3, 4)
        assert (await within(bystander)).first_offset == 1
        assert len(await whole_log(logs[0])) == 5


async def test_an_expectation_that_only_looks_wrong_from_here_holds(dsn: str) -> None:
    """Another node has written, without this one having heard of it: the expectation of the newer head is right."""
    async with open_logs(dsn, 2) as (here, there):
        here._appenders[0].heard_of = lambda streams: None  # type: ignore[method-assign]
        await here.append(STREAM, [make_event()])
        await there.append(STREAM, [make_event()])
        assert (await here.append(STREAM, [make_event()], expected_offset=2)).first_offset == 3
        with pytest.raises(OffsetConflict):
            await here.append(STREAM, [make_event()], expected_offset=2)


async def test_a_writer_with_an_old_lease_is_refused(log: Log) -> None:
    """Guard: `fence` in append_guarded.sql."""
    task_id = uuid4()
    first = await log.claim(task_id, "worker-1", timedelta(0))
    assert first is not None
    await log.append(STREAM, [make_event("a")], lease=first)
    second = await log.claim(task_id, "worker-2", TTL)
    assert second is not None
    assert await log.claim(task_id, "worker-1", TTL) is None
    refused, taken, unfenced = await asyncio.gather(
        log.append(STREAM, [make_event("old")], lease=first),
        log.append(STREAM, [make_event("b")], lease=second),
        log.append(STREAM, [make_event("c")]),
        return_exceptions=True,
    )
    assert isinstance(refused, LeaseLost)
    assert not isinstance(taken, BaseException)
    assert not isinstance(unfenced, BaseException)
    assert contents(await whole_log(log)) == ["a", "b", "c"]


async def test_a_writer_that_was_overtaken_while_it_waited_is_refused(dsn: str) -> None:
    """The takeover commits while the old writer's append waits at the counter's lock, its snapshot already taken.

    Guard: `FOR SHARE` in append_guarded.sql; without it the old snapshot's lease still looks good.
    """
    async with open_logs(dsn, 1) as (log,), session(dsn) as thief, session(dsn) as other:
        task_id = uuid4()
        lease = await log.claim(task_id, "worker-1", TTL)
        await log.append(STREAM, [make_event("a")], lease=lease)
        async with thief.transaction():
            await thief.execute("SELECT FROM partitions FOR UPDATE")
            late = asyncio.create_task(log.append(STREAM, [make_event("late")], lease=lease))
            await lock_waits(other)
            await thief.execute("UPDATE leases SET epoch = nextval('lease_epochs'), worker = 'worker-2'")
        with pytest.raises(LeaseLost):
            await within(late)
        assert contents(await whole_log(log)) == ["a"]


async def test_no_epoch_is_given_twice(log: Log) -> None:
    """Guard: epochs come from a sequence. Counted in the row, a lease given back would begin at 1 again."""
    task_id = uuid4()
    first = await log.claim(task_id, "worker-1", TTL)
    assert first is not None
    await log.release(first)
    with pytest.raises(LeaseLost):
        await log.append(STREAM, [make_event()], lease=first)
    second = await log.claim(task_id, "worker-2", TTL)
    assert second is not None
    assert second.epoch > first.epoch
    with pytest.raises(LeaseLost):
        await log.append(STREAM, [make_event()], lease=Lease(task_id, first.epoch))
    assert await log.renew("worker-1", [task_id], TTL) == set()
    assert await log.renew("worker-2", [task_id], TTL) == {task_id}


async def test_a_log_restored_under_a_running_service_gets_no_gap(server: TestServer, log: Log) -> None:
    """Guard: `the log went backwards` in append.sql: the heads that this process knows are too new then."""
    if not server.superuser:
        pytest.skip("only a superuser can take events away")
    for text in "abcd":
        await log.append(STREAM, [make_event(text)])
    database = log._dsn.split("?", maxsplit=1)[0].rpartition("/")[2]
    with psycopg.connect(at_database(server.admin_dsn, database)) as surgeon:
        surgeon.execute("ALTER TABLE events DISABLE TRIGGER events_append_only")
        surgeon.execute("DELETE FROM events WHERE stream_offset > 2")
        surgeon.execute("UPDATE partitions SET position = 2")
        surgeon.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only")
    assert (await log.append(STREAM, [make_event("e")])).first_offset == 3
    assert (await log.append(STREAM, [make_event("f")])).first_offset == 4
    assert contents(await whole_log(log)) == ["a", "b", "e", "f"]


async def test_a_reader_sees_every_append_of_every_node_once(dsn: str) -> None:
    """Readers on two nodes, writers on two nodes, one stream: what each reader got is the log."""
    total = 120

    async def read(reader: Subscription) -> list[str]:
        seen: list[str] = []
        while len(seen) < total:
            batch = await reader.next()
            seen += contents(batch.events)
        return seen

    async with open_logs(dsn, 2) as logs:
        async with logs[0].subscribe(STREAM) as here, logs[1].subscribe(STREAM) as there:
            readers = asyncio.gather(read(here), read(there))
            for n in range(0, total, 4):
                await asyncio.gather(
                    *(logs[i % 2].append(STREAM, [make_event(str(n + i))]) for i in range(4))
                )
            seen_here, seen_there = await within(readers)  # type: ignore[arg-type]
        assert seen_here == seen_there == contents(await whole_log(logs[0]))
