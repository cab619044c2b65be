"""What tests of the log share: several nodes, a look behind the scenes, and the checks that hold for every log."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import asyncpg

from app.core.envelope import Recorded
from app.log.connections import Pool, Record
from app.log.log import Log, open_log
from app.log.read import LogReader

WAIT_SECONDS = 20.0
T = TypeVar("T")


class Gate:
    """What is read through it is counted, and can be held back when it has been read."""

    def __init__(self, source: LogReader | Pool) -> None:
        self._source = source
        self._open = asyncio.Event()
        self._open.set()
        self.reached = asyncio.Event()
        self.reads = 0

    @classmethod
    def of_tails(cls, log: Log) -> Self:
        """Through it go the log's own readers that read a stream."""
        gate = log.tails._reader = cls(log.reader)  # type: ignore[assignment]
        return gate

    @classmethod
    def of_answers(cls, log: Log) -> Self:
        """Through it go looks at the open answers of other nodes."""
        gate = log.live._foreign._pool = cls(log._pool)  # type: ignore[assignment]
        return gate

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def stream(self, stream: str, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        assert isinstance(self._source, LogReader)
        return await self._through(await self._source.stream(stream, after=after, limit=limit))

    async def fetch(self, query: str, *arguments: object) -> list[Record]:
        assert not isinstance(self._source, LogReader)
        return await self._through(await self._source.fetch(query, *arguments))

    async def _through(self, rows: list[T]) -> list[T]:
        self.reads += 1
        self.reached.set()
        await self._open.wait()
        return rows


@asynccontextmanager
async def open_logs(dsn: str, count: int, *, timeout_seconds: float = 30.0) -> AsyncGenerator[list[Log]]:
    """As many nodes on one database."""
    logs = [await open_log(dsn, node_id=f"node-{n}", timeout_seconds=timeout_seconds) for n in range(count)]
    try:
        yield logs
    finally:
        await asyncio.gather(*(log.close() for log in logs))


@asynccontextmanager
async def session(dsn: str) -> AsyncGenerator["asyncpg.Connection[asyncpg.Record]"]:
    """A session beside the log's own."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def within(awaitable: Coroutine[Any, Any, Any], seconds: float = WAIT_SECONDS) -> Any:
    return await asyncio.wait_for(awaitable, seconds)


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait for something of which nobody sends a signal, such as a lock that is waited for."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def lock_waits(connection: "asyncpg.Connection[asyncpg.Record]", count: int = 1) -> None:
    """Until `count` sessions of this database wait for a lock."""

    async def waiting() -> bool:
        return count <= await connection.fetchval(
            "SELECT count(*) FROM pg_stat_clear_snapshot(), pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

    await until(waiting)


async def whole_log(log: Log) -> list[Recorded]:
    """All events in commit order, checked: positions 1 to N, offsets 1 to n in every stream, both in one order."""
    events: list[Recorded] = []
    while page := await log.reader.partition(after=len(events)):
        events += page
    assert [recorded.position for recorded in events] == list(range(1, len(events) + 1))
    heads: dict[str, int] = {}
    for recorded in events:
        assert recorded.offset == heads.get(recorded.stream, 0) + 1
        heads[recorded.stream] = recorded.offset
    return events


def contents(events: list[Recorded]) -> list[str]:
    """The texts of `make_event`'s events."""
    return [recorded.event().content for recorded in events]  # type: ignore[union-attr]
