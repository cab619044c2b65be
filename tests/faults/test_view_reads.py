"""Reads of views while connections break and the database is away."""

import asyncio

import asyncpg
import msgspec
import pytest

from projections.reads import ViewsUnavailable, read_pool
from projections.tables import fetch_rows
from tests.support.logs import lock_waits, session, within

LOCK = 7_120_331
HELD_UP = f"SELECT 1 AS found FROM (SELECT pg_advisory_xact_lock_shared({LOCK})) held"
READERS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class Found(msgspec.Struct, frozen=True):
    found: int


async def break_reader(admin: "asyncpg.Connection[asyncpg.Record]") -> int:
    """Ends the session of the read that waits, as a restart of Postgres does; returns its process id."""
    await lock_waits(admin)
    pid = await admin.fetchval(READERS)
    assert await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)  # and waits until it is gone
    return pid


async def test_a_read_whose_connection_breaks_is_tried_again_on_another(dsn: str) -> None:
    async with read_pool(dsn) as pool, session(dsn) as admin:
        await admin.execute("SELECT pg_advisory_lock($1::bigint)", LOCK)
        reading = asyncio.create_task(fetch_rows(pool, Found, HELD_UP))
        broken = await break_reader(admin)
        await lock_waits(admin)
        assert await admin.fetchval(READERS) != broken
        await admin.execute("SELECT pg_advisory_unlock($1::bigint)", LOCK)
        assert await within(reading) == [Found(1)]


async def test_a_read_whose_connections_all_break_says_that_the_views_are_away(dsn: str) -> None:
    async with read_pool(dsn) as pool, session(dsn) as admin:
        await admin.execute("SELECT pg_advisory_lock($1::bigint)", LOCK)
        reading = asyncio.create_task(fetch_rows(pool, Found, HELD_UP))

        async def break_all() -> None:
            while True:
                await break_reader(admin)

        breaking = asyncio.create_task(break_all())
        with pytest.raises(ViewsUnavailable, match="try again"):
            await within(reading)
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)


async def test_a_wrong_query_is_not_taken_for_an_outage(dsn: str) -> None:
    async with read_pool(dsn) as pool:
        with pytest.raises(Exception, match="there_is_none") as raised:
            await fetch_rows(pool, Found, "SELECT * FROM there_is_none")
        assert not isinstance(raised.value, ViewsUnavailable)
