"""A run as its process knows it, and the watch over its stream: who stops, answers or steers it, or ends before it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from app.core.envelope import Recorded
from app.core.events import TERMINAL_TYPES, Intervention
from app.log.errors import HoleInLog, LogUnavailable
from app.log.log import Lease, Log
from app.log.subscribe import Stopped
from app.runs.ears import Ears
from app.runs.ledger import RETRY_SECONDS
from app.runs.people import Requests
from app.runs.record import Reply, Stop, reply_of, steering_of, stop_of
from app.runs.slots import Slot

WATCH_SECONDS = 0.1

logger = structlog.get_logger(__name__)


class Entry:
    """A run of this process. `stopped`: somebody ended it; None: its lease was lost, or it is left to another."""

    def __init__(self, task_id: UUID, stream: str, after: int | None, slots: asyncio.Semaphore) -> None:
        self.task_id = task_id
        self.stream = stream
        self.after = after
        self.slot = Slot(slots)
        self.lease: Lease | None = None
        self.stopped: asyncio.Future[Stop | None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self.requests: Requests | None = None
        self.ears: Ears | None = None
        self.replies: list[Reply] = []
        self.said: list[Intervention] = []
        self.ended: set[UUID] = set()
        self.interrupt: Callable[[], None] = lambda: None
        self._turned = asyncio.Event()

    def stop(self, stop: Stop | None) -> None:
        if not self.stopped.done():
            self.stopped.set_result(stop)

    def notice(self, recorded: Recorded) -> None:
        """An event of the stream that may concern the run."""
        if (stop := stop_of(recorded, self.task_id)) is not None:
            self.stop(stop)
        elif recorded.type in TERMINAL_TYPES and recorded.task_id is not None:
            self.others_end(recorded.task_id)
        elif (reply := reply_of(recorded, self.task_id)) is not None:
            self.replies.append(reply)
            if self.requests is not None:
                self.requests.told(reply)
        elif (message := steering_of(recorded, self.task_id)) is not None:
            self.said.append(message)
            if self.ears is not None:
                self.ears.say(message)
            self._turned.set()
        elif recorded.type == "run.speaker_interrupted" and recorded.task_id == self.task_id:
            self.interrupt()

    def others_end(self, task_id: UUID) -> None:
        """A task of the stream has ended, this one or another."""
        self.ended.add(task_id)
        if self.ears is not None:
            self.ears.withdraw(task_id)
        if task_id == self.task_id:
            self.stop(None)
        self._turned.set()

    async def until(self, true: Callable[[], bool], *, seconds: float | None = None) -> None:
        """Wait until a task of the stream has ended, or somebody has spoken, so that this is true; or until this run
        is stopped, or the time is over."""
        clock = asyncio.get_running_loop().time
        deadline = None if seconds is None else clock() + seconds
        while not true() and not self.stopped.done():
            left = None if deadline is None else deadline - clock()
            if left is not None and left <= 0:
                return
            self._turned.clear()
            turned = asyncio.create_task(self._turned.wait())
            try:
                await asyncio.wait({turned, self.stopped}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                turned.cancel()


@asynccontextmanager
async def watched(log: Log, entry: Entry) -> AsyncGenerator[None]:
    """Meanwhile, look out for what concerns the run, whichever node it comes from."""
    watching = asyncio.create_task(_watch(log, entry), name=f"watch-{entry.task_id}")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(log: Log, entry: Entry) -> None:
    async with log.subscribe(entry.stream, after=entry.after or 0, deltas=False) as subscription:
        while True:
            try:
                batch = await subscription.next()
            except LogUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except Stopped:
                return
            except HoleInLog:
                logger.exception("run_cannot_be_cancelled", task_id=str(entry.task_id))
                return
            for recorded in batch.events:
                entry.notice(recorded)
            # The run's own events wake it too; so it looks at most ten times a second.
            await asyncio.sleep(WATCH_SECONDS)
