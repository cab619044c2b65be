"""Finding runs that nobody holds: their process died, or they were left at its shutdown. Any node takes them up.

A look every third of the lease time, and one at the start: so a run goes on within its lease time and a third of it
after its worker was last heard of. What is open comes from a view of the log; whether somebody holds it, from the
leases; and the claim decides, so a late view or two finders at once do no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import structlog

from app.log.errors import LogError
from app.log.log import Log
from app.runs.runner import Runs

LOOK_SECONDS_MAX = 2.0

logger = structlog.get_logger(__name__)


class Open(Protocol):
    """A task that has not ended, as a view of the log knows it."""

    @property
    def task_id(self) -> UUID: ...
    @property
    def stream(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


ListOpen = Callable[[], Awaitable[Sequence[Open]]]


class Finder:
    """One instance a process; `open` when runs may begin, `close` before the runs are closed."""

    def __init__(self, log: Log, runs: Runs, list_open: ListOpen) -> None:
        self._log = log
        self._runs = runs
        self._list_open = list_open
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._looking = asyncio.create_task(self._look_forever(), name="runs-finder")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def look(self) -> int:
        """Take up what nobody holds; returns how many. Raises what the view and the log raise."""
        tasks = [task for task in await self._list_open() if not self._runs.is_running(task.task_id)]
        if not tasks:
            return 0
        held = await self._log.held(task.task_id for task in tasks)
        # A message that has just come is still on its way to a worker.
        young = datetime.now(UTC) - self._runs.lease_time
        found = [task for task in tasks if task.task_id not in held and task.created_at <= young]
        for task in found:
            logger.info("run_taken_up", task_id=str(task.task_id))
            self._runs.resume(task.task_id, task.stream)
        return len(found)

    async def _look_forever(self) -> None:
        pause_seconds = min(LOOK_SECONDS_MAX, self._runs.lease_time.total_seconds() / 3)
        while True:
            try:
                await self.look()
            except LogError as error:
                logger.warning("finder_waits", error=str(error))
            except Exception:
                logger.warning("finder_broke", exc_info=True)  # the next look may do better
            await asyncio.sleep(pause_seconds)
