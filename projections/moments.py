"""A moment of a conversation: an offset of its stream, found by itself, by a position of the log, or by a time.

Positions ascend with a stream's offsets, so halves find them. Times do so but for steps of the database's clock: what
halves find for some minutes later is an end from which to look back for the last event that is not later.
"""

from datetime import datetime, timedelta
from typing import LiteralString, TypeAlias

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core import streams
from projections.reads import read_one

CLOCK_STEP_MAX = timedelta(minutes=5)
"""The database's clock is taken to step back by no more; a longer step makes times in it ambiguous, nothing else."""

_STREAM = b"""
SELECT coalesce((SELECT max(stream_offset) FROM events WHERE stream_id = s.id), 0), p.position
FROM streams s JOIN partitions p USING (partition) WHERE s.name = %s
"""
_HALVES: LiteralString = """
WITH RECURSIVE stream AS (SELECT id FROM streams WHERE name = %s),
halves (low, high) AS (
    SELECT 0::bigint, %s::bigint
    UNION ALL
    SELECT CASE WHEN fits THEN middle ELSE low END, CASE WHEN fits THEN high ELSE middle - 1 END
    FROM halves CROSS JOIN LATERAL (
        SELECT e.stream_offset AS middle, e.{column} <= %s AS fits FROM events e
        WHERE e.stream_id = (SELECT id FROM stream) AND e.stream_offset = (low + high + 1) / 2
    ) found
    WHERE low < high
)
SELECT low FROM halves WHERE low = high
"""
_BY_POSITION = _HALVES.replace("{column}", "position").encode()
_BY_TIME = _HALVES.replace("{column}", "recorded_at").encode()
_BACK = b"""
SELECT stream_offset FROM events
WHERE stream_id = (SELECT id FROM streams WHERE name = %s) AND stream_offset <= %s AND recorded_at <= %s
ORDER BY stream_offset DESC LIMIT 1
"""


class AtOffset(msgspec.Struct, frozen=True):
    """Of the conversation's stream."""

    offset: int


class AtPosition(msgspec.Struct, frozen=True):
    """Of the log, in the partition of the stream."""

    position: int


class AtTime(msgspec.Struct, frozen=True):
    """Everything up to the last event that was recorded then or before; a time to come: everything."""

    time: datetime


AsOf: TypeAlias = AtOffset | AtPosition | AtTime


class MomentToCome(ValueError):
    """What has not happened yet would change what was answered."""


class Moment(msgspec.Struct, frozen=True):
    """Of a conversation: the events of its stream up to `offset`, and no other. `head` was its last offset when this
    was found out."""

    owner: str
    conversation_id: str
    offset: int
    head: int

    @property
    def stream(self) -> str:
        return streams.conversation(self.owner, self.conversation_id)


async def find_moment(
    pool: AsyncConnectionPool, owner: str, conversation_id: str, as_of: AsOf
) -> Moment | None:
    """None: there never was such a conversation. Raises `MomentToCome`, `InvalidConversationId`, `ViewsUnavailable`."""
    stream = streams.conversation(owner, conversation_id)
    found = await read_one(pool, _STREAM, (stream,))
    if found is None or not found[0]:
        return None
    head, position = int(found[0]), int(found[1])
    match as_of:
        case AtOffset(offset):
            if offset > head:
                raise MomentToCome(f"offset:{offset} is to come: the conversation is at offset:{head}")
        case AtPosition(wanted):
            if wanted > position:
                raise MomentToCome(f"position:{wanted} is to come: the log is at position:{position}")
            offset = await _number(pool, _BY_POSITION, stream, head, wanted)
        case AtTime(time):
            later = await _number(pool, _BY_TIME, stream, head, _later(time))
            offset = await _number(pool, _BACK, stream, later, time)
    return Moment(owner, conversation_id, offset, head)


def _later(time: datetime) -> datetime:
    try:
        return time + CLOCK_STEP_MAX
    except OverflowError:
        return time


async def _number(pool: AsyncConnectionPool, query: bytes, *arguments: object) -> int:
    found = await read_one(pool, query, arguments)
    return int(found[0]) if found else 0
