"""A run's appends: every one carries the lease, and is written once although the database may go away in between.

When the outcome of an append is unknown, the lease is claimed again. That gives it a new epoch, so whatever was under
way with the old one is either in the log by then or will never be. The ids of a run's events are derived, so one look
at the log tells which.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog

from app.core.envelope import NewEvent, agent_actor
from app.core.events import Event, RunClaimed
from app.core.ids import derived_id
from app.log.errors import LeaseLost, LogError, LogOverloaded, LogUnavailable
from app.log.log import Lease, Log
from app.runs.record import RunRecord

PATIENCE_SECONDS = 300.0
RETRY_SECONDS = 0.25

T = TypeVar("T")
logger = structlog.get_logger(__name__)


class Ledger:
    """The lease of one run, and appends with it. Raises `LeaseLost` as soon as another worker owns the run, and
    `LogUnavailable` when the database stays away for more than 300 s."""

    def __init__(self, log: Log, stream: str, lease: Lease, record: RunRecord, *, ttl: timedelta) -> None:
        self.stream = stream
        self.lease = lease
        self.offset = record.head
        self._record = record
        self._log = log
        self.ttl = ttl
        self._reclaiming = asyncio.Lock()

    def event(
        self, payload: Event, name: UUID | str, cause: UUID | None = None, *, task_id: UUID | None = None
    ) -> NewEvent:
        """An event of the run. `name` is its id, or what the id is derived from; `task_id`: of another task."""
        of = task_id or self._record.task_id
        return NewEvent(
            name if isinstance(name, UUID) else derived_id(of, name),
            payload,
            agent_actor(self._record.requested.agent),
            of,
            cause or self._record.requested_id,
            self._record.correlation_id,
        )

    async def append(
        self, new: Sequence[NewEvent], *, closes: tuple[UUID, ...] = (), key: str | None = None
    ) -> datetime:
        """Written when it returns, also if the caller is cancelled meanwhile. Returns the database's time.

        `key` is an idempotency key: raises `IdempotencyMismatch` where somebody else was first to use it.
        """
        return await uninterrupted(self._append(new, closes, key))

    async def claimed(self, *, history_until: int, in_turn: bool) -> datetime:
        """Record that this worker has the run."""
        return await self.append([self._claim_event(history_until, in_turn=in_turn)])

    async def _append(
        self, new: Sequence[NewEvent], closes: tuple[UUID, ...], key: str | None = None
    ) -> datetime:
        since = self.offset
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            lease = self.lease
            try:
                appended = await self._log.append(
                    self.stream, new, lease=lease, closes=closes, idempotency_key=key
                )
            except LeaseLost:
                async with self._reclaiming:  # the new epoch may be one's own, claimed beside this append
                    if self.lease is lease:
                        raise
            except (LogUnavailable, LogOverloaded) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                logger.warning("run_append_retried", task_id=str(lease.task_id), error=type(error).__name__)
                await self._reclaim(lease)
            else:
                self.offset = max(self.offset, appended.last_offset)
                return appended.recorded_at
            written_at = await patiently(lambda: self._written(new, since))
            if written_at is not None:
                return written_at

    async def _reclaim(self, lost: Lease) -> None:
        async with self._reclaiming:
            if self.lease is lost:
                await patiently(self._claim_again)

    async def _claim_again(self) -> None:
        lease = await self._log.claim(self.lease.task_id, self._log.node_id, self.ttl)
        if lease is None:
            raise LeaseLost(self.lease.task_id, self.lease.epoch)
        if await self._others_since():
            with suppress(LogError):
                await self._log.release(lease)
            raise LeaseLost(self.lease.task_id, self.lease.epoch)
        self.lease = lease
        await self._log.append(self.stream, [self._claim_event()], lease=lease)

    async def _others_since(self) -> bool:
        """Whether another worker has had the run meanwhile: then it is further than this one knows, or has ended."""
        async for recorded in self._log.reader.all_of(self.stream, after=self.offset):
            if recorded.task_id != self._record.task_id:
                continue
            event = recorded.event() if recorded.type == "run.claimed" else None
            if isinstance(event, RunClaimed) and event.worker != self._log.node_id:
                return True
        return False

    def _claim_event(self, history_until: int = 0, *, in_turn: bool = False) -> NewEvent:
        worker, epoch = self._log.node_id, self.lease.epoch
        claimed = RunClaimed(worker, epoch, history_until, in_turn)
        return self.event(claimed, derived_id(self._record.task_id, "claimed", worker, epoch))

    async def _written(self, new: Sequence[NewEvent], since: int) -> datetime | None:
        """Whether these events are in the log although nobody said so. An append is written whole or not at all."""
        async for recorded in self._log.reader.all_of(self.stream, after=since):
            if recorded.id == new[-1].id:
                return recorded.recorded_at
        return None


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The call's result, tried again while the database is away. Raises `LogUnavailable` after 300 s."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            return await call()
        except (LogUnavailable, LogOverloaded):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(RETRY_SECONDS)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Sees `work` through. If the caller is cancelled meanwhile, that is passed on once the work has ended."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])  # a second cancellation abandons it
        if not task.cancelled():
            task.exception()
        raise
