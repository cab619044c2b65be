"""The pool through which views are read, and a query of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from app.core.messages import storable

CONNECTIONS_MAX = 6
WAIT_SECONDS_MAX = 10.0
READ_AGAIN_SECONDS = (0.05, 0.2, 0.5)
"""How long a read waits after its connection broke; then it has another one, as soon as there is one."""

logger = structlog.get_logger(__name__)


class ViewsUnavailable(Exception):
    """No view can be read: the database did not answer within the limit."""


T = TypeVar("T")
Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]
ReadPool: TypeAlias = AsyncConnectionPool[Connection]


def read_pool(dsn: str) -> ReadPool:
    """At most 6 connections, opened on entering it (`async with`). A read waits at most 10 s for one."""
    return AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=CONNECTIONS_MAX,
        timeout=WAIT_SECONDS_MAX,
        check=AsyncConnectionPool.check_connection,
        # A view is read in milliseconds; compiling such a query takes longer than running it.
        kwargs={"application_name": "minutebook-views", "options": "-c jit=off"},
        open=False,
    )


async def read_one(
    pool: AsyncConnectionPool, query: bytes, arguments: Sequence[object]
) -> tuple[Any, ...] | None:
    """The first row. A read whose connection breaks is tried again: nobody notices a restart of the database that is
    over in 10 s. Raises `ViewsUnavailable`. U+0000 in an argument, which Postgres does not take, becomes U+FFFD, as in
    everything that is stored."""
    arguments = [storable(one) if isinstance(one, str) else one for one in arguments]

    async def read(connection: Connection) -> tuple[Any, ...] | None:
        return await (await connection.execute(query, arguments)).fetchone()

    return await _read(pool, read)


async def now(pool: AsyncConnectionPool) -> datetime:
    """By the clock that dates the events. Raises `ViewsUnavailable`."""
    row = await read_one(pool, b"SELECT clock_timestamp()", ())
    assert row is not None  # noqa: S101 (it has one)
    return row[0]


async def read_consistently(pool: AsyncConnectionPool, read: Callable[[Connection], Awaitable[T]]) -> T:
    """Several queries that see the views at one moment. `read` may be called again. Raises `ViewsUnavailable`."""

    async def within(connection: Connection) -> T:
        async with connection.transaction():
            await connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return await read(connection)

    return await _read(pool, within)


async def _read(pool: AsyncConnectionPool, read: Callable[[Connection], Awaitable[T]]) -> T:
    for wait_seconds in (*READ_AGAIN_SECONDS, None):
        try:
            async with pool.connection() as connection:
                return await read(connection)
        except OperationalError as error:
            if wait_seconds is None or isinstance(error, PoolTimeout):
                raise ViewsUnavailable("the views cannot be read; try again") from error
            logger.warning("view_read_again", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(wait_seconds)
    raise AssertionError("the last attempt returns or raises")
