"""Reading the log: a stream after an offset, a partition after a position, a stream's newest events."""

from collections.abc import AsyncIterator

from app.core.envelope import Recorded
from app.log.connections import GONE, Connection, Pool
from app.log.errors import HoleInLog, LogUnavailable
from app.log.sql import statement

PAGE_EVENTS_MAX = 1_000
FIRST_PAGE_EVENTS = 100
EPOCH_CHARS = 12


class LogReader:
    """Reads through a pool. Every method raises `LogUnavailable` when the database cannot be reached."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def stream(self, stream: str, *, after: int = 0, limit: int = PAGE_EVENTS_MAX) -> list[Recorded]:
        """The next events of a stream, oldest first; at most 1 000. Raises `HoleInLog` if they do not follow
        `after`.
        """
        page = await self._page("read_stream", stream, after, min(limit, PAGE_EVENTS_MAX))
        if page and page[-1].offset != after + len(
            page
        ):  # offsets ascend, so otherwise all of them are there
            for expected, recorded in enumerate(page, start=after + 1):
                if recorded.offset != expected:
                    raise HoleInLog(stream, expected - 1, recorded.offset)
        return page

    async def stream_backwards(
        self, stream: str, *, before: int = 2**62, limit: int = PAGE_EVENTS_MAX
    ) -> list[Recorded]:
        """The newest events before an offset, newest first; at most 1 000."""
        return await self._page("read_stream_backwards", stream, before, min(limit, PAGE_EVENTS_MAX))

    async def partition(
        self, partition: int = 0, *, after: int = 0, limit: int = PAGE_EVENTS_MAX
    ) -> list[Recorded]:
        """The next events of a whole partition, in commit order; at most 1 000. Raises `HoleInLog`."""
        page = await self._page("read_all", partition, after, min(limit, PAGE_EVENTS_MAX))
        for expected, recorded in enumerate(page, start=after + 1):
            if recorded.position != expected:
                raise HoleInLog(f"(partition {partition})", expected - 1, recorded.position)
        return page

    async def all_of(self, stream: str, *, after: int = 0, until: int = 2**62) -> AsyncIterator[Recorded]:
        """Every event of a stream after an offset up to `until` or to its present end, a page at a time."""
        while True:
            page = await self.stream(stream, after=after)
            for recorded in page:
                if recorded.offset > until:
                    return
                yield recorded
            if len(page) < PAGE_EVENTS_MAX:
                return
            after = page[-1].offset

    async def head(self, stream: str) -> int:
        """Offset of the newest event, 0 if there is no such stream."""
        return await self._value("head", stream) or 0

    async def position(self, partition: int = 0) -> int:
        """Position of the newest event of a partition."""
        return await self._value("position", partition) or 0

    async def takes_writes(self) -> bool:
        """Whether the server would take an append: a standby does not."""
        try:
            return await self._pool.fetchval(statement("takes_writes"))
        except GONE as error:
            raise LogUnavailable("the database cannot be reached; try again") from error

    async def epoch(self) -> str:
        """12 hex digits that differ after a restore from backup. Part of every cursor."""
        try:
            return await read_epoch(self._pool)
        except GONE as error:
            raise LogUnavailable("the database cannot be reached; try again") from error

    async def _value(self, name: str, key: object) -> int | None:
        try:
            return await self._pool.fetchval(statement(name), key)
        except GONE as error:
            raise LogUnavailable("the database cannot be reached; try again") from error

    async def _page(self, name: str, key: object, bound: int, limit: int) -> list[Recorded]:
        try:
            rows = await self._pool.fetch(statement(name), key, bound, limit)
        except GONE as error:
            raise LogUnavailable("the database cannot be reached; try again") from error
        return [Recorded(*row) for row in rows]


async def read_epoch(source: Pool | Connection) -> str:
    """As `LogReader.epoch`. Raises what the driver raises."""
    return str(await source.fetchval(statement("epoch")))[:EPOCH_CHARS]


async def newest_first(reader: LogReader, stream: str) -> AsyncIterator[Recorded]:
    """Every event of a stream from its newest one back, a page at a time. The first page is small: most of those who
    look for something find it near the end. Raises `LogUnavailable`."""
    before, limit = 2**62, FIRST_PAGE_EVENTS
    while before > 1:
        page = await reader.stream_backwards(stream, before=before, limit=limit)
        for recorded in page:
            yield recorded
        if len(page) < limit:
            return
        before, limit = page[-1].offset, PAGE_EVENTS_MAX
