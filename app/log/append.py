"""The group-commit appender: whatever waits is written at once, and each caller gets its own offsets or its own error.

    append() ──► queue ──► lane 1 ─┐ one INSERT … SELECT FROM unnest a batch
                           lane 2 ─┴──► commit ──► callers, then wake-ups
                                          │
                      refused: sort out whose condition failed, under the counter's lock (`sortout.py`)
                      broken:  find out under the same lock what was written, append the rest

A batch is taken as it stands, without lingering: waiting to fill it only hurt. Two lanes, so that the next batch is
encoded and waits at the counter's lock while the one before is flushed to disk. Appends to one stream never overtake
one another.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from uuid import UUID

import structlog

from app.core.envelope import NewEvent
from app.log.batch import Appended, Batch, Lease, Waiting, check_key, check_text, encode_events, place
from app.log.connections import Connect, backoff_seconds, connection_name, discard, is_passing, is_refusal
from app.log.errors import LogUnavailable
from app.log.figures import AppendFigures, PartitionFigures
from app.log.heads import Heads
from app.log.queue import AppendQueue
from app.log.sortout import find_written, sort_out
from app.log.sql import statement
from app.log.writer import Writer

LANES = 2
APPEND_TIMEOUT_SECONDS = 30.0
_SWEEPS_PER_TIMEOUT = 20
_EXPECTED_SQLSTATES = frozenset(
    {"MB001", "23505"}
)  # a condition that did not hold, a stream or key that was taken

logger = structlog.get_logger(__name__)


class Appender:
    """Appends to one partition. One instance a process and partition; start it before, close it after use."""

    def __init__(
        self,
        connect: Connect,
        *,
        node_id: str,
        partition: int = 0,
        on_committed: Callable[[Sequence[Waiting], Sequence[Appended]], None] = lambda appends, found: None,
        timeout_seconds: float = APPEND_TIMEOUT_SECONDS,
        queue: AppendQueue | None = None,
    ) -> None:
        self._connect = connect
        self._node_id = node_id
        self._partition = partition
        self._on_committed = on_committed
        self._timeout_seconds = timeout_seconds
        self._queue = queue or AppendQueue()
        self._heads = Heads(partition)
        self._position = 0
        self._figures = AppendFigures()
        self._lanes: list[asyncio.Task[None]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._closing = False

    @property
    def position(self) -> int:
        """The newest position of this partition that this process has seen committed."""
        return self._position

    @property
    def figures(self) -> PartitionFigures:
        """As of now; the counts go on."""
        return PartitionFigures(
            self._position, self._queue.events_waiting, self._queue.bytes_waiting, self._figures
        )

    async def start(self) -> None:
        """Raises one of `GONE` if the database cannot be reached."""
        self._loop = asyncio.get_running_loop()
        writer = await self._new_writer(0)
        self._position = int(await writer.connection.fetchval(statement("position"), self._partition))
        self._lanes = [
            asyncio.create_task(self._run_lane(number, None if number else writer), name=f"appender-{number}")
            for number in range(LANES)
        ]

    async def close(self) -> None:
        """Writes what is queued (within the time limit of an append), then stops."""
        self._closing = True
        self._wake_lanes(len(self._idle))
        if self._lanes:
            _, late = await asyncio.wait(self._lanes, timeout=self._timeout_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._lanes, return_exceptions=True)
        if self._sweep is not None:
            self._sweep.cancel()
        self._queue.fail_all("the service stopped before the append was acknowledged")

    def heard_of(self, streams: Iterable[str]) -> None:
        """Another node has written to these streams."""
        self._heads.forget(streams)

    def submit(
        self,
        stream: str,
        new: Iterable[NewEvent],
        expected_offset: int | None = None,
        idempotency_key: str | None = None,
        lease: Lease | None = None,
        closes: tuple[UUID, ...] = (),
    ) -> asyncio.Future[Appended]:
        """Put an append in line; await the result. Cancelled, it stays unwritten if no lane has taken it yet.

        Raises `InvalidAppend`, `PayloadTooLarge` and, when closing, `LogUnavailable`; all else comes from the future.
        """
        if self._closing:
            raise LogUnavailable("the service is shutting down; append again after its restart")
        events = tuple(new)
        check_text("stream", stream)
        if idempotency_key is not None:
            check_key(idempotency_key)
        kinds, payloads, size_bytes = encode_events(events)
        loop = self._loop
        done: asyncio.Future[Appended] = loop.create_future()
        self._queue.put(
            Waiting(
                stream,
                events,
                kinds,
                payloads,
                size_bytes,
                done,
                loop.time() + self._timeout_seconds,
                expected_offset,
                idempotency_key,
                lease,
                closes,
            )
        )
        if self._idle:
            self._wake_lanes(1)
        if self._sweep is None:
            self._sweep_later()
        return done

    def _sweep_later(self) -> None:
        # One timer for all: a timer for each append took a tenth of the time of an append.
        self._sweep = self._loop.call_later(self._timeout_seconds / _SWEEPS_PER_TIMEOUT, self._sweep_now)

    def _sweep_now(self) -> None:
        self._queue.expire(self._loop.time())
        self._sweep = None
        if self._queue.ready:
            self._wake_lanes(LANES)
        if not self._queue.idle:
            self._sweep_later()

    def _wake_lanes(self, count: int) -> None:
        for _ in range(min(count, len(self._idle))):
            idle = self._idle.pop()
            if not idle.done():
                idle.set_result(None)

    async def _idle_until_woken(self) -> None:
        idle: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(idle)
        try:
            await idle
        finally:
            with suppress(ValueError):
                self._idle.remove(idle)

    async def _new_writer(self, lane: int) -> Writer:
        return await Writer.open(self._connect, self._lane_name(lane), self._partition)

    def _lane_name(self, number: int) -> str:
        return connection_name(f"append-{self._partition}-{number}", self._node_id)

    async def _run_lane(self, number: int, writer: Writer | None) -> None:
        try:
            while True:
                batch = self._queue.take(number)
                if batch is None:
                    if self._queue.ready:  # let in only now, as callers have gone
                        continue
                    if self._closing and self._queue.empty:
                        return
                    await self._idle_until_woken()
                    continue
                if self._queue.ready:
                    self._wake_lanes(1)
                try:
                    writer = await self._see_through(number, writer, batch)
                except Exception as error:
                    logger.exception("append_failed", events=len(batch.appends))
                    self._fail(batch, f"the append failed: {error!r}")
                    writer = None
                finally:
                    self._queue.release(number)
                    if self._closing:
                        self._wake_lanes(len(self._idle))
        finally:
            if writer is not None:
                with suppress(Exception):
                    await writer.connection.close(timeout=1)

    def _fail(self, batch: Batch, reason: str) -> None:
        self._heads.forget(batch.streams)
        for waiting in batch.appends:
            waiting.settle(LogUnavailable(reason, outcome_unknown=True))

    async def _see_through(self, number: int, writer: Writer | None, batch: Batch) -> Writer:
        """Brings every caller of a batch a result, and returns the writer to go on with."""
        appends = batch.appends
        known_position = self._position
        broken_pid: int | None = None
        attempt = 0
        while True:
            try:
                if writer is None:
                    writer = await self._new_writer(number)
                if broken_pid is not None:
                    await self._settle_written(writer, appends, broken_pid, number, known_position)
                    broken_pid = None
                if attempt:
                    appends = [waiting for waiting in appends if not waiting.done.done()]
                if appends:
                    await self._write(writer, appends, batch.streams)
                return writer
            except Exception as error:
                if not is_passing(error) or (self._closing and attempt > 1):
                    raise
                logger.warning("log_unavailable", attempt=attempt, error=f"{type(error).__name__}: {error}")
                self._heads.clear()
                if writer is not None:
                    broken_pid = writer.pid if broken_pid is None else broken_pid
                    await discard(writer.connection)
                    writer = None
                await asyncio.sleep(backoff_seconds(attempt))
                attempt += 1

    async def _write(self, writer: Writer, appends: list[Waiting], streams: list[str]) -> None:
        known = await self._heads.look_up(writer.connection, streams)
        placement = place(appends, known)
        known_position = self._position
        if placement is not None:
            try:
                found = await writer.write(known_position, appends, placement)
            except Exception as error:
                if not is_refusal(error):
                    raise
                if getattr(error, "sqlstate", None) not in _EXPECTED_SQLSTATES:
                    logger.warning("append_refused", error=str(error), events=len(appends))
            else:
                placement.remember(appends)
                self._acknowledge(appends, found)
                return
        self._heads.forget(streams)
        position, decided = await sort_out(writer, appends, self._heads)
        if position < known_position:
            logger.error("log_went_backwards", seen=known_position, found=position)
            self._position = position
        self._settle(appends, decided)

    async def _settle_written(
        self, writer: Writer, appends: list[Waiting], broken_pid: int, number: int, known_position: int
    ) -> None:
        """After a broken connection: acknowledge what was written all the same."""
        found = await find_written(
            writer.connection,
            self._partition,
            appends,
            broken_pid=broken_pid,
            broken_name=self._lane_name(number),
            known_position=known_position,
        )
        written = [waiting for waiting in appends if waiting in found]
        self._settle(written, [found[waiting] for waiting in written])

    def _settle(self, appends: list[Waiting], decided: Sequence[Appended | BaseException]) -> None:
        pairs = zip(appends, decided, strict=True)
        written = [(waiting, result) for waiting, result in pairs if isinstance(result, Appended)]
        for waiting, result in zip(appends, decided, strict=True):
            if not isinstance(result, Appended):
                waiting.settle(result)
        if written:
            self._acknowledge([waiting for waiting, _ in written], [result for _, result in written])

    def _acknowledge(self, appends: list[Waiting], found: list[Appended]) -> None:
        self._position = max(self._position, *[result.last_position for result in found])
        waited_seconds = self._loop.time() - (appends[0].deadline - self._timeout_seconds)
        events = sum([len(waiting.events) for waiting in appends])
        self._figures.note(events=events, appends=len(appends), seconds=waited_seconds)
        for waiting, result in zip(appends, found, strict=True):
            done = waiting.done
            if not done.done():
                done.set_result(result)
        self._on_committed(appends, found)
