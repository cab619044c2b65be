"""Read queries for sessions, their messages, and the tasks that have not ended, on rows that were folded from a log."""

from unittest.mock import AsyncMock
from uuid import UUID

import msgspec
import pytest

from app.core import events as ev
from app.core.agent import Agent
from app.log.log import Log
from app.runs.sessions import HEAD_EVENTS, Sessions
from projections import sessions_reads as sessions
from projections import tasks, transcript
from projections.runner import ProjectionRunner
from tests.support.events import make_event
from tests.support.projected import START, Book, reads, requested, task, write


def folded(dsn: str, book: Book) -> None:
    write(dsn, book.recorded)
    assert all(status.stopped is None for status in ProjectionRunner(dsn).run_to_end())


def stream(owner: str, conversation_id: str) -> str:
    return f"conversation/{owner}/{conversation_id}"


async def test_sessions_are_listed_newest_first_and_only_ones_own(dsn: str) -> None:
    book = Book()
    for owner, name in (("alice", "1"), ("alice", "2"), ("bob", "1")):
        book.add(ev.SessionOpened(name, "assistant", msgspec.Raw(b'{"a":1}')), None, stream(owner, name))
    book.add(ev.MessageReceived("m", "hi"), None, stream("alice", "1"))
    folded(dsn, book)
    async with reads(dsn) as pool:
        found = await sessions.list_by_owner(pool, "alice")
        assert [row.session_id for row in found] == ["1", "2"]
        assert [row.session_id for row in await sessions.list_by_owner(pool, "alice", limit=1)] == ["1"]
        assert found[0].metadata == {"a": 1}
        assert (await sessions.get(pool, "bob", "1")) is not None
        assert (await sessions.get(pool, "bob", "2")) is None


async def test_a_session_is_opened_again_without_reading_what_was_said_in_it(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions_there = Sessions(log, lambda name: Agent(name))
    opened = await sessions_there.open("alice", "assistant", session_id="s")
    await log.append(stream("alice", "s"), [make_event("hello")])
    reads_of = AsyncMock(wraps=log.reader.stream)
    monkeypatch.setattr(log.reader, "stream", reads_of)
    monkeypatch.setattr(log.reader, "stream_backwards", AsyncMock(side_effect=AssertionError))
    assert opened[1] is not None
    assert await sessions_there.open("alice", "assistant", session_id="s") == ("s", None)
    reads_of.assert_awaited_once_with(stream("alice", "s"), limit=HEAD_EVENTS)


async def test_messages_are_read_from_the_start_a_page_at_a_time(dsn: str) -> None:
    book = Book()
    for number in range(5):
        book.add(ev.MessageReceived(f"m{number}", f"{number}"))
    book.add(requested(), task(1))
    folded(dsn, book)
    async with reads(dsn) as pool:
        first = await transcript.listed(pool, "alice", "c1", limit=2)
        second = await transcript.listed(pool, "alice", "c1", limit=10, offset=2)
    assert [message.content for message in (*first, *second)] == ["0", "1", "2", "3", "4"]


async def test_open_tasks_are_everybodys_oldest_first(dsn: str) -> None:
    """Pending, running and waiting ones, operations too; not those that have ended or were merged."""
    book = Book()
    ends = {
        3: ev.RunCompleted(),
        4: ev.RunFailed("x", "y"),
        5: ev.RunCancelled("system"),
        6: ev.RunMerged("t", "m"),
    }
    for number in range(7):
        name = stream("alice" if number % 2 else "bob", "c1")
        mode = "operation" if number == 2 else "react"
        book.add(ev.RunRequested("m", "x", "a", mode, 1), task(number), name)
        if number > 0:
            book.add(ev.RunClaimed("w", 1), task(number), name)
        if number == 1:
            book.add(ev.HumanAsked("q", 2, "Which?", START), task(number), name)
        if number in ends:
            book.add(ends[number], task(number), name)
    folded(dsn, book)
    known: dict[UUID, int] = {task(number): number for number in range(7)}
    async with reads(dsn) as pool:
        found = await tasks.open_tasks(pool)
        assert [known[one.task_id] for one in found] == [0, 1, 2]
        assert [one.stream for one in found] == [
            stream("bob", "c1"),
            stream("alice", "c1"),
            stream("bob", "c1"),
        ]
        assert found[0].created_at == book.recorded[0].recorded_at
        assert [known[one.task_id] for one in await tasks.open_tasks(pool, limit=1)] == [0]
        waiting = await tasks.list_by_owner(pool, "alice", status="waiting")
        assert [known[row.task_id] for row in waiting] == [1]
        operations = await tasks.open_operations(pool, "bob", "c1")
        assert [known[row.task_id] for row in operations] == [2]


async def test_a_reader_begins_where_the_first_task_begins_that_it_has_not_seen_to_its_end(dsn: str) -> None:
    book = Book()
    book.add(requested(), task(1))  # 1: ends at 2
    book.add(ev.RunCompleted(), task(1))
    book.add(requested(), task(2))  # 3: ends at 6
    book.add(requested(), task(3))  # 4: open
    book.add(ev.RunClaimed("w", 1), task(3))
    book.add(ev.RunCompleted(), task(2))
    folded(dsn, book)
    async with reads(dsn) as pool:
        found = [await tasks.first_offset_behind(pool, "alice", "c1", after=after) for after in range(7)]
        assert found == [1, 1, 3, 3, 3, 3, 4]
        assert await tasks.first_offset_behind(pool, "alice", "other", after=0) is None
