"""The pool through which views are read."""

from typing import Any, TypeAlias

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

CONNECTIONS_MAX = 6
WAIT_SECONDS_MAX = 10.0

ReadPool: TypeAlias = AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]]


def read_pool(dsn: str) -> ReadPool:
    """At most 6 connections, opened on entering it (`async with`). A read waits at most 10 s for one."""
    return AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=CONNECTIONS_MAX,
        timeout=WAIT_SECONDS_MAX,
        check=AsyncConnectionPool.check_connection,
        kwargs={"application_name": "minutebook-views"},
        open=False,
    )
