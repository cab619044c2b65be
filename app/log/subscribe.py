"""A socket is a cursor: one subscription serves WebSocket, SSE, NDJSON and long-poll alike.

    CATCHING_UP ──page shorter than asked──► LIVE ──wake-up or heartbeat──► CATCHING_UP
         │ a page that does not follow the cursor: HoleInLog, never skipped

It asks the log for what follows its cursor, so no more than two pages wait for it, nothing is dropped and a slow
reader goes at its own pace. Readers at the end of one stream share one read of its newest events (`tail.py`).
"""

import asyncio
from enum import Enum
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.log.live import Kind, LiveAnswers, OpenAnswer
from app.log.read import PAGE_EVENTS_MAX
from app.log.tail import Tails
from app.log.wake import Signal

BATCH_EVENTS_MAX = 500
HEARTBEAT_SECONDS = 15.0
CLOSED_ANSWERS_MAX = 64
_CLOSING = frozenset({"model.answered", "model.failed"})


class State(Enum):
    CATCHING_UP = "catching_up"
    LIVE = "live"


class Filter(msgspec.Struct, frozen=True):
    """Which events a reader wants. Empty means all; the cursor moves past those that it does not want."""

    types: frozenset[str] = frozenset()
    task_id: UUID | None = None

    def wants(self, recorded: Recorded) -> bool:
        return (not self.types or recorded.type in self.types) and (
            self.task_id is None or recorded.task_id == self.task_id
        )


class Delta(msgspec.Struct, frozen=True):
    """More of an open answer. `reset`: this is all of it so far, forget what you had. No offset: it is not in the
    log.
    """

    answer_id: UUID
    task_id: UUID | None
    kind: Kind
    text: str
    reset: bool = False


class Batch(msgspec.Struct, frozen=True):
    """What a subscription gives at once: events up to `cursor`, or deltas behind it, or neither (a heartbeat)."""

    cursor: int
    events: list[Recorded] = []
    deltas: list[Delta] = []


class Stopped(Exception):
    """The service is shutting down, so readers end here; their cursors stay good."""


class _Said(msgspec.Struct):
    restart: int
    text: int = 0
    thinking: int = 0


class Subscription:
    """A cursor on one stream. Not for use by several tasks at once."""

    def __init__(
        self,
        stream: str,
        *,
        after: int,
        signal: Signal,
        tails: Tails,
        live: LiveAnswers | None,
        wanted: Filter,
        batch_events_max: int,
        heartbeat_seconds: float,
    ) -> None:
        self.stream = stream
        self.cursor = after
        self.state = State.CATCHING_UP
        self._signal = signal
        self._tails = tails
        self._live = live
        self._wanted = wanted
        self._batch_events_max = max(1, min(batch_events_max, BATCH_EVENTS_MAX))
        self._heartbeat_seconds = heartbeat_seconds
        self._ahead: list[Recorded] = []
        self._reading: asyncio.Task[list[Recorded]] | None = None
        self._said: dict[UUID, _Said] = {}
        self._closed: dict[UUID, None] = {}

    async def next(self, *, timeout_seconds: float | None = None) -> Batch:
        """The next batch; after the heartbeat time (or `timeout_seconds`) an empty one, with the cursor.

        Raises `LogUnavailable` (call again to go on from the same cursor), `HoleInLog` (do not go on) and `Stopped`
        (the service is shutting down).
        """
        while True:
            if self._tails.stopped:
                raise Stopped
            page = self._kept()
            if page is None:
                page = await self._page()
            if page:
                kept = self._pass(page)
                if kept:
                    return Batch(self.cursor, kept)
                if self.state is State.CATCHING_UP:
                    continue
            deltas = self._deltas()
            if deltas:
                return Batch(self.cursor, deltas=deltas)
            wait_seconds = self._heartbeat_seconds if timeout_seconds is None else timeout_seconds
            if not await self._signal.wait(wait_seconds):
                self._tails.doubt([self.stream])  # a wake-up may have been lost: look again
                kept = self._pass(await self._page())
                return Batch(self.cursor, kept)

    def _kept(self) -> list[Recorded] | None:
        """What follows the cursor, where that is known without waiting for anything."""
        if self.state is State.LIVE and not self._signal.is_set:
            return []  # nobody said that there is something new since the last look
        if self._ahead or self._reading is not None:
            return None
        self._signal.clear()  # before looking, as below
        page = self._tails.kept(self.stream, self.cursor)
        if page is None or len(page) > self._batch_events_max:
            return None
        self.state = State.LIVE
        return page

    async def _page(self) -> list[Recorded]:
        """What follows the cursor, at most a batch. A reader of small batches asks the log for a page all the same."""
        if not self._ahead:
            reading, self._reading = self._reading, None
            if reading is None:
                self.state = State.CATCHING_UP  # until it is known, also where this read fails or is given up
                self._signal.clear()
                reading = self._tails.after(self.stream, self.cursor, PAGE_EVENTS_MAX)
            self._ahead = await reading
            if not self._ahead:
                self.state = State.LIVE
                return []
            if len(self._ahead) == PAGE_EVENTS_MAX:  # read on while this page is on its way to the client
                self._signal.clear()  # before reading: a wake-up during it must not be forgotten
                following = self._tails.after(self.stream, self._ahead[-1].offset, PAGE_EVENTS_MAX)
                self._reading = asyncio.create_task(following)
        else:
            await asyncio.sleep(0)  # a replay in small batches must not hold up everybody else
        start = self.cursor + 1 - self._ahead[0].offset
        page = self._ahead[start : start + self._batch_events_max]
        more = page[-1] is not self._ahead[-1] or len(self._ahead) == PAGE_EVENTS_MAX
        self.state = State.CATCHING_UP if more else State.LIVE
        if page[-1] is self._ahead[-1]:
            self._ahead = []
        return page

    async def close(self) -> None:
        """Stops reading ahead."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _pass(self, page: list[Recorded]) -> list[Recorded]:
        if not page:
            return []
        self.cursor = page[-1].offset
        if self._live is not None:
            self._note_closed(page, self._live)
        if not self._wanted.types and self._wanted.task_id is None:
            return page
        return [recorded for recorded in page if self._wanted.wants(recorded)]

    def _note_closed(self, page: list[Recorded], live: LiveAnswers) -> None:
        for recorded in page:
            if recorded.type in _CLOSING or (self._said and recorded.id in self._said):
                self._said.pop(recorded.id, None)
                self._closed[recorded.id] = None
                live.over(self.stream, recorded.id)
        while len(self._closed) > CLOSED_ANSWERS_MAX:
            del self._closed[next(iter(self._closed))]

    def _deltas(self) -> list[Delta]:
        if self._live is None:
            return []
        deltas: list[Delta] = []
        for answer in self._live.of(self.stream):
            foreign_task = self._wanted.task_id is not None and answer.task_id != self._wanted.task_id
            if answer.answer_id in self._closed or foreign_task or answer.after_offset > self.cursor:
                continue
            deltas += self._say(answer)
        return deltas

    def _say(self, answer: OpenAnswer) -> list[Delta]:
        said = self._said.get(answer.answer_id)
        parts: list[tuple[Kind, str, int]]
        if said is None and not answer.text and not answer.thinking:
            return []
        reset = said is None or said.restart != answer.restart
        if said is None or reset:
            # After a restart an empty text is told too: it replaces what the client had.
            parts = [(kind, whole, 0) for kind, whole in _texts(answer) if whole or said is not None]
            said = self._said[answer.answer_id] = _Said(answer.restart)
        else:
            parts = [
                (kind, whole, length)
                for (kind, whole), length in zip(_texts(answer), (said.thinking, said.text), strict=True)
                if len(whole) > length
            ]
        said.text, said.thinking = len(answer.text), len(answer.thinking)
        return [
            Delta(answer.answer_id, answer.task_id, kind, whole[length:], reset)
            for kind, whole, length in parts
        ]


def _texts(answer: OpenAnswer) -> tuple[tuple[Kind, str], tuple[Kind, str]]:
    return ("thinking", answer.thinking), ("text", answer.text)
