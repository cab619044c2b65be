"""Readers when things go wrong: lost wake-ups, slow readers, holes, a reader that comes while another one reads."""

import asyncio
from uuid import UUID

import pytest

from app.core.envelope import NewEvent, Recorded
from app.core.events import ModelAnswered
from app.core.messages import ModelAnswer
from app.log import tail as tails
from app.log.errors import HoleInLog
from app.log.ids import new_id
from app.log.log import Log
from app.log.subscribe import Stopped
from tests.support.events import STREAM, make_event
from tests.support.logs import Gate, contents, open_logs, whole_log, within


async def test_a_lost_wake_up_costs_a_heartbeat_and_never_an_event(log: Log) -> None:
    """Guard: looking again after the heartbeat in `Subscription.next`."""
    log._appenders[0]._on_committed = lambda appends, found: None  # nobody is told
    async with log.subscribe(STREAM, heartbeat_seconds=0.05) as reader:
        assert (await within(reader.next())).events == []
        await log.append(STREAM, [make_event("unheard")])
        batch = await within(reader.next())
        assert contents(batch.events) == ["unheard"]
        assert batch.cursor == reader.cursor == 1


async def test_an_event_of_another_node_arrives_although_notifications_are_lost(dsn: str) -> None:
    """Guard: as above. With notifications it arrives long before the heartbeat."""
    async with open_logs(dsn, 2) as (here, there):
        async with here.subscribe(STREAM, heartbeat_seconds=60) as reader:
            heard = asyncio.create_task(reader.next())
            await there.append(STREAM, [make_event("heard")])
            assert contents((await within(heard)).events) == ["heard"]
        there._notifier.tell = lambda channel, streams: None  # type: ignore[method-assign]
        async with here.subscribe(STREAM, after=1, heartbeat_seconds=0.05) as reader:
            assert (await within(reader.next())).events == []
            await there.append(STREAM, [make_event("unheard")])
            assert contents((await within(reader.next())).events) == ["unheard"]


async def test_a_node_hears_the_others_again_after_its_connection_broke(dsn: str) -> None:
    """Guards: reconnecting in `Notifier._run`; and readers look again, as what was missed is not known."""
    async with open_logs(dsn, 2) as (here, there), here.subscribe(STREAM, heartbeat_seconds=60) as reader:
        waiting = asyncio.create_task(reader.next())
        await here._pool.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'minutebook-notify-node-0' AND datname = current_database()"
        )
        await there.append(STREAM, [make_event("meanwhile")])
        assert contents((await within(waiting)).events) == ["meanwhile"]
        waiting = asyncio.create_task(reader.next())
        await there.append(STREAM, [make_event("later")])
        assert contents((await within(waiting)).events) == ["later"]


async def test_a_wake_up_during_another_readers_read_is_not_lost(log: Log) -> None:
    """Two readers at the end: one is reading when the event is committed, the other comes in just then.

    Guard: `doubts` in tail.py, counted, not a flag that the first reader clears for all.
    """
    await log.append(STREAM, [make_event("a")])
    reads = Gate.of_tails(log)
    async with (
        log.subscribe(STREAM, heartbeat_seconds=60) as first,
        log.subscribe(STREAM, heartbeat_seconds=60) as second,
    ):
        for reader in (first, second):
            assert contents((await within(reader.next())).events) == ["a"]
        log.tails.doubt([STREAM])
        reads.hold()
        early = asyncio.create_task(first.next())
        await within(reads.reached.wait())  # the first reader has read: nothing new
        await log.append(STREAM, [make_event("b")])
        late = asyncio.create_task(second.next())
        await asyncio.sleep(0)
        reads.release()
        for task in (early, late):
            assert contents((await within(task)).events) == ["b"]


async def test_a_slow_reader_loses_nothing_and_nothing_piles_up_for_it(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still while much is appended, next to a quick one that keeps the tail moving.

    Guards: the limits in `_Tail.take` (what is kept), and reading from the log in `Tails.after` (what it gets then).
    """
    monkeypatch.setattr(tails, "TAIL_EVENTS_MAX", 20)
    async with log.subscribe(STREAM) as slow, log.subscribe(STREAM) as quick:
        await log.append(STREAM, [make_event("0")])
        await within(slow.next())
        seen = contents((await within(quick.next())).events)
        for n in range(1, 30):
            await log.append(STREAM, [make_event(str(10 * n + i)) for i in range(10)])
            seen += contents((await within(quick.next())).events)
            assert len(log.tails._tails[STREAM].events) <= 20
        late: list[str] = []
        while len(late) < 290:
            batch = await within(slow.next())
            late += contents(batch.events)
            assert batch.cursor == slow.cursor == batch.events[-1].offset
        assert ["0", *late] == seen == contents(await whole_log(log))


async def test_the_tail_is_bounded_by_size_as_well(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: `TAIL_CHARS_MAX` in `_Tail.take`."""
    monkeypatch.setattr(tails, "TAIL_CHARS_MAX", 10_000)
    async with log.subscribe(STREAM) as reader:
        await within(reader.next(timeout_seconds=0))
        for n in range(10):
            await log.append(STREAM, [make_event(str(n) * 3_000)])
            assert [text[0] for text in contents((await within(reader.next())).events)] == [str(n)]
        assert len(log.tails._tails[STREAM].events) <= 3
        await log.append(STREAM, [make_event("x" * 20_000)])
        assert len((await within(reader.next())).events) == 1


async def test_a_reader_refuses_a_hole(log: Log) -> None:
    """Guard: the check of offsets in `LogReader.stream`."""
    await log.append(STREAM, [make_event("a"), make_event("b"), make_event("c")])
    page = log.reader._page

    async def with_a_hole(name: str, *arguments: object) -> list[Recorded]:
        return [recorded for recorded in await page(name, *arguments) if recorded.offset != 2]  # type: ignore[arg-type]

    log.reader._page = with_a_hole  # type: ignore[method-assign,assignment]
    async with log.subscribe(STREAM) as reader:
        with pytest.raises(HoleInLog, match="after offset 1 the log gave 3"):
            await within(reader.next())


async def held_look(here: Log, there: Log, answer_id: UUID) -> Gate:
    """The other node has looked at the answer, and does not get to know yet what it has seen."""
    looks = Gate.of_answers(there)
    looks.hold()
    here.live.add(answer_id, "said")
    await within(looks.reached.wait())
    return looks


async def test_a_late_look_at_an_answer_that_is_over_says_nothing(dsn: str) -> None:
    """The look began before the closing event was committed, and ends after the reader has passed that event.

    Guard: `_closed` in subscribe.py.
    """
    async with open_logs(dsn, 2) as (here, there):
        await here.append(STREAM, [make_event("question")])
        answer_id = new_id()
        here.live.open(answer_id, stream=STREAM, task_id=None, after_offset=1)
        async with there.subscribe(STREAM, heartbeat_seconds=0) as reader:
            await within(reader.next())
            looks = await held_look(here, there, answer_id)
            await here.live.seal(answer_id)
            closing = NewEvent(answer_id, ModelAnswered(1, "k", ModelAnswer("m", "said")))
            await here.append(STREAM, [closing], closes=(answer_id,))
            assert [recorded.id for recorded in (await within(reader.next())).events] == [answer_id]
            looks.release()
            await within(there.live.fetch("user/other"))  # behind the late look
            assert [answer.text for answer in there.live.of(STREAM)] == ["said"]
            batch = await within(reader.next())
            assert (batch.events, batch.deltas) == ([], [])


async def test_readers_end_when_the_service_stops(log: Log) -> None:
    async with log.subscribe(STREAM, heartbeat_seconds=60) as reader:
        waiting = asyncio.create_task(reader.next())
        await asyncio.sleep(0)
        log.stop_reading()
        with pytest.raises(Stopped):
            await within(waiting)


async def test_an_answer_that_is_looked_up_while_its_last_reader_goes_is_not_kept(dsn: str) -> None:
    """Guard: `read_here` in answers_foreign.py; without it the text stays until somebody reads that stream again."""
    async with open_logs(dsn, 2) as (here, there):
        await here.append(STREAM, [make_event("question")])
        answer_id = new_id()
        here.live.open(answer_id, stream=STREAM, task_id=None, after_offset=1)
        async with there.subscribe(STREAM, heartbeat_seconds=0) as reader:
            await within(reader.next())
            looks = await held_look(here, there, answer_id)
        looks.release()
        await within(there.live.fetch("user/other"))  # behind the late look
        assert there.live._foreign._by_stream == {}
        await here.live.seal(answer_id)
