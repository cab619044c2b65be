"""The baseline for appends: rows like those of the log, written by nothing but asyncpg."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from app.bench.sample import OWNER
from app.core import events
from app.core.envelope import user_actor
from app.core.events import MessageReceived
from app.log.connections import Connection
from app.log.ids import new_id

ROWS = 1_000
PARTITION = 1_000_000  # the raw rows' own: their positions never meet those of the log

_COLUMNS = (
    "position, stream_id, stream_offset, recorded_at, id, partition, schema_version, type, actor, payload"
)
_MANY = f"""
INSERT INTO events ({_COLUMNS})
SELECT e.position, e.stream, e.stream_offset, clock_timestamp(), e.id, {PARTITION}, 1, e.type, e.actor, e.payload::json
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[])
     AS e (position, stream, stream_offset, id, type, actor, payload)
"""  # noqa: S608 (constants)
_ONE = f"""
INSERT INTO events ({_COLUMNS})
VALUES ($1, $2, $3, clock_timestamp(), $4, {PARTITION}, 1, $5, $6, $7::json)
"""  # noqa: S608 (constants)


class RawWriter:
    """Writes to streams and positions of its own. One a database; the table and its indexes are those of the log."""

    def __init__(self, connection: Connection, messages: Sequence[MessageReceived]) -> None:
        self._connection = connection
        self._payloads = [events.encode(message) for message in messages]
        self._offsets: dict[int, int] = {}
        self._position = 0

    def row(self, stream: int = 0) -> tuple[Any, ...]:
        """The next row of a stream, as the arguments of `one`."""
        self._position += 1
        offset = self._offsets[stream] = self._offsets.get(stream, 0) + 1
        payload = self._payloads[self._position % len(self._payloads)]
        return self._position, -1 - stream, offset, new_id(), "message.received", user_actor(OWNER), payload

    async def rate(self, seconds: float, streams: int, *, rows_at_once: int = ROWS) -> float:
        """Rows a second in statements of so many, each one transaction. Making the rows does not count."""
        spent, written = 0.0, 0
        while spent < seconds:
            rows = [self.row(number % streams) for number in range(rows_at_once)]
            columns = [list(column) for column in zip(*rows, strict=True)]
            started = perf_counter()
            await self._connection.execute(_MANY, *columns)
            spent += perf_counter() - started
            written += rows_at_once
        return written / spent

    async def one(self, row: tuple[Any, ...]) -> None:
        """One row, autocommit."""
        await self._connection.execute(_ONE, *row)

    async def one_in_transaction(self, row: tuple[Any, ...]) -> None:
        async with self._connection.transaction():
            await self._connection.execute(_ONE, *row)
