"""One at a time, on whatever node: for decisions about more than one stream, which no expected offset can guard.

    waits in the process, first come first served ──► waits in Postgres (advisory lock) ──► decides, appends ──► lets go

The lock is a transaction's, so it goes with its connection: whoever dies holds nobody up. Whoever is frozen does so for
60 s at most; then the server ends the transaction. So what is done under it has to be over by then.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from weakref import WeakValueDictionary

import asyncpg

from app.log.connections import CONNECT_TIMEOUT_SECONDS, GONE, Pool, PoolConnection
from app.log.errors import LogOverloaded, LogUnavailable

WAIT_SECONDS = 10.0
HELD_AT_ONCE_MAX = 4
"""Connections of the pool that may hold locks; the others are left to readers."""
_BEGIN = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
_LOCK = "SELECT pg_advisory_xact_lock($1)"


class Exclusive:
    """The locks of one process."""

    def __init__(self, pool: Pool, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._pool = pool
        self._wait_seconds = wait_seconds
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(HELD_AT_ONCE_MAX)

    @asynccontextmanager
    async def hold(self, names: Sequence[str]) -> AsyncGenerator[None]:
        """Nobody else holds one of these names meanwhile. Raises `LogOverloaded` after 10 s of waiting, and
        `LogUnavailable`."""
        async with AsyncExitStack() as stack:
            waiting = asyncio.timeout(self._wait_seconds)
            try:
                async with waiting:
                    for name in sorted(set(names)):
                        await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
                    await stack.enter_async_context(self._room)
                    connection = await stack.enter_async_context(
                        self._pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS)
                    )
                    stack.push_async_callback(_let_go, connection)
                    await connection.execute("BEGIN")
                    await connection.execute(_BEGIN)
                    for key in sorted(map(_key, set(names))):
                        await connection.execute(_LOCK, key)
            except (*GONE, asyncpg.PostgresError) as error:
                if waiting.expired():
                    raise LogOverloaded(
                        f"{', '.join(names)}: others have been at it for {self._wait_seconds:g} s; try again"
                    ) from None
                raise LogUnavailable("the database cannot be reached; try again") from error
            yield


async def _let_go(connection: PoolConnection) -> None:
    with suppress(*GONE, asyncpg.PostgresError):  # then the server has let go already
        await connection.execute("ROLLBACK")


def _key(name: str) -> int:
    """64 bits of the name's digest; the lock of migrations is another one."""
    return int.from_bytes(hashlib.sha256(f"minutebook/{name}".encode()).digest()[:8], signed=True)
