"""Connections that break at the worst moment. Each append is in the log once, and its caller is told so."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.log.errors import LogUnavailable
from app.log.log import open_log
from tests.support.events import STREAM, make_event
from tests.support.logs import contents, lock_waits, open_logs, session, until, whole_log, within
from tests.support.proxy import Link, Proxy, proxy_to


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[Proxy]:
    with tempfile.TemporaryDirectory(prefix="mb", dir="/tmp") as folder:
        async with proxy_to(dsn, Path(folder)) as running:
            yield running


async def test_an_answer_lost_after_the_commit_is_found_in_the_log(proxy: Proxy) -> None:
    """Guard: `_settle_written` in append.py. Without it the retry finds the offsets taken and writes all again."""
    async with open_logs(proxy.dsn, 1) as (log,):
        before = await log.append(STREAM, [make_event("before")])
        proxy.lose_answer = True
        results = await within(
            asyncio.gather(  # type: ignore[arg-type]
                log.append(STREAM, [make_event("a"), make_event("b")]),
                log.append(STREAM, [make_event("c")]),
                log.append("user/bob", [make_event("d")]),
            )
        )
        assert proxy.lost.is_set()
        assert [(result.first_offset, result.last_offset) for result in results] == [(2, 3), (4, 4), (1, 1)]
        assert [result.last_position - before.last_position for result in results] == [2, 3, 4]
        assert contents(await whole_log(log)) == ["before", "a", "b", "c", "d"]


async def test_an_append_lost_before_the_server_read_it_is_written_once(proxy: Proxy) -> None:
    """Guard: appending again what `find_written` did not find."""
    async with open_logs(proxy.dsn, 1) as (log,):
        await log.append(STREAM, [make_event("before")])

        async def lose(link: Link, data: bytes) -> bool:
            proxy.on_append = None
            link.cut_client()
            link.server.close()
            return False

        proxy.on_append = lose
        assert (await within(log.append(STREAM, [make_event("a")]))).first_offset == 2
        assert contents(await whole_log(log)) == ["before", "a"]


async def test_an_append_that_the_server_reads_late_is_not_written_twice(proxy: Proxy) -> None:
    """The client's connection broke; the server reads the append only when the client is about to write it again.

    Guard: ending the old backend in `find_written`, before looking.
    """
    held: list[tuple[Link, bytes]] = []

    async def hold(link: Link, data: bytes) -> bool:
        if not held:
            held.append((link, data))
            link.cut_client()
            return False
        if len(held) == 1:
            held.append((link, data))
            await held[0][0].send(held[0][1])
            await within(held[0][0].server_gone.wait())
        return True

    async with open_logs(proxy.dsn, 1) as (log,):
        await log.append(STREAM, [make_event("before")])
        proxy.on_append = hold
        assert (await within(log.append(STREAM, [make_event("a")]))).first_offset == 2
        assert len(held) == 2
        assert contents(await whole_log(log)) == ["before", "a"]


async def test_a_connection_ended_while_it_waits_for_the_lock_is_replaced(dsn: str) -> None:
    """Ended by an administrator; nothing of it was written, and every caller gets its result."""
    async with open_logs(dsn, 1) as (log,), session(dsn) as other:
        async with other.transaction():
            await other.execute("SELECT FROM partitions FOR UPDATE")
            appends = [asyncio.create_task(log.append(STREAM, [make_event(str(n))])) for n in range(5)]
            await lock_waits(other)
            await other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        results = await within(asyncio.gather(*appends))  # type: ignore[arg-type]
        assert [result.first_offset for result in results] == [1, 2, 3, 4, 5]
        assert contents(await whole_log(log)) == ["0", "1", "2", "3", "4"]


async def test_the_pool_of_readers_outlives_its_connections(dsn: str) -> None:
    async with open_logs(dsn, 1) as (log,), session(dsn) as other:
        await log.append(STREAM, [make_event("a")])
        await asyncio.gather(*(log.reader.stream(STREAM) for _ in range(20)))
        await other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'minutebook-read-node-0' AND datname = current_database()"
        )

        async def reads() -> bool:
            try:
                return contents(await log.reader.stream(STREAM)) == ["a"]
            except LogUnavailable:
                return False

        await until(reads)
        assert [
            len(page) for page in await asyncio.gather(*(log.reader.stream(STREAM) for _ in range(20)))
        ] == [1] * 20


async def test_without_a_database_callers_get_their_error_within_the_limit(proxy: Proxy) -> None:
    """The outcome is not known to those whose append was under way, and known to those that only waited."""
    log = await open_log(proxy.dsn, node_id="test", timeout_seconds=0.6)
    await log.append(STREAM, [make_event("before")])

    async def cut(link: Link, data: bytes) -> bool:
        link.cut_client()
        link.server.close()
        return False

    proxy.on_append = cut
    under_way = asyncio.create_task(log.append(STREAM, [make_event("a")]))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(log.append(STREAM, [make_event("b")]))
    errors = await within(asyncio.gather(under_way, waiting, return_exceptions=True))  # type: ignore[arg-type]
    assert [type(error) for error in errors] == [LogUnavailable, LogUnavailable]
    assert [error.outcome_unknown for error in errors] == [True, False]
    proxy.on_append = None
    assert (await within(log.append(STREAM, [make_event("after")]))).first_offset == 2
    assert contents(await whole_log(log)) == ["before", "after"]
    await log.close()


async def test_a_log_that_cannot_start_leaves_nothing_behind(empty_dsn: str) -> None:
    with pytest.raises(LogUnavailable, match="minutebook migrate"):
        await open_log(empty_dsn, node_id="test")
    with pytest.raises(LogUnavailable, match="cannot be reached"):
        await open_log("postgresql://nobody@127.0.0.1:1/none", node_id="test")
    async with session(empty_dsn) as other:

        async def alone() -> bool:
            return (
                await other.fetchval(
                    "SELECT count(*) FROM pg_stat_clear_snapshot(), pg_stat_activity "
                    "WHERE datname = current_database() AND backend_type = 'client backend'"
                )
                == 1
            )

        await until(alone)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
