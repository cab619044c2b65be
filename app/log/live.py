"""Answers that are still being written. Tokens are not minutes: they are gone once the whole text is an event.

An open answer is named by the id of the event that will close it, so a reader that sees that event knows, without
looking into it, that the answer is over. State, not a queue: a slow reader gets what it lacks in one piece, nothing
piles up.

Each part also goes into the UNLOGGED table `open_answers`, from which the readers of other nodes are served.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import UUID

from app.log.answers import Kind, OpenAnswer
from app.log.answers_foreign import ForeignAnswers
from app.log.answers_own import OwnAnswers
from app.log.connections import GONE, Pool
from app.log.sql import statement
from app.log.wake import Wakeups

__all__ = ["Kind", "LiveAnswers", "OpenAnswer"]


class LiveAnswers:
    """Open answers of this node's runs, and of other nodes' runs as far as readers here follow them."""

    def __init__(self, pool: Pool, wakeups: Wakeups, tell: Callable[[Iterable[str]], None]) -> None:
        self._pool = pool
        self._wakeups = wakeups
        self._own = OwnAnswers(pool, wakeups, tell)
        self._foreign = ForeignAnswers(pool, wakeups, self._own)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        with suppress(*GONE):
            await self._pool.execute(statement("drop_old_answers"))
        self._tasks = [
            asyncio.create_task(self._own.run(), name="live-own"),
            asyncio.create_task(self._foreign.run(), name="live-foreign"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._foreign.close()

    def open(self, answer_id: UUID, *, stream: str, task_id: UUID | None, after_offset: int) -> None:
        """Begin an answer, or begin it anew: readers are told to forget what they had of it."""
        self._own.open(answer_id, stream=stream, task_id=task_id, after_offset=after_offset)

    def add(self, answer_id: UUID, text: str, kind: Kind = "text") -> None:
        """More of an open answer (nothing, if it is over). Readers have it within about 33 ms."""
        self._own.add(answer_id, text, kind)

    async def seal(self, answer_id: UUID) -> None:
        """Say no more of it: its event is about to be appended. Nothing of it is written when this returns."""
        await self._own.seal(answer_id)

    def drop(self, answer_id: UUID) -> None:
        """It is over. Its rows went with the append of its event."""
        self._own.drop(answer_id)

    def of(self, stream: str) -> list[OpenAnswer]:
        """The open answers of a stream of which there is something to say."""
        own, foreign = self._own.of(stream), self._foreign.of(stream)
        if not own and not foreign:  # as nearly always
            return []
        others = (answer for answer in foreign if answer.answer_id not in self._own)
        return [answer for answer in (*own, *others) if not answer.sealed]

    def refresh(self, streams: Iterable[str] | None) -> None:
        """Other nodes have said more in these streams (None: in any); fetched soon for those that are read here."""
        read_here = set(self._wakeups.streams())
        self._foreign.refresh(read_here if streams is None else read_here.intersection(streams))

    async def fetch(self, stream: str) -> None:
        """Take over what other nodes have open in a stream by now. A missing database costs only the preview."""
        await self._foreign.fetch(stream)

    def over(self, stream: str, answer_id: UUID) -> None:
        """A reader has seen the event that closes it."""
        self._foreign.over(stream, answer_id)

    def forget(self, stream: str) -> None:
        """Nobody reads the stream here any more."""
        self._foreign.forget(stream)
