"""The open answers of this node's runs: shown to its readers at once, and written for those of other nodes."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from uuid import UUID

import asyncpg
import msgspec
import structlog

from app.log.answers import SHARE_SECONDS, Kind, OpenAnswer
from app.log.batch import array_literal
from app.log.connections import GONE, Pool
from app.log.sql import statement
from app.log.wake import Wakeups

logger = structlog.get_logger(__name__)


class _Part(msgspec.Struct, frozen=True):
    answer_id: UUID
    restart: int
    part: int
    stream: str
    task_id: UUID | None
    after_offset: int
    kind: Kind
    text: str


class OwnAnswers:
    """Open answers of this node's runs."""

    def __init__(self, pool: Pool, wakeups: Wakeups, tell: Callable[[Iterable[str]], None]) -> None:
        self._pool = pool
        self._wakeups = wakeups
        self._tell = tell
        self._answers: dict[UUID, OpenAnswer] = {}
        self._by_stream: dict[str, dict[UUID, OpenAnswer]] = {}
        self._parts: dict[UUID, int] = {}
        self._pending: dict[tuple[UUID, Kind], list[str]] = {}
        self._wanted = asyncio.Event()
        self._writing = asyncio.Lock()

    def __contains__(self, answer_id: UUID) -> bool:
        return answer_id in self._answers

    def of(self, stream: str) -> Collection[OpenAnswer]:
        answers = self._by_stream.get(stream)
        return () if answers is None else answers.values()

    def open(self, answer_id: UUID, *, stream: str, task_id: UUID | None, after_offset: int) -> None:
        """Begin an answer, or begin it anew: readers are told to forget what they had of it."""
        known = self._answers.get(answer_id)
        if known is None:
            # Another node may have begun it and died: the clock makes this beginning the later one.
            restart = time.time_ns() // 1_000_000
            known = OpenAnswer(answer_id, stream, task_id, after_offset, restart)
            self._answers[answer_id] = known
            self._by_stream.setdefault(stream, {})[answer_id] = known
            self._parts[answer_id] = 0
        else:
            known.text = known.thinking = ""
            known.sealed = False
            self._begin_anew(known)
            self._wakeups.wake([stream])

    def add(self, answer_id: UUID, text: str, kind: Kind = "text") -> None:
        """More of an open answer (nothing, if it is over). Readers have it within about 33 ms."""
        answer = self._answers.get(answer_id)
        if answer is None or not text:
            return
        answer.add(text, kind)
        self._pending.setdefault((answer_id, kind), []).append(text)
        self._wanted.set()

    async def seal(self, answer_id: UUID) -> None:
        """Say no more of it: its event is about to be appended. Nothing of it is written when this returns."""
        answer = self._answers.get(answer_id)
        if answer is not None:
            answer.sealed = True
        self._forget_pending(answer_id)
        async with self._writing:
            return

    def drop(self, answer_id: UUID) -> None:
        """It is over. Its rows went with the append of its event."""
        answer = self._answers.pop(answer_id, None)
        self._parts.pop(answer_id, None)
        self._forget_pending(answer_id)
        if answer is not None:
            of_stream = self._by_stream[answer.stream]
            del of_stream[answer_id]
            if not of_stream:
                del self._by_stream[answer.stream]

    def _begin_anew(self, answer: OpenAnswer) -> None:
        answer.restart += 1
        self._parts[answer.answer_id] = 0
        self._forget_pending(answer.answer_id)

    def _forget_pending(self, answer_id: UUID) -> None:
        self._pending.pop((answer_id, "text"), None)
        self._pending.pop((answer_id, "thinking"), None)

    async def run(self) -> None:
        """Share what is pending, every 33 ms at most; until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._flush()
            await asyncio.sleep(SHARE_SECONDS)

    async def _flush(self) -> None:
        async with self._writing:
            pending, self._pending = self._pending, {}
            parts = [
                self._part(answer, kind, "".join(texts))
                for (answer_id, kind), texts in pending.items()
                if (answer := self._answers.get(answer_id)) is not None and not answer.sealed
            ]
            if not parts:
                return
            streams = {part.stream for part in parts}
            self._wakeups.wake(streams)
            columns = [
                column if isinstance(column[0], str) else array_literal(column)
                for column in zip(*map(msgspec.structs.astuple, parts), strict=True)
            ]
            try:
                await self._pool.execute(statement("write_open_answers"), *columns)
            except (*GONE, asyncpg.PostgresError) as error:
                logger.warning("open_answers_not_shared", error=f"{type(error).__name__}: {error}")
                self._say_again({part.answer_id for part in parts})
            else:
                self._tell(streams)

    def _part(self, answer: OpenAnswer, kind: Kind, text: str) -> _Part:
        self._parts[answer.answer_id] += 1
        return _Part(
            answer.answer_id,
            answer.restart,
            self._parts[answer.answer_id],
            answer.stream,
            answer.task_id,
            answer.after_offset,
            kind,
            text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode(),
        )

    def _say_again(self, answer_ids: Iterable[UUID]) -> None:
        # Which parts other nodes have is not known, so they get all of it with the next part.
        for answer_id in answer_ids:
            answer = self._answers.get(answer_id)
            if answer is None or answer.sealed:
                continue
            self._begin_anew(answer)
            if answer.thinking:
                self._pending[answer_id, "thinking"] = [answer.thinking]
            if answer.text:
                self._pending[answer_id, "text"] = [answer.text]
