"""What a process knows of streams: their ids and newest offsets.

Knowledge may be too old: another node has written meanwhile, and the primary key refuses the batch. It is never too
new: an offset is remembered after its commit, and everything is forgotten when a connection breaks.
"""

from collections.abc import Collection, Iterable

from app.log.connections import Connection, Record
from app.log.sql import statement

STREAMS_MAX = 100_000
_ATTEMPTS_MAX = 10  # one is the rule, two where another node makes the same stream


class Head:
    """The newest offset of a stream, as far as this process knows."""

    __slots__ = ("id", "offset")

    def __init__(self, stream_id: int, offset: int) -> None:
        self.id = stream_id
        self.offset = offset


class Heads:
    """Of at most 100 000 streams of one partition; beyond that it starts anew."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._known: dict[str, Head] = {}

    def forget(self, streams: Iterable[str]) -> None:
        """Another node has written to them, or a batch failed."""
        for stream in streams:
            self._known.pop(stream, None)

    def clear(self) -> None:
        """A connection broke: maybe to another history."""
        self._known = {}

    async def look_up(self, connection: Connection, streams: Collection[str]) -> dict[str, Head]:
        """The heads of streams; those that are new are made. Not within a transaction: it would not be durable."""
        known = self._known
        found = {stream: known[stream] for stream in streams if stream in known}
        if len(found) == len(streams):
            return found
        missing = {stream for stream in streams if stream not in found}
        for _ in range(_ATTEMPTS_MAX):
            rows = await connection.fetch(statement("resolve_streams"), self._partition, sorted(missing))
            found |= self._remember(rows)
            missing.difference_update(found)
            if not missing:
                return found
        raise TimeoutError(f"{len(missing)} streams were being made by other nodes all the time")

    async def look_again(self, connection: Connection, streams: Iterable[str]) -> dict[str, Head]:
        """The heads of streams as the log has them now, within the transaction of the connection."""
        return self._remember(await connection.fetch(statement("heads"), list(streams)))

    def _remember(self, rows: Iterable[Record]) -> dict[str, Head]:
        found = {str(row["name"]): Head(row["id"], row["head"]) for row in rows}
        if len(self._known) + len(found) > STREAMS_MAX:
            self.clear()
        self._known |= found
        return found
