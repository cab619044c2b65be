"""The log as the rest of the service sees it: one object to append, read, claim and subscribe."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec
import structlog

from app.core.envelope import NewEvent
from app.log.append import APPEND_TIMEOUT_SECONDS, Appender
from app.log.batch import Appended, Lease, Waiting, array_literal, recorded
from app.log.connections import (
    CONNECT_TIMEOUT_SECONDS,
    GONE,
    Connection,
    Pool,
    Record,
    close_pool,
    connect,
    connection_name,
    is_passing,
    read_pool,
)
from app.log.errors import LogUnavailable
from app.log.exclusive import Exclusive
from app.log.figures import LogFigures
from app.log.live import LiveAnswers
from app.log.notify import CHANNEL_ANSWERS, CHANNEL_LOG, Notifier
from app.log.read import LogReader, read_epoch
from app.log.sql import statement
from app.log.subscribe import BATCH_EVENTS_MAX, HEARTBEAT_SECONDS, Filter, Subscription
from app.log.tail import Tails
from app.log.wake import Wakeups

logger = structlog.get_logger(__name__)


class Resumption(msgspec.Struct, frozen=True):
    """The answer to a cursor: nothing missed, `missed` events to come, or cannot (start from a snapshot at `head`)."""

    answer: Literal["nothing_missed", "missed", "cannot"]
    after: int
    head: int
    epoch: str
    missed: int = 0
    reason: Literal["other_epoch", "beyond_end"] | None = None


class Log:
    """Everything of one process about the log. Build with `open_log`."""

    def __init__(
        self,
        dsn: str,
        pool: Pool,
        node_id: str,
        partitions: int,
        *,
        timeout_seconds: float,
        on_replaced: Callable[[], None] | None,
    ) -> None:
        self._dsn = dsn
        self._pool = pool
        self.node_id = node_id
        self.reader = LogReader(pool)
        self._exclusive = Exclusive(pool)
        self.wakeups = Wakeups()
        self.tails = Tails(self.reader)
        self._notifier = Notifier(
            self._connect,
            node_id=node_id,
            heard={CHANNEL_LOG: self._heard_events, CHANNEL_ANSWERS: self._heard_answers},
            on_reconnected=self._look_at_epoch,
        )
        self.live = LiveAnswers(
            pool, self.wakeups, lambda streams: self._notifier.tell(CHANNEL_ANSWERS, streams)
        )
        self._appenders = [
            Appender(
                self._connect,
                node_id=node_id,
                partition=partition,
                on_committed=self._committed,
                timeout_seconds=timeout_seconds,
            )
            for partition in range(partitions)
        ]
        self.epoch = ""
        self._on_replaced = on_replaced

    async def start(self) -> None:
        """Raises `LogUnavailable`; call `close` then all the same."""
        try:
            self.epoch = await self.reader.epoch()
            await self._notifier.start()
            for appender in self._appenders:
                await appender.start()
        except GONE as error:
            raise LogUnavailable(f"the database cannot be reached: {error}") from error
        await self.live.start()

    def stop_reading(self) -> None:
        """Every subscription ends (`Stopped`), now and from here on: the service is shutting down."""
        self.tails.stopped = True
        self.wakeups.wake_all()

    async def close(self) -> None:
        """Writes what is queued (at most 30 s), then closes every connection. Also after a failed start."""
        await asyncio.gather(*(appender.close() for appender in self._appenders))
        await self.live.close()
        await self._notifier.close()
        await close_pool(self._pool)

    @property
    def figures(self) -> LogFigures:
        """What there is to count, without a query."""
        return LogFigures(
            tuple(appender.figures for appender in self._appenders),
            len(self.wakeups.streams()),
            self._pool.get_size(),
            self._pool.get_idle_size(),
        )

    @property
    def partitions(self) -> int:
        return len(self._appenders)

    def partition_of(self, stream: str) -> int:
        """CRC-32 of the name, modulo the partitions; the number of partitions is fixed for the life of a log."""
        if len(self._appenders) == 1:
            return 0
        return zlib.crc32(stream.encode(errors="surrogatepass")) % len(self._appenders)

    async def append(
        self,
        stream: str,
        new: Iterable[NewEvent],
        *,
        expected_offset: int | None = None,
        idempotency_key: str | None = None,
        lease: Lease | None = None,
        closes: tuple[UUID, ...] = (),
    ) -> Appended:
        """Append events to a stream: all of them or none, in this order, durable when this returns.

        `expected_offset`: the stream's head has to be this (0: the stream has no events). `idempotency_key`: if the
        stream has an append with this key, its result is returned and nothing is written. `lease`: the run's lease
        has to have this epoch. `closes`: open answers that end in the same transaction.

        Raises `InvalidAppend` (1-256 events and 64 MiB in all), `PayloadTooLarge` (over 1 MiB), `OffsetConflict`,
        `IdempotencyMismatch`, `LeaseLost`, `LogOverloaded` (the queue of 10 000 events or 64 MiB stayed full for 30
        s) and `LogUnavailable` (30 s without the database, or closing). A caller that is cancelled leaves its append
        unwritten if no lane has taken it yet.
        """
        appender = self._appenders[self.partition_of(stream)]
        return await appender.submit(stream, new, expected_offset, idempotency_key, lease, closes)

    async def claim(self, task_id: UUID, worker: str, ttl: timedelta) -> Lease | None:
        """Take the lease of a run that is free, expired or one's own; None if another worker holds it.

        Appends with an older epoch are refused from here on. Raises `LogUnavailable`.
        """
        rows = await self._change_leases("claim_lease", task_id, worker, ttl)
        return Lease(task_id, rows[0]["epoch"]) if rows else None

    async def renew(self, worker: str, task_ids: Iterable[UUID], ttl: timedelta) -> set[UUID]:
        """Prolong the worker's leases; returns those that it still holds. Raises `LogUnavailable`."""
        rows = await self._change_leases("renew_leases", worker, array_literal(list(task_ids)), ttl)
        return {row["task_id"] for row in rows}

    async def held(self, task_ids: Iterable[UUID]) -> set[UUID]:
        """Those of the runs that some worker holds now. Raises `LogUnavailable`."""
        try:
            rows = await self._pool.fetch(statement("leases_alive"), array_literal(list(task_ids)))
        except GONE as error:
            raise LogUnavailable("the database cannot be reached; try again") from error
        return {row["task_id"] for row in rows}

    async def release(self, lease: Lease) -> None:
        """Give a lease back after the run's terminal event. Raises `LogUnavailable`."""
        await self._change_leases("release_lease", lease.task_id, lease.epoch)

    def exclusively(self, *names: str) -> AbstractAsyncContextManager[None]:
        """`async with`: nobody else, on whatever node, holds one of these names. For what is over within 60 s.

        Raises `LogOverloaded` where that takes longer than 10 s, and `LogUnavailable`.
        """
        return self._exclusive.hold(names)

    async def resume(self, stream: str, after: int, epoch: str | None) -> Resumption:
        """What a reader at this cursor has missed. Raises `LogUnavailable`."""
        head = await self.reader.head(stream)
        if epoch is not None and epoch != self.epoch:
            return Resumption("cannot", after, head, self.epoch, reason="other_epoch")
        if after > head:
            return Resumption("cannot", after, head, self.epoch, reason="beyond_end")
        if after == head:
            return Resumption("nothing_missed", after, head, self.epoch)
        return Resumption("missed", after, head, self.epoch, missed=head - after)

    @asynccontextmanager
    async def subscribe(
        self,
        stream: str,
        *,
        after: int = 0,
        wanted: Filter | None = None,
        deltas: bool = True,
        batch_events_max: int = BATCH_EVENTS_MAX,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> AsyncGenerator[Subscription]:
        """A cursor on a stream behind offset `after`. `deltas`: also what is being said right now."""
        with self.wakeups.signal(stream) as signal:
            self.tails.attach(stream)
            try:
                if deltas:
                    await self.live.fetch(stream)
                subscription = Subscription(
                    stream,
                    after=after,
                    signal=signal,
                    tails=self.tails,
                    live=self.live if deltas else None,
                    wanted=wanted or Filter(),
                    batch_events_max=batch_events_max,
                    heartbeat_seconds=heartbeat_seconds,
                )
                try:
                    yield subscription
                finally:
                    await subscription.close()
            finally:
                if self.tails.detach(stream):
                    self.live.forget(stream)

    async def _change_leases(self, name: str, *arguments: object) -> list[Record]:
        """What an append would wait out, callers do here: also a lock or a disk that is not to be had for a while."""
        try:
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as connection:
                return await connection.fetch(statement(name), *arguments)
        except Exception as error:
            if not is_passing(error):
                raise
            raise LogUnavailable("the database cannot be reached; try again") from error

    async def _connect(self, name: str, *, durable: bool = True) -> Connection:
        return await connect(self._dsn, name=name, durable=durable)

    def _committed(self, appends: Sequence[Waiting], found: Sequence[Appended]) -> None:
        streams = {waiting.stream for waiting in appends}
        if read_here := self.tails.streams & streams:
            for waiting, appended in zip(appends, found, strict=True):
                if waiting.stream in read_here:
                    self._grow_tail(waiting, appended)
        self.wakeups.wake(streams)
        self._notifier.tell(CHANNEL_LOG, streams)

    def _grow_tail(self, waiting: Waiting, appended: Appended) -> None:
        """What was written here need not be read for those who read here."""
        if appended.duplicate:
            self.tails.doubt([waiting.stream])
        else:
            partition = self.partition_of(waiting.stream)
            self.tails.grow(waiting.stream, recorded(waiting, appended, partition))

    def _wake(self, streams: Collection[str]) -> None:
        self.tails.doubt(streams)
        self.wakeups.wake(streams)

    def _heard_events(self, streams: list[str] | None) -> None:
        if streams is not None:
            for appender in self._appenders:
                appender.heard_of(streams)
        self._wake(self.wakeups.streams() if streams is None else streams)

    async def _look_at_epoch(self, connection: Connection) -> None:
        """Behind a connection that broke may be another log, after a failover or a restore: then what this process
        knows, and where its readers stand, is of no use.
        """
        epoch = await read_epoch(connection)
        if epoch != self.epoch:
            logger.error("log_replaced", was=self.epoch, now=epoch)
            self.epoch = epoch
            if self._on_replaced is not None:
                self._on_replaced()

    def _heard_answers(self, streams: list[str] | None) -> None:
        self.live.refresh(streams)


async def open_log(
    dsn: str,
    *,
    node_id: str,
    timeout_seconds: float = APPEND_TIMEOUT_SECONDS,
    on_replaced: Callable[[], None] | None = None,
) -> Log:
    """Connects, and starts what a process needs of the log. Raises `LogUnavailable`.

    `on_replaced` is called when behind a new connection there is a log of another epoch. End the process then.
    """
    pool: Pool | None = None
    try:
        pool = await read_pool(dsn, name=connection_name("read", node_id))
        partitions = int(await pool.fetchval(statement("partitions")))
    except (*GONE, asyncpg.UndefinedTableError) as error:
        if pool is not None:
            await close_pool(pool)
        if isinstance(error, asyncpg.UndefinedTableError):
            raise LogUnavailable("the database has no log yet; run `minutebook migrate`") from error
        raise LogUnavailable(f"the database cannot be reached: {error}") from error
    log = Log(dsn, pool, node_id, partitions, timeout_seconds=timeout_seconds, on_replaced=on_replaced)
    try:
        await log.start()
    except BaseException:
        await log.close()
        raise
    return log


__all__ = ["Appended", "Lease", "Log", "Resumption", "open_log"]
