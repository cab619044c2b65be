"""The open answers of other nodes' runs, of streams that are read here.

One task looks them up, so an older look never replaces a newer one: who attaches behind an answer's closing event is
served by a look that began later, and is never shown the answer again.
"""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from uuid import UUID

import asyncpg
import structlog

from app.log.answers import SHARE_SECONDS, OpenAnswer
from app.log.answers_own import OwnAnswers
from app.log.connections import GONE, Pool
from app.log.sql import statement
from app.log.wake import Wakeups

logger = structlog.get_logger(__name__)


class ForeignAnswers:
    """One instance a process; `run` is its one task."""

    def __init__(self, pool: Pool, wakeups: Wakeups, own: OwnAnswers) -> None:
        self._pool = pool
        self._wakeups = wakeups
        self._own = own
        self._by_stream: dict[str, dict[UUID, OpenAnswer]] = {}
        self._wanted: set[str] = set()
        self._urgent: dict[str, asyncio.Future[None]] = {}
        self._woken = asyncio.Event()
        self._hurry = asyncio.Event()

    def of(self, stream: str) -> Collection[OpenAnswer]:
        answers = self._by_stream.get(stream)
        return () if answers is None else answers.values()

    def refresh(self, streams: Iterable[str]) -> None:
        """Look into these streams soon."""
        self._wanted.update(streams)
        if self._wanted:
            self._woken.set()

    async def fetch(self, stream: str) -> None:
        """Look into a stream now; returns after a look that began after this call."""
        looked = self._urgent.get(stream)
        if looked is None:
            looked = self._urgent[stream] = asyncio.get_running_loop().create_future()
        self._hurry.set()
        self._woken.set()
        await asyncio.shield(looked)

    def over(self, stream: str, answer_id: UUID) -> None:
        """A reader has seen the event that closes it."""
        self._by_stream.get(stream, {}).pop(answer_id, None)

    def forget(self, stream: str) -> None:
        """Nobody reads it here any more."""
        self._by_stream.pop(stream, None)

    def close(self) -> None:
        for looked in self._urgent.values():
            looked.cancel()
        self._urgent = {}

    async def run(self) -> None:
        """Look where it is wanted, every 33 ms at most unless somebody waits; until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            self._hurry.clear()
            urgent, self._urgent = self._urgent, {}
            wanted, self._wanted = self._wanted, set()
            try:
                await self._look(wanted | urgent.keys())
            except (*GONE, asyncpg.PostgresError) as error:  # costs only the preview
                logger.warning("open_answers_not_seen", error=f"{type(error).__name__}: {error}")
            finally:
                for looked in urgent.values():
                    if not looked.done():
                        looked.set_result(None)
            self._wakeups.wake(wanted)
            with suppress(TimeoutError):
                async with asyncio.timeout(SHARE_SECONDS):
                    await self._hurry.wait()

    async def _look(self, streams: set[str]) -> None:
        rows = await self._pool.fetch(statement("read_open_answers"), list(streams))
        found: dict[UUID, OpenAnswer] = {}
        parts: dict[UUID, int] = {}
        for row in rows:  # by answer, restart and part
            answer_id = row["answer_id"]
            answer = found.get(answer_id)
            if answer is None or row["restart"] != answer.restart:
                answer = OpenAnswer(
                    answer_id, row["stream"], row["task_id"], row["after_offset"], row["restart"]
                )
                found[answer_id] = answer
                parts[answer_id] = 0
            parts[answer_id] += 1
            if row["part"] != parts[answer_id]:
                answer.sealed = True  # a crash of the server has emptied the table: say no more of it
            answer.add(row["text"], row["kind"])
        for stream in streams:
            self._by_stream.pop(stream, None)
        read_here = streams.intersection(self._wakeups.streams())  # a reader may have gone meanwhile
        for answer in found.values():
            if answer.stream in read_here and not answer.sealed and answer.answer_id not in self._own:
                self._by_stream.setdefault(answer.stream, {})[answer.answer_id] = answer
