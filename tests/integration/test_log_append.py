"""Appending: what a caller gets back, and what is in the log then."""

import asyncio
from uuid import uuid4

import msgspec
import pytest

from app.core.envelope import NewEvent
from app.core.events import MessageImported, MessageReceived
from app.log.errors import (
    IdempotencyMismatch,
    InvalidAppend,
    LogOverloaded,
    LogUnavailable,
    OffsetConflict,
    PayloadTooLarge,
)
from app.log.log import Log, open_log
from app.log.queue import AppendQueue
from tests.support.events import STREAM, MakeEvent, make_event
from tests.support.logs import contents, lock_waits, open_logs, session, whole_log, within

HALF_A_PAIR = "\ud800"


async def test_offsets_of_a_stream_count_from_one(log: Log) -> None:
    first = await log.append(STREAM, [make_event("a"), make_event("b")])
    second = await log.append(STREAM, [make_event("c")])
    assert (first.first_offset, first.last_offset, second.first_offset) == (1, 2, 3)
    assert contents(await whole_log(log)) == ["a", "b", "c"]


async def test_an_event_comes_back_as_it_was_appended(log: Log) -> None:
    event = NewEvent(uuid4(), MessageReceived("m", 'é"\\\n\0'), 'user:"a"\\\té,{}', uuid4(), uuid4(), uuid4())
    other = make_event("NULL", actor="null")
    await log.append(STREAM, [event, other], idempotency_key='k"\\\n,null')
    first, second = await whole_log(log)
    assert first.event() == event.payload
    assert (first.id, first.actor, first.task_id, first.causation_id, first.correlation_id) == (
        event.id,
        event.actor,
        event.task_id,
        event.causation_id,
        event.correlation_id,
    )
    assert (first.idempotency_key, second.idempotency_key) == ('k"\\\n,null', 'k"\\\n,null\x1f1')
    assert (second.actor, second.task_id) == ("null", None)


async def test_appends_to_one_stream_keep_their_order(log: Log) -> None:
    await asyncio.gather(*(log.append(STREAM, [make_event(str(n))]) for n in range(700)))
    assert contents(await whole_log(log)) == [str(n) for n in range(700)]


async def test_an_append_larger_than_a_batch_is_refused_and_one_as_large_is_written(log: Log) -> None:
    with pytest.raises(InvalidAppend, match="1-256 events"):
        await log.append(STREAM, [make_event() for _ in range(257)])
    with pytest.raises(InvalidAppend, match="1-256 events"):
        await log.append(STREAM, [])
    results = await asyncio.gather(
        *(log.append(STREAM, [make_event() for _ in range(256)]) for _ in range(3))
    )
    assert [result.last_offset for result in results] == [256, 512, 768]


async def test_a_wrong_expected_offset_fails_its_own_caller_only(log: Log) -> None:
    await log.append(STREAM, [make_event("a")])
    wrong, right, other = await asyncio.gather(
        log.append(STREAM, [make_event("wrong")], expected_offset=0),
        log.append(STREAM, [make_event("b")], expected_offset=1),
        log.append("user/bob", [make_event("c")], expected_offset=0),
        return_exceptions=True,
    )
    assert isinstance(wrong, OffsetConflict)
    assert (wrong.expected, wrong.actual) == (0, 1)
    assert not isinstance(right, BaseException)
    assert not isinstance(other, BaseException)
    assert contents(await log.reader.stream(STREAM)) == ["a", "b"]


async def test_a_used_key_gives_the_first_result_and_writes_nothing(log: Log) -> None:
    """Guards: the unique index `events_idempotency`, and `_appended_before` in sortout.py."""
    first = await log.append(STREAM, [make_event("a"), make_event("b")], idempotency_key="k")
    again = await log.append(STREAM, [make_event("a"), make_event("b")], idempotency_key="k")
    assert again == msgspec.structs.replace(first, duplicate=True)
    with pytest.raises(IdempotencyMismatch):
        await log.append(STREAM, [make_event("other")], idempotency_key="k")
    assert not (await log.append("user/bob", [make_event("a")], idempotency_key="k")).duplicate
    assert len(await whole_log(log)) == 3


async def test_a_key_twice_in_one_batch_is_written_once(log: Log) -> None:
    """Guard: the unique index `events_idempotency`."""
    results = await asyncio.gather(
        *(log.append(STREAM, [make_event("a")], idempotency_key="k") for _ in range(5)),
        log.append(STREAM, [make_event("b")], idempotency_key="k"),
        log.append(STREAM, [make_event("c")]),
        return_exceptions=True,
    )
    assert [result.duplicate for result in results[:5]] == [False, True, True, True, True]  # type: ignore[union-attr]
    assert isinstance(results[5], IdempotencyMismatch)
    assert contents(await whole_log(log)) == ["a", "c"]


async def test_a_key_used_by_two_nodes_at_once_is_written_once(dsn: str) -> None:
    """Guard: the unique index `events_idempotency`. Both nodes wait at the counter's lock: neither sees the other."""
    async with open_logs(dsn, 2) as logs, session(dsn) as other:
        await logs[0].append(STREAM, [make_event("first")])
        await logs[1].append("user/bob", [make_event("second")])
        async with other.transaction():
            await other.execute("SELECT FROM partitions FOR UPDATE")
            appends = [
                asyncio.create_task(log.append(STREAM, [make_event("a")], idempotency_key="k"))
                for log in logs
            ]
            await lock_waits(other, 2)
        results = await within(asyncio.gather(*appends))  # type: ignore[arg-type]
        assert sorted(result.duplicate for result in results) == [False, True]
        assert len({result.first_offset for result in results}) == 1
        assert contents(await logs[0].reader.stream(STREAM)) == ["first", "a"]


async def test_a_payload_over_the_limit_is_refused_with_its_size(log: Log) -> None:
    with pytest.raises(
        PayloadTooLarge, match=r"message\.received has .* bytes, the limit is 1048576"
    ) as caught:
        await log.append(STREAM, [make_event("é" * 600_000)])
    assert caught.value.size_bytes > 1_200_000
    await log.append(STREAM, [make_event("e" * 1_000_000)])
    assert len(await whole_log(log)) == 1


@pytest.mark.parametrize("text", ["a\0b", HALF_A_PAIR, "x" * 401, ""])
async def test_text_that_the_database_cannot_store_is_refused_at_once(log: Log, text: str) -> None:
    event = make_event()
    with pytest.raises(InvalidAppend):
        await log.append(text, [event])
    with pytest.raises(InvalidAppend):
        await log.append(STREAM, [event], idempotency_key=text)
    with pytest.raises(InvalidAppend):
        await log.append(STREAM, [make_event(actor=text)])
    assert await whole_log(log) == []


async def test_a_lone_surrogate_in_a_payload_is_refused(log: Log) -> None:
    with pytest.raises(InvalidAppend, match="cannot be written as JSON"):
        await log.append(STREAM, [make_event(HALF_A_PAIR)])


@pytest.mark.parametrize("broken", [b'{"a":', b'1},{"b":2', b'"\xff"', b"[1,2", b"1\x1e2"])
async def test_a_payload_that_the_database_refuses_hits_its_own_caller_only(log: Log, broken: bytes) -> None:
    """Guard: writing one by one in `sort_out`."""
    bad = NewEvent(uuid4(), MessageImported(0, msgspec.Raw(broken)))
    *good, refused = await asyncio.gather(
        *(log.append(f"user/{n}", [make_event(str(n))]) for n in range(10)),
        log.append(STREAM, [bad]),
        return_exceptions=True,
    )
    assert isinstance(refused, InvalidAppend)
    assert [result.last_offset for result in good] == [1] * 10  # type: ignore[union-attr]
    assert contents(await whole_log(log)) == [str(n) for n in range(10)]


async def test_a_cancelled_caller_harms_nobody(dsn: str) -> None:
    """Cancelled while its batch is at the lock, or while it waits for a lane; either way the others are written."""
    async with open_logs(dsn, 1) as (log,), session(dsn) as other:
        async with other.transaction():
            await other.execute("SELECT FROM partitions FOR UPDATE")
            in_lane = [asyncio.create_task(log.append("user/0", [make_event(f"l{n}")])) for n in range(3)]
            await lock_waits(other)
            waiting = [asyncio.create_task(log.append("user/0", [make_event(f"w{n}")])) for n in range(3)]
            await asyncio.sleep(0)
            in_lane[1].cancel()
            waiting[1].cancel()
        results = await within(asyncio.gather(*in_lane, *waiting, return_exceptions=True))  # type: ignore[arg-type]
        assert [type(result) for result in results].count(asyncio.CancelledError) == 2
        assert contents(await whole_log(log)) == ["l0", "l1", "l2", "w0", "w2"]


async def test_a_full_queue_refuses_after_the_time_limit_and_lets_in_in_order(dsn: str) -> None:
    """Guard for the order: `_busy` in queue.py is set before others are let in."""
    log = await open_log(dsn, node_id="test", timeout_seconds=0.6)
    log._appenders[0]._queue = AppendQueue(events_max=1)
    async with session(dsn) as other:
        async with other.transaction():
            await other.execute("SELECT FROM partitions FOR UPDATE")
            tasks = [asyncio.create_task(log.append(STREAM, [make_event(str(n))])) for n in range(9)]
            results = await within(asyncio.gather(*tasks, return_exceptions=True))  # type: ignore[arg-type]
        overloaded = [result for result in results if isinstance(result, LogOverloaded)]
        unavailable = [result for result in results if isinstance(result, LogUnavailable)]
        assert len(overloaded) + len(unavailable) == 9
        assert len(overloaded) >= 6  # one in the lane, one in line, and perhaps one let in at the last moment
        unwritten = {
            str(n) for n, error in enumerate(results) if not getattr(error, "outcome_unknown", False)
        }
        log._appenders[0]._timeout_seconds = 30.0
        more = [asyncio.create_task(log.append("user/bob", [make_event(str(n))])) for n in range(20)]
        await within(asyncio.gather(*more))  # type: ignore[arg-type]
        assert contents(await log.reader.stream("user/bob")) == [str(n) for n in range(20)]
        assert unwritten.isdisjoint(contents(await log.reader.stream(STREAM)))
    await log.close()


async def test_a_closing_log_writes_what_is_queued_and_takes_no_more(dsn: str, make_event: MakeEvent) -> None:
    log = await open_log(dsn, node_id="test")
    appends = [asyncio.create_task(log.append(STREAM, [make_event(str(n))])) for n in range(600)]
    await asyncio.sleep(0)
    await within(log.close())
    assert [result.last_offset for result in await asyncio.gather(*appends)] == list(range(1, 601))
    with pytest.raises(LogUnavailable, match="shutting down"):
        await log.append(STREAM, [make_event()])


@pytest.mark.parametrize(("first", "second"), [("a", "ab"), ("ab", "a")])
async def test_a_key_with_more_or_fewer_events_is_another_append(log: Log, first: str, second: str) -> None:
    """Also where the event behind the first append happens to be the same. Guard: the later events' stored keys."""
    await log.append(STREAM, [make_event(one) for one in first], idempotency_key="k")
    await log.append(STREAM, [make_event("b")])
    with pytest.raises(IdempotencyMismatch):
        await log.append(STREAM, [make_event(one) for one in second], idempotency_key="k")


async def test_the_same_append_at_once_is_taken_once_whatever_it_expects(log: Log) -> None:
    """Guard: `_has_twins`. Without it the second is told of a conflict with itself."""
    event = make_event("a")
    results = await asyncio.gather(
        *(log.append(STREAM, [event], expected_offset=0, idempotency_key="k") for _ in range(3))
    )
    assert [(one.first_offset, one.duplicate) for one in results] == [(1, False), (1, True), (1, True)]
