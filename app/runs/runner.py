"""The runs of a process: started, queued, watched, kept under lease and brought to one terminal event.

    start ─► pending ──slot──► claimed ─► driven ─► ended
                └── cancelled, deleted, time-out, shutdown ──┘      lease lost: left alone, another worker owns it

A run belongs to the process, not to a socket. Nothing here is needed to find a run again: the log has it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from app.core.events import RunRequested
from app.core.intents import Mode, RunStart
from app.core.texts import Locale, text
from app.gateway.model import Model
from app.log.errors import HoleInLog, LeaseLost, LogError, LogUnavailable
from app.log.log import Lease, Log
from app.runs.accept import Accepted
from app.runs.driver import Cancelled, Driver, Ending, Failed
from app.runs.effects import Effects
from app.runs.history import read_history
from app.runs.ledger import RETRY_SECONDS, Ledger, patiently
from app.runs.modes import MODES
from app.runs.record import RunRecord, Stop, fold, read_events, stop_of
from app.runs.refused import TooManyRuns
from app.tools.toolbox import ToolBox

RUNNING_MAX = 64
PENDING_MAX = 1_000
LEASE_SECONDS = 10.0
WATCH_SECONDS = 0.2
CLOSE_SECONDS = 10.0
ABANDON_SECONDS = 1.0
SHUTDOWN = Stop("system", "shutdown")

logger = structlog.get_logger(__name__)


class _Entry:
    """A run of this process. `stopped`: somebody ended it; None: its lease was lost."""

    def __init__(self, task_id: UUID, stream: str, after: int | None) -> None:
        self.task_id = task_id
        self.stream = stream
        self.after = after
        self.lease: Lease | None = None
        self.stopped: asyncio.Future[Stop | None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None

    def stop(self, stop: Stop | None) -> None:
        if not self.stopped.done():
            self.stopped.set_result(stop)


class Runs:
    """One instance a process; `open` before, `close` after use (before the log's own).

    At most `running_max` runs go on at once, further ones wait; with `pending_max` waiting, `admit` refuses more.
    `now` is the clock that tools are given.
    """

    def __init__(
        self,
        log: Log,
        model: Model,
        toolbox: ToolBox,
        *,
        running_max: int = RUNNING_MAX,
        pending_max: int = PENDING_MAX,
        lease_seconds: float = LEASE_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._model = model
        self._toolbox = toolbox
        self._slots = asyncio.Semaphore(running_max)
        self._running_max = running_max
        self._pending_max = pending_max
        self._ttl = timedelta(seconds=lease_seconds)
        self._now = now
        self._entries: dict[UUID, _Entry] = {}
        self._closing = False
        self._renewing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begins to renew the leases, every third of their time."""
        self._renewing = asyncio.create_task(self._renew_forever(), name="runs-renew")

    async def close(self) -> None:
        """Ends every run as cancelled by `system`, reason `shutdown`. After 10 s the rest is left to other workers."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._entries:
                    for entry in self._entries.values():
                        entry.stop(SHUTDOWN)
                    await asyncio.wait(self._tasks())
        for _ in range(2):  # the first lets an append end, the second abandons it
            for task in (late := self._tasks()):
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=ABANDON_SECONDS)
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def admit(self) -> None:
        """Raises `TooManyRuns` while `pending_max` runs are waiting. Call before a message is accepted."""
        if len(self._entries) >= self._running_max + self._pending_max:
            raise TooManyRuns(limit=self._pending_max)

    def is_running(self, task_id: UUID) -> bool:
        """Whether this process has the task, running or waiting."""
        return task_id in self._entries

    def start(self, accepted: Accepted) -> asyncio.Task[None]:
        """Bring an accepted task to its end. Never raises; a task that this process has is not started twice."""
        return self._begin(accepted.task_id, accepted.stream, accepted.offset)

    def resume(self, task_id: UUID, stream: str) -> asyncio.Task[None]:
        """Take over a task that no worker holds: replay what is recorded and go on. No-op if it has ended."""
        return self._begin(task_id, stream, None)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [entry.task for entry in self._entries.values() if entry.task is not None]

    def _begin(self, task_id: UUID, stream: str, after: int | None) -> asyncio.Task[None]:
        entry = self._entries.get(task_id)
        if entry is None or entry.task is None:
            entry = self._entries[task_id] = _Entry(task_id, stream, after)
            if self._closing:
                entry.stop(SHUTDOWN)
            entry.task = asyncio.create_task(self._see_through(entry), name=f"run-{task_id}")
        return entry.task

    async def _see_through(self, entry: _Entry) -> None:
        bound = logger.bind(task_id=str(entry.task_id))
        try:
            if entry.after is None:
                entry.after = await patiently(lambda: self._log.reader.head(entry.stream))
            async with self._watched(entry), self._slot(entry):
                await self._own(entry)
        except LeaseLost:
            bound.warning("run_lease_lost")
        except LogUnavailable:
            bound.error("run_left_to_recovery", reason="the database stayed away")
        except Exception:
            bound.exception("run_left_to_recovery")
        finally:
            del self._entries[entry.task_id]

    @asynccontextmanager
    async def _slot(self, entry: _Entry) -> AsyncGenerator[None]:
        """Waits for one of the slots; a run that is stopped meanwhile goes on without, only to end."""
        waiting = asyncio.create_task(self._slots.acquire())
        try:
            await asyncio.wait({waiting, entry.stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait({waiting})
            yield
        finally:
            if not waiting.cancel() and not waiting.cancelled():
                self._slots.release()

    async def _own(self, entry: _Entry) -> None:
        lease = await patiently(lambda: self._log.claim(entry.task_id, self._log.node_id, self._ttl))
        if lease is None:
            return
        entry.lease = lease
        events = await patiently(lambda: read_events(self._log.reader, entry.stream, entry.task_id))
        record = fold(events, entry.task_id)
        if record is not None and not record.ended:
            ledger = Ledger(self._log, entry.stream, lease, record, ttl=self._ttl)
            await self._drive(entry, record, ledger)
            lease = ledger.lease
        with suppress(LogError):
            await self._log.release(lease)

    async def _drive(self, entry: _Entry, record: RunRecord, ledger: Ledger) -> None:
        requested = record.requested
        locale: Locale = "zh" if requested.locale == "zh" else "en"
        until = record.history_until if record.began_at else record.head
        claimed_at = await ledger.claimed(history_until=until)
        effects = Effects(
            self._model,
            self._toolbox,
            self._log.live,
            task_id=record.task_id,
            stream=entry.stream,
            requested=requested,
            locale=locale,
            now=self._now,
        )
        driver = Driver(record, ledger, effects, locale=locale, claimed_at=claimed_at)
        try:
            ending = await self._ending(entry, record, driver, until, locale)
            await driver.end(ending)
        finally:
            driver.forget()

    async def _ending(
        self, entry: _Entry, record: RunRecord, driver: Driver, until: int, locale: Locale
    ) -> Ending:
        try:
            if record.stop is not None:
                return Cancelled(record.stop)
            mode = MODES.get(record.requested.mode)
            if mode is None:
                return Failed("mode_missing", text("run_mode_gone", locale, mode=record.requested.mode))
            start = await patiently(lambda: self._run_start(entry.stream, record, until))
            return await self._until_stopped(entry, driver, mode.run(start), record.requested, locale)
        except (LeaseLost, LogUnavailable):
            raise
        except Exception:
            reference = str(record.task_id)[:8]
            logger.exception("run_broke", task_id=str(record.task_id), reference=reference)
            return Failed("internal", text("internal", locale, reference=reference))

    async def _run_start(self, stream: str, record: RunRecord, until: int) -> RunStart:
        requested = record.requested
        history = await read_history(
            self._log.reader, stream, task_id=record.task_id, until=until, max_history=requested.max_history
        )
        return RunStart(
            requested.input,
            requested.system_prompt,
            history,
            tuple(ref.spec for ref in requested.tools),
            requested.limits,
            requested.model,
            requested.sources,
        )

    async def _until_stopped(
        self, entry: _Entry, driver: Driver, mode: Mode, requested: RunRequested, locale: Locale
    ) -> Ending:
        """The mode's own ending, or that of whoever is first: a cancel, the time limit, the loss of the lease."""
        limit_seconds = requested.limits.timeout_seconds
        work = asyncio.create_task(driver.advance(mode), name=f"mode-{entry.task_id}")
        try:
            left_seconds = max(0.0, limit_seconds - driver.elapsed_seconds)
            ended, _ = await asyncio.wait(
                {work, entry.stopped}, timeout=left_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
        finally:
            work.cancel()
        if not work.cancelled():
            return work.result()
        if work in ended:
            raise RuntimeError("something within the run cancelled it")
        if not entry.stopped.done():
            return Failed("timeout", text("run_timeout", locale, seconds=f"{limit_seconds:g}"))
        stop = entry.stopped.result()
        if stop is None:
            raise LeaseLost(entry.task_id, entry.lease.epoch if entry.lease else 0)
        return Cancelled(stop)

    @asynccontextmanager
    async def _watched(self, entry: _Entry) -> AsyncGenerator[None]:
        """Meanwhile, look out for whoever ends the run, on this node or another."""
        watching = asyncio.create_task(self._watch(entry), name=f"watch-{entry.task_id}")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, entry: _Entry) -> None:
        async with self._log.subscribe(entry.stream, after=entry.after or 0, deltas=False) as subscription:
            while True:
                try:
                    batch = await subscription.next()
                except LogUnavailable:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                except HoleInLog:
                    logger.exception("run_cannot_be_cancelled", task_id=str(entry.task_id))
                    return
                for recorded in batch.events:
                    if (stop := stop_of(recorded, entry.task_id)) is not None:
                        entry.stop(stop)
                        return
                # The run's own events wake it too; so it looks at most five times a second.
                await asyncio.sleep(WATCH_SECONDS)

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._ttl.total_seconds() / 3)
            leased = [entry for entry in self._entries.values() if entry.lease is not None]
            if not leased:
                continue
            try:
                held = await self._log.renew(
                    self._log.node_id, [entry.task_id for entry in leased], self._ttl
                )
            except LogUnavailable:
                continue  # the appends of the runs find out whether they still own them
            except Exception:
                logger.exception("lease_renewal_broke")
                continue
            for entry in leased:
                if entry.task_id not in held:
                    entry.stop(None)
