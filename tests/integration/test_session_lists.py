"""Contract section 7: sessions by owner, newest first, with a total count, a page at a time."""

from datetime import UTC, datetime

import msgspec
import pytest
from psycopg_pool import AsyncConnectionPool

from app.core import events as ev
from projections import sessions_reads
from projections.page_cursors import InvalidPageCursor
from projections.runner import ProjectionRunner
from projections.sessions_reads import Cursor, parse_cursor
from tests.support.projected import Book, reads, said, write

SESSIONS = 25


def folded(dsn: str) -> None:
    """Sessions 0 to 24 of alice, each newer than the one before, of three agents; every fifth is closed."""
    book = Book()
    for number in range(SESSIONS):
        stream = f"conversation/alice/s{number}"
        book.add(ev.ConversationCreated(f"s{number}", "alice"), None, stream)
        opened = ev.SessionOpened(f"s{number}", f"agent-{number % 3}", msgspec.Raw(b"{}"))
        book.add(opened, None, stream)
        book.add(ev.MessageAdded("m", said("user", f"about {number}")), None, stream)
        if number % 5 == 0:
            book.add(ev.SessionClosed(f"s{number}"), None, stream)
        if number % 2:
            book.add(ev.ConversationTitled(f"Title {number}"), None, stream)
    book.add(ev.SessionOpened("s0", "agent-0"), None, "conversation/bob/s0")
    write(dsn, book.recorded)
    assert all(status.stopped is None for status in ProjectionRunner(dsn).run_to_end())


async def paged(pool: AsyncConnectionPool, limit: int, **wanted: str) -> list[int]:
    """The numbers of alice's sessions, read in pages up to the end."""
    found: list[int] = []
    before: Cursor | None = None
    while page := await sessions_reads.list_by_owner(pool, "alice", limit=limit, before=before, **wanted):  # type: ignore[arg-type]
        found += [int(row.session_id[1:]) for row in page]
        before = parse_cursor(str(page[-1].cursor))
    return found


async def test_every_page_size_gives_every_session_once_newest_first(dsn: str) -> None:
    folded(dsn)
    newest = list(range(SESSIONS))[::-1]
    async with reads(dsn) as pool:
        for limit in (1, 7, 100):
            assert await paged(pool, limit) == newest
            assert await paged(pool, limit, agent_name="agent-1") == [n for n in newest if n % 3 == 1]
            assert await paged(pool, limit, status="closed") == [20, 15, 10, 5, 0]
        counts = [
            await sessions_reads.count_by_owner(pool, "alice"),
            await sessions_reads.count_by_owner(pool, "alice", agent_name="agent-1"),
            await sessions_reads.count_by_owner(pool, "alice", agent_name="agent-1", status="closed"),
            await sessions_reads.count_by_owner(pool, "bob"),
            await sessions_reads.count_by_owner(pool, "nobody"),
        ]
        assert counts == [SESSIONS, 8, 1, 1, 0]
        row = await sessions_reads.get(pool, "alice", "s3")
        assert row is not None
        assert (row.shown_title("en"), row.message_count) == ("Title 3", 1)
        other = await sessions_reads.get(pool, "alice", "s4")
        assert other is not None
        assert other.shown_title("en") == "about 4"
        bare = await sessions_reads.get(pool, "bob", "s0")
        assert bare is not None
        assert (bare.shown_title("zh"), bare.message_count) == ("对话", 0)


def test_a_cursor_holds_any_id_and_what_is_none_is_refused() -> None:
    cursor = Cursor(datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC), "中~a b?&=#")
    assert parse_cursor(str(cursor)) == cursor
    assert str(cursor).isascii()
    naive = Cursor(datetime(2026, 1, 1), "x")  # noqa: DTZ001 (that is what is refused)
    for wrong in ("", "x", "%", "中", "a" * 5_000, str(naive), str(Cursor(cursor.updated_at, ""))):
        with pytest.raises(InvalidPageCursor, match="is not a cursor"):
            parse_cursor(wrong)
