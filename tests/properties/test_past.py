"""Whatever has happened since, and at whatever moment: what is read of the past is what was to be read then."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from app.core import events as ev
from projections import conversations, past_reads, sessions, sessions_reads, tasks, transcript
from projections.derived import History
from projections.moments import AtOffset, AtPosition, AtTime, Moment, find_moment
from projections.pages import connect
from projections.runner import ProjectionRunner
from tests.support.projected import START, Book, books, reads, requested, task, write

OWNER = "alice"
SHORT = History(conversations.HISTORY.name, every=4, at=conversations.HISTORY.at)
"""Books are short; so are the stretches of this history."""
VIEWS = (
    msgspec.structs.replace(conversations.PROJECTION, history=SHORT),
    transcript.PROJECTION,
    tasks.PROJECTION,
    sessions.PROJECTION,
)
PAGES = ((50, 0), (2, 4))


class Seen(msgspec.Struct, frozen=True):
    """What there is to read of a conversation."""

    row: conversations.Conversation | None
    agent: str | None
    newest: list[list[transcript.Message]]
    listed: list[list[transcript.Message]]
    tasks: list[list[tasks.Task]]
    each: list[tasks.Task | None]


async def seen_now(pool: AsyncConnectionPool, name: str, known: list[Any]) -> Seen:
    session = await sessions_reads.get(pool, OWNER, name)
    found = [await tasks.get(pool, one) for one in known]
    return Seen(
        await conversations.get(pool, OWNER, name),
        None if session is None else session.agent_name,
        [
            (await transcript.page(pool, OWNER, name, limit=limit, before=before or None)).messages
            for limit, before in PAGES
        ],
        [await transcript.listed(pool, OWNER, name, limit=limit, offset=offset) for limit, offset in PAGES],
        [
            await tasks.list_by_owner(pool, OWNER, conversation_id=name, status=status, limit=3)
            for status in (None, "running", ("completed", "pending"))
        ],
        [one if one is not None and one.conversation_id == name else None for one in found],
    )


async def seen_then(pool: AsyncConnectionPool, moment: Moment, known: list[Any]) -> Seen:
    return Seen(
        await past_reads.conversation_at(pool, moment),
        await past_reads.agent_at(pool, moment),
        [
            (await past_reads.page_at(pool, moment, limit=limit, before=before or None)).messages
            for limit, before in PAGES
        ],
        [await past_reads.listed_at(pool, moment, limit=limit, offset=offset) for limit, offset in PAGES],
        [
            await past_reads.tasks_at(pool, moment, status=status, limit=3)
            for status in (None, "running", ("completed", "pending"))
        ],
        [await past_reads.task_at(pool, moment, one) for one in known],
    )


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_reads, "HISTORY", SHORT)


def end_of(dsn: str) -> int:
    """The examples of a test share one log; each writes behind the ones before."""
    with connect(dsn) as connection:
        row = connection.execute("SELECT position FROM partitions").fetchone()
    return row[0] if row else 0


async def compare(dsn: str, runner: ProjectionRunner, book: Book, positions: list[int]) -> None:
    names = sorted(
        {one.stream.split("/")[2] for one in book.recorded if one.stream.startswith("conversation/alice/")}
    )
    known = sorted({one.task_id for one in book.recorded if one.task_id is not None})
    async with reads(dsn) as pool:
        then: dict[tuple[int, str], Seen] = {}
        for position in positions:
            await asyncio.to_thread(runner.run_to_end, until={0: position})
            for name in names:
                then[position, name] = await seen_now(pool, name, known)
        await asyncio.to_thread(runner.run_to_end)
        for (position, name), seen in then.items():
            stream = f"conversation/{OWNER}/{name}"
            offset = sum(one.stream == stream and one.position <= position for one in book.recorded)
            for as_of in (
                AtOffset(offset),
                AtPosition(position),
                AtTime(START + timedelta(seconds=position)),
            ):
                moment = await find_moment(pool, OWNER, name, as_of)
                assert moment is not None
                assert moment.offset == offset
            assert await seen_then(pool, moment, known) == seen, (position, name)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.usefixtures("short_stretches")
def test_the_past_is_what_was_to_be_read_then(dsn: str, data: st.DataObject) -> None:
    end = end_of(dsn)
    book = data.draw(books(after=end, scope=f"p{end}-"))
    write(dsn, book.recorded)
    page_events = data.draw(st.integers(4, 40))
    # Nothing that is drawn depends on where the log ends: it has to be the same when the example is tried again.
    some = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=4))
    chosen = sorted({end + min(one, len(book.recorded)) for one in some})
    runner = ProjectionRunner(dsn, VIEWS, page_events=page_events)
    asyncio.run(compare(dsn, runner, book, chosen))


async def test_each_of_these_moments_is_what_was_to_be_read_then(dsn: str, short_stretches: None) -> None:
    """What books seldom hold: a conversation that is deleted and begun anew, with an operation that ends late and a
    meeting. Every moment of it. What keeps `past.py` and `past_reads.py` exact was taken away
    one by one: this failed each time."""
    book = Book()
    for life in range(2):
        for number in range(6):
            book.add(ev.MessageReceived(f"m{life}{number}", f"{life} {number}"))
        run, operation, other, board = (task(10 * life + number) for number in range(4))
        book.add(ev.SessionOpened("c1", "assistant"))
        book.add(requested("compute"), run)
        book.add(ev.RunClaimed("w", 1), run)
        book.add(ev.ToolCalled(1, "k", "c", "f", "{}"), run)
        work = ev.RunRequested("m", "work", "assistant", "operation", 1, parent=str(run))
        book.add(work, operation)
        book.add(ev.OperationStarted(str(operation), "f", "work", "c", "{}", 1), run)
        book.add(ev.ToolCalled(2, "k", "d", "f", "{}"), run)
        book.add(ev.OperationStarted(str(other), "f", "work", "d", "{}", 2), run)
        book.add(ev.MessageAnswered("a", "it is at work"), run)
        book.add(ev.RunCompleted(1, 1), run)
        book.add(ev.BoardStarted("said before it was asked", (ev.ExpertCard("bo", "Bo"),), 1, 1), board)
        book.add(requested("@board topic"), board)
        book.add(ev.ExpertSpoke("bo", "so", 1, step=2), board)
        book.add(ev.TeamFormed("t", (ev.ExpertCard("bo", "Robert"),), "bo", 3), board)
        book.add(ev.OperationFinished(str(operation), "f", "done", None, "c", str(run)), operation)
        book.add(ev.RunCompleted(1, 1), operation)
        book.add(ev.OperationFinished(str(other), "f", "done too", None, "d", str(run)), other)
        book.add(ev.MessageAnswered("b", "concluded"), board)
        if not life:
            book.add(ev.ConversationDeleted("c1"))
            book.add(ev.RunCompleted(1, 1), board)
    write(dsn, book.recorded)
    runner = ProjectionRunner(dsn, VIEWS, page_events=7)
    await compare(dsn, runner, book, [one.position for one in book.recorded])
