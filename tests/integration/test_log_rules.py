"""What holds for the log as a whole: append-only, its epoch, its reads, and types of a newer release."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from app.core.events import UnknownEvent
from app.log.errors import LogUnavailable
from app.log.ids import new_id
from app.log.log import Log, open_log
from app.log.sql import statement
from app.log.subscribe import Filter
from tests.support.databases import TestServer, at_database
from tests.support.events import STREAM, make_event
from tests.support.logs import contents, open_logs, session, within

TTL = timedelta(seconds=30)
CHANGES = ["UPDATE events SET actor = 'me'", "DELETE FROM events", "TRUNCATE events"]


@pytest.mark.parametrize("change", CHANGES)
async def test_the_service_may_not_change_what_is_written(log: Log, change: str) -> None:
    """Guard: the REVOKE in 0001_log.sql."""
    await log.append(STREAM, [make_event("a")])
    with psycopg.connect(log._dsn) as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute(change)
    assert contents(await log.reader.stream(STREAM)) == ["a"]


@pytest.mark.parametrize("change", CHANGES)
async def test_nobody_may_change_what_is_written(server: TestServer, log: Log, change: str) -> None:
    """Guard: the trigger `events_append_only`, ALWAYS: also for a superuser, a replica, and after a new GRANT."""
    await log.append(STREAM, [make_event("a")])
    with psycopg.connect(log._dsn) as service:
        service.execute("GRANT UPDATE, DELETE, TRUNCATE ON events TO CURRENT_USER")
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            service.execute(change)
    if server.superuser:
        database = log._dsn.split("?", maxsplit=1)[0].rpartition("/")[2]
        with psycopg.connect(at_database(server.admin_dsn, database)) as admin:
            admin.execute("SET session_replication_role = replica")
            with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
                admin.execute(change)
    assert contents(await log.reader.stream(STREAM)) == ["a"]


async def test_a_lease_that_cannot_be_changed_for_now_is_tried_again_by_whoever_wants_it(dsn: str) -> None:
    """Guard: what an append waits out is `LogUnavailable` here too. The counters are locked longer than the role waits
    for a lock; then the database takes no writes."""
    log = await open_log(f"{dsn}{'&' if '?' in dsn else '?'}lock_timeout=20ms", node_id="n")
    task = new_id()
    lease = await log.claim(task, "n", TTL)
    assert lease is not None
    with psycopg.connect(dsn) as other:
        other.execute("SELECT FROM partitions FOR UPDATE")
        with pytest.raises(LogUnavailable):
            await log.renew("n", [task], TTL)
    await log._pool.execute("SET default_transaction_read_only = on")
    with pytest.raises(LogUnavailable):
        await log.release(lease)
    await log._pool.execute("SET default_transaction_read_only = off")
    await log.release(lease)
    assert await log.held([task]) == set()
    await log.close()


async def test_the_epoch_is_the_logs_own(server: TestServer, dsn: str) -> None:
    """The same for every node and after a restart of the service, another one for another database."""
    async with open_logs(dsn, 2) as logs:
        epochs = {log.epoch for log in logs}
    with server.database() as other_dsn:
        other = await open_log(other_dsn, node_id="node-0")
        epochs.add(other.epoch)
        await other.close()
    assert len(epochs) == 2
    assert {len(epoch) for epoch in epochs} == {12}


async def test_a_cursor_gets_one_of_three_answers(log: Log) -> None:
    await log.append(STREAM, [make_event(), make_event()])
    answers = [
        await log.resume(STREAM, after, epoch) for after, epoch in ((2, None), (0, log.epoch), (1, None))
    ]
    assert [(one.answer, one.missed, one.head) for one in answers] == [
        ("nothing_missed", 0, 2),
        ("missed", 2, 2),
        ("missed", 1, 2),
    ]
    beyond, other = await log.resume(STREAM, 3, log.epoch), await log.resume(STREAM, 1, "0" * 12)
    assert [(one.answer, one.reason, one.head) for one in (beyond, other)] == [
        ("cannot", "beyond_end", 2),
        ("cannot", "other_epoch", 2),
    ]
    assert (await log.resume("user/nobody", 0, log.epoch)).answer == "nothing_missed"


async def test_a_type_of_a_newer_release_passes_through(log: Log) -> None:
    await log.append(STREAM, [make_event("a")])
    payload = '{"type": "mind.read",  "of": "alice"}'
    async with session(log._dsn) as newer:
        await newer.execute(
            "WITH c AS (UPDATE partitions SET position = position + 1 RETURNING position) "
            "INSERT INTO events (position, stream_id, stream_offset, recorded_at, id, partition, schema_version, "
            "type, actor, payload) "
            "SELECT position, 1, 2, now(), gen_random_uuid(), 0, 9, 'mind.read', 'system', $1 FROM c",
            payload,
        )
    # This process does not know of the other's event: its next append finds the offset taken, and goes behind it.
    assert (await log.append(STREAM, [make_event("b")])).first_offset == 3
    async with log.subscribe(STREAM) as reader:
        batch = await within(reader.next())
    assert [recorded.type for recorded in batch.events] == [
        "message.received",
        "mind.read",
        "message.received",
    ]
    assert batch.events[1].event() == UnknownEvent("mind.read", payload)
    assert batch.events[1].schema_version == 9


async def test_pages_join_forwards_and_backwards(log: Log) -> None:
    for start in range(0, 2_100, 300):
        await asyncio.gather(*(log.append(STREAM, [make_event(str(n))]) for n in range(start, start + 300)))
    forwards = [recorded async for recorded in log.reader.all_of(STREAM)]
    assert contents(forwards) == [str(n) for n in range(2_100)]
    assert [recorded.offset async for recorded in log.reader.all_of(STREAM, after=5, until=8)] == [6, 7, 8]
    newest = await log.reader.stream_backwards(STREAM, limit=3)
    assert [recorded.offset for recorded in newest] == [2_100, 2_099, 2_098]
    before = await log.reader.stream_backwards(STREAM, before=newest[-1].offset, limit=2)
    assert [recorded.offset for recorded in before] == [2_097, 2_096]
    assert len(await log.reader.stream(STREAM)) == 1_000
    assert await log.reader.head(STREAM) == await log.reader.position() == 2_100
    assert (await log.reader.head("user/nobody"), await log.reader.stream("user/nobody")) == (0, [])


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("query", "types", "arguments"),
    [
        ("read_all", "integer, bigint, bigint", "0, 100, 10"),
        ("read_stream", "text, bigint, bigint", f"'{STREAM}', 100, 10"),
        ("read_stream_backwards", "text, bigint, bigint", f"'{STREAM}', 2000, 10"),
    ],
)
async def test_a_page_costs_what_is_on_it_and_not_what_is_behind_it(
    log: Log, query: str, types: str, arguments: str, plans: str
) -> None:
    """Guard: a page is a range of offsets. With LIMIT alone all that is behind it was read and sorted for each page,
    where the planner has no statistics."""
    for start in range(0, 2_100, 300):
        await asyncio.gather(*(log.append(STREAM, [make_event(str(n))]) for n in range(start, start + 300)))
    async with session(log._dsn) as other:
        await other.execute(f"SET plan_cache_mode = {plans}")
        await other.execute(f"PREPARE page ({types}) AS {statement(query)}")
        explained = await other.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ({arguments})")
    plan: list[dict[str, dict[str, Any]]] = msgspec.json.decode(explained)
    assert plan[0]["Plan"]["Actual Rows"] == 10
    assert max(rows_of(plan[0]["Plan"])) <= 10, explained


def rows_of(node: dict[str, Any]) -> Iterator[float]:
    """How many rows each step of a plan has given."""
    yield node["Actual Rows"]
    for below in node.get("Plans", ()):
        yield from rows_of(below)


async def test_a_filter_moves_the_cursor_past_what_it_does_not_want(log: Log) -> None:
    await log.append(STREAM, [make_event(str(n)) for n in range(5)])
    async with log.subscribe(STREAM, wanted=Filter(types=frozenset({"run.completed"}))) as reader:
        batch = await within(reader.next(timeout_seconds=0))
        assert (batch.events, batch.cursor) == ([], 5)


async def test_several_partitions_each_count_for_themselves(dsn: str) -> None:
    async with session(dsn) as other:
        await other.execute("INSERT INTO partitions (partition) VALUES (1), (2)")
    async with open_logs(dsn, 1) as (log,):
        streams = [f"user/{n}" for n in range(12)]
        await asyncio.gather(
            *(log.append(stream, [make_event(stream)]) for stream in streams for _ in range(3))
        )
        for partition in range(3):
            mine = [stream for stream in streams if log.partition_of(stream) == partition]
            page = await log.reader.partition(partition)
            assert mine
            assert [recorded.position for recorded in page] == list(range(1, 3 * len(mine) + 1))
            assert {recorded.stream for recorded in page} == set(mine)
