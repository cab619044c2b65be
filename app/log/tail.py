"""The newest events of streams that are being read, read once for all readers at the end of a stream.

What this process has appended, it adds to the tail when it is committed, if it follows the tail's end. A wake-up from
elsewhere makes a tail doubtful; the first reader then reads on from the log, the others wait and take what it got. A
reader that is behind the tail reads from the log by itself.
"""

import asyncio
from collections.abc import Iterable, Set

from app.core.envelope import Recorded
from app.log.errors import HoleInLog
from app.log.read import PAGE_EVENTS_MAX, LogReader

TAIL_EVENTS_MAX = 1_000
TAIL_CHARS_MAX = 4 * 1024 * 1024
"""Of payload; the newest event is kept whatever its size."""


class _Tail:
    """`events` follow offset `base` without a hole (None: nothing is known yet)."""

    __slots__ = ("base", "chars", "doubts", "events", "readers", "settled", "waiting")

    def __init__(self) -> None:
        self.base: int | None = None
        self.events: list[Recorded] = []
        self.chars = 0
        self.readers = 0
        self.doubts = 1
        self.settled = 0  # the doubts that the last read has answered
        self.waiting: list[asyncio.Future[None]] | None = None  # for the read under way

    def covers(self, offset: int) -> bool:
        return self.base is not None and self.base <= offset <= self.base + len(self.events)

    def joins(self, offset: int) -> bool:
        """Whether this is the next offset, and nobody is reading what is next."""
        return self.waiting is None and self.base is not None and offset == self.base + len(self.events) + 1

    def following(self, stream: str, offset: int) -> list[Recorded]:
        """What follows an offset that is covered. Raises `HoleInLog`."""
        assert self.base is not None  # noqa: S101 (it covers the offset)
        page = self.events[offset - self.base :]
        if page and page[0].offset != offset + 1:
            raise HoleInLog(stream, offset, page[0].offset)
        return page

    def take(self, page: list[Recorded]) -> None:
        """Add what follows; forget the oldest beyond the limits."""
        self.events += page
        self.chars += sum(len(recorded.payload) for recorded in page)
        surplus = 0
        while surplus < len(self.events) - 1 and (
            len(self.events) - surplus > TAIL_EVENTS_MAX or self.chars > TAIL_CHARS_MAX
        ):
            self.chars -= len(self.events[surplus].payload)
            surplus += 1
        if surplus:
            self.base = self.events[surplus - 1].offset
            self.events = self.events[surplus:]


class Tails:
    """One instance a process. `attach` and `detach` count the readers of a stream; without readers nothing is kept."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._tails: dict[str, _Tail] = {}
        self.stopped = False

    def attach(self, stream: str) -> None:
        self._tails.setdefault(stream, _Tail()).readers += 1

    def detach(self, stream: str) -> bool:
        """True if this was the last reader."""
        tail = self._tails[stream]
        tail.readers -= 1
        if tail.readers == 0:
            del self._tails[stream]
        return tail.readers == 0

    @property
    def streams(self) -> Set[str]:
        """Those that have readers here."""
        return self._tails.keys()

    def grow(self, stream: str, events: list[Recorded]) -> None:
        """These are committed, and nothing is missing between them. Where they do not join the tail, it is in doubt."""
        tail = self._tails[stream]
        if tail.joins(events[0].offset):
            tail.take(events)
        else:
            tail.doubts += 1

    def doubt(self, streams: Iterable[str]) -> None:
        """These streams may have grown."""
        for stream in self._tails.keys() & streams:
            self._tails[stream].doubts += 1

    def kept(self, stream: str, offset: int) -> list[Recorded] | None:
        """The events that follow `offset`, where the tail holds them all and is in no doubt."""
        tail = self._tails[stream]
        if tail.settled < tail.doubts or not tail.covers(offset):
            return None
        return tail.following(stream, offset)

    async def after(self, stream: str, offset: int, limit: int) -> list[Recorded]:
        """The events that follow `offset`, at most `limit`: all that were committed before the last doubt.

        Raises `LogUnavailable`, and `HoleInLog` where tail and log do not join.
        """
        tail = self._tails[stream]
        doubts = tail.doubts  # later ones are not for this call
        if not tail.covers(offset):
            page = await self._reader.stream(stream, after=offset, limit=limit)
            if tail.base is None and len(page) < limit:
                tail.base = offset
                tail.take(page)
                tail.settled = doubts
            return page
        if tail.settled < doubts:
            await self._settle(stream, tail, doubts)
        if not tail.covers(offset):  # so much was new that the tail has moved on
            return await self._reader.stream(stream, after=offset, limit=limit)
        return tail.following(stream, offset)[:limit]

    async def _settle(self, stream: str, tail: _Tail, doubts: int) -> None:
        """Whoever comes first reads; the others wait for that, and then go on all at once."""
        while tail.settled < doubts:
            if tail.waiting is not None:
                done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                tail.waiting.append(done)
                await done
                continue
            tail.waiting = []
            try:
                await self._read_on(stream, tail)
            finally:
                waiting, tail.waiting = tail.waiting, None
                for done in waiting:
                    if not done.done():
                        done.set_result(None)

    async def _read_on(self, stream: str, tail: _Tail) -> None:
        doubts = tail.doubts  # before the read: a wake-up during it must not be forgotten
        end = tail.events[-1].offset if tail.events else tail.base
        page = await self._reader.stream(stream, after=end or 0)
        tail.take(page)
        if len(page) < PAGE_EVENTS_MAX:
            tail.settled = doubts
