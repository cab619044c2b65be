"""asyncpg connections of the hot path, and which of its errors mean that the database has gone away."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from asyncpg.prepared_stmt import PreparedStatement

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Record]
    Pool: TypeAlias = asyncpg.Pool[Record]
    PoolConnection: TypeAlias = PoolConnectionProxy[Record]
    Prepared: TypeAlias = PreparedStatement[Record]
else:  # generic in the stubs only
    Connection, Pool = asyncpg.Connection, asyncpg.Pool
    PoolConnection, Prepared = PoolConnectionProxy, PreparedStatement

Connect = Callable[[str], Awaitable[Connection]]

COMMAND_TIMEOUT_SECONDS = 20.0
CONNECT_TIMEOUT_SECONDS = 5.0
READ_POOL_CONNECTIONS_MAX = 8
_BACKOFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5)

_NAME_CHARS_MAX = 63  # what Postgres keeps of an application_name
_SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "timezone": "UTC",
    # Of a process that is frozen, or cut off, with a partition's counter locked: nobody else could append for longer.
    "idle_in_transaction_session_timeout": "4s",
}

GONE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,  # shutdown, crash of the server, terminated by an administrator
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
)
"""The database is away or the connection broke: what was under way has an unknown outcome."""

_REFUSALS = ("22", "23", "54", "MB")  # data, constraints, limits, our own conditions


def is_refusal(error: Exception) -> bool:
    """Whether the same statement with the same arguments would be refused again, by the database or its driver."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in _REFUSALS
    return isinstance(error, ValueError)  # an argument that cannot be encoded


def is_passing(error: Exception) -> bool:
    """Whether it may go better later: the server is away, read-only, out of disk, or two transactions met."""
    return not is_refusal(error) and isinstance(error, (*GONE, asyncpg.PostgresError))


def connection_name(role: str, node_id: str) -> str:
    """How the server knows a connection of this node: at most 63 characters of ASCII, which Postgres keeps as they
    are.
    """
    name = f"minutebook-{role}-{node_id}"
    if len(name) <= _NAME_CHARS_MAX and name.isascii() and name.isprintable():
        return name
    return f"minutebook-{role}-{hashlib.sha256(node_id.encode(errors='replace')).hexdigest()[:32]}"


async def connect(dsn: str, *, name: str, durable: bool = True) -> Connection:
    """One connection, known to the server as `name`. Not `durable`: its commits are not awaited on disk.

    Raises one of `GONE`, within 5 s where the server does not answer.
    """
    durability = {} if durable else {"synchronous_commit": "off"}
    return await asyncpg.connect(
        dsn,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings={"application_name": name, **_SETTINGS, **durability},
    )


async def read_pool(dsn: str, *, name: str) -> Pool:
    """The pool that all readers of a process share: at most 8 connections. Raises one of `GONE`."""
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=READ_POOL_CONNECTIONS_MAX,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings={"application_name": name, **_SETTINGS},
        reset=_as_it_is,
    )


async def _as_it_is(connection: Connection) -> None:
    """Nobody leaves anything in a session (`SET LOCAL` and a transaction's locks go with it; the pool ends what was
    left open), so a read need not be followed by a round trip that resets it."""


async def close_pool(pool: Pool) -> None:
    """Close its connections, within 2 s."""
    try:
        async with asyncio.timeout(2):
            await pool.close()
    except Exception:  # broken connections, or one that is still in use
        pool.terminate()


def backoff_seconds(attempt: int) -> float:
    """How long to wait before attempt `attempt` (from 0) to connect again: 20 ms growing to 0.5 s."""
    return _BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)]


async def discard(connection: Connection | None) -> None:
    """Drop a connection that may be broken, without waiting for the server."""
    if connection is not None:
        with suppress(Exception):
            connection.terminate()
        await asyncio.sleep(0)
