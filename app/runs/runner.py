"""The runs of a process: started, queued, watched, kept under lease and brought to one terminal event.

    start ─► pending ──turn──slot──► claimed ─► driven ─► ended
                └──── cancelled, deleted ────────┘          lease lost, shutdown while it waits: left to another worker

A run belongs to the process, not to a socket. Nothing here is needed to find a run again: the log has it, and the
finder (`app/runs/finder.py`) of any process takes up what nobody holds.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from app.gateway.model import Model
from app.log.errors import LeaseLost, LogUnavailable
from app.log.log import Log
from app.runs.accept import Accepted
from app.runs.entry import Entry, watched
from app.runs.ledger import patiently
from app.runs.lessons import FindLessons
from app.runs.operations import Find, Starts
from app.runs.people import DEADLINE_SECONDS
from app.runs.quotas import Quotas
from app.runs.record import Stop
from app.runs.refused import TooManyRuns
from app.runs.work import Means, see_through
from app.telemetry.logs import run_context
from app.tools.toolbox import ToolBox

RUNNING_MAX = 64
PENDING_MAX = 1_000
LEASE_SECONDS = 10.0
CLOSE_SECONDS = 10.0
ABANDON_SECONDS = 1.0
SHUTDOWN = Stop("system", "shutdown")

logger = structlog.get_logger(__name__)


async def no_operations(stream: str, name: str, arguments: str) -> UUID | None:
    """Where nobody keeps count of operations: none is known to go on."""
    return None


class Runs:
    """One instance a process; `open` before, `close` after use (before the log's own).

    At most `running_max` runs go on at once, further ones wait, and so do all but the first of a conversation; with
    `pending_max` waiting, `admit` refuses more. `now` is the clock that tools are given. Without `quotas` none are set.
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
        deadline_seconds: float = DEADLINE_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        find_operation: Find = no_operations,
        quotas: Quotas | None = None,
        find_lessons: FindLessons | None = None,
    ) -> None:
        self._log = log
        self._slots = asyncio.Semaphore(running_max)
        self._running_max = running_max
        self._pending_max = pending_max
        self._ttl = timedelta(seconds=lease_seconds)
        starts = Starts(find_operation, self.resume)
        self._means = Means(
            log, model, toolbox, self._ttl, deadline_seconds, now, starts, quotas, find_lessons
        )
        self._entries: dict[UUID, Entry] = {}
        self._closing = False
        self._renewing: asyncio.Task[None] | None = None

    @property
    def lease_time(self) -> timedelta:
        """How long a worker that says nothing keeps its runs."""
        return self._ttl

    async def open(self) -> None:
        """Begins to renew the leases, every third of their time."""
        self._renewing = asyncio.create_task(self._renew_forever(), name="runs-renew")

    async def close(self) -> None:
        """Ends what is running as cancelled by `system`, reason `shutdown`. What has not begun, and what waits for a
        person, is left to the next process; so is whatever has not ended after 10 s."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._entries:
                    for entry in self._entries.values():
                        entry.stop(_at_shutdown(entry))
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

    def states(self) -> Counter[str]:
        """How many runs of this process are `running`, `pending` (not claimed yet) or `waiting` for a person."""
        return Counter(_state(entry) for entry in self._entries.values())

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
            entry = self._entries[task_id] = Entry(task_id, stream, after, self._slots)
            if self._closing:
                entry.stop(None)
            entry.task = asyncio.create_task(self._see_through(entry), name=f"run-{task_id}")
        return entry.task

    async def _see_through(self, entry: Entry) -> None:
        bound = logger.bind(task_id=str(entry.task_id))
        ended = False
        try:
            if entry.after is None:
                entry.after = await patiently(lambda: self._log.reader.head(entry.stream))
            with run_context(str(entry.task_id), entry.stream):
                async with watched(self._log, entry):
                    ended = await see_through(self._means, entry)
        except LeaseLost:
            bound.warning("run_lease_lost")
        except LogUnavailable:
            bound.error("run_left_to_recovery", reason="the database stayed away")
        except Exception:
            bound.exception("run_left_to_recovery")
        finally:
            del self._entries[entry.task_id]
            for other in (
                self._entries.values() if ended else ()
            ):  # their watch would tell them too, only later
                if other.stream == entry.stream:
                    other.others_end(entry.task_id)

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


def _state(entry: Entry) -> str:
    if entry.lease is None:
        return "pending"
    return "waiting" if entry.requests is not None and entry.requests.waiting else "running"


def _at_shutdown(entry: Entry) -> Stop | None:
    waits = entry.lease is None or (entry.requests is not None and entry.requests.waiting)
    return None if waits else SHUTDOWN
