"""The clock of reminders: every node looks at what is due, and rests until the first one is.

    look ──► due? ──► fire each ──► look again
      ▲       │ no
      │       ▼
      └── rest: until the first is due, one is set here, something is new in the log (looked at once a second at most),
          or 15 s are over

What was due while no node was there is found by the first look.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog

from app.log.errors import LogError
from app.runs.reminders import Due, Reminders

HEARTBEAT_SECONDS = 15.0
PAUSE_SECONDS = 1.0
AGAIN_SECONDS = 5.0
"""How long a reminder that could not be fired is left alone by this node."""
AT_ONCE = 8
REST_SECONDS_MIN = 0.001

ListDue = Callable[[datetime, Sequence[str]], Awaitable[Sequence[Due]]]
"""Those that are due at that time, some hundred at most, without these ids."""
NextDue = Callable[[datetime], Awaitable[datetime | None]]
"""When the first is due that is not due at that time."""

logger = structlog.get_logger(__name__)


class ReminderClock:
    """One instance a process; `open` when runs may begin, `close` before they are closed."""

    def __init__(self, reminders: Reminders, list_due: ListDue, next_due: NextDue) -> None:
        self._reminders = reminders
        self._list_due = list_due
        self._next_due = next_due
        self._told = asyncio.Event()
        self._stirred = asyncio.Event()
        self._resting: dict[str, float] = {}
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._looking = asyncio.create_task(self._look_forever(), name="reminders")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def expect(self) -> None:
        """A reminder was set, and the view has it: look when it is due."""
        self._told.set()
        self._stirred.set()

    def stir(self) -> None:
        """There is something new in the log, which may be a reminder of another node's."""
        self._stirred.set()

    async def look(self) -> int:
        """Fire whatever is due; returns how many were. Raises what the view raises."""
        fired = 0
        while True:
            left_alone = self._left_alone()
            due = list(await self._list_due(self._reminders.now(), left_alone))
            if not due:
                return fired
            random.shuffle(due)  # several nodes look at once; they need not all begin with the same
            places = asyncio.Semaphore(AT_ONCE)
            fired += sum(await asyncio.gather(*(self._fire(one, places) for one in due)))

    async def _fire(self, due: Due, places: asyncio.Semaphore) -> bool:
        async with places:
            try:
                fired = await self._reminders.fire(due)
            except LogError as error:
                logger.warning("reminder_waits", reminder_id=due.reminder_id, error=str(error))
                fired = False
            except Exception:
                logger.exception("reminder_broke", reminder_id=due.reminder_id)
                fired = False
        if fired:
            logger.info("reminder_fired", reminder_id=due.reminder_id)
        else:
            clock = asyncio.get_running_loop().time
            self._resting[due.reminder_id] = clock() + AGAIN_SECONDS
        return fired

    def _left_alone(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        self._resting = {one: until for one, until in self._resting.items() if until > now}
        return list(self._resting)

    async def _look_forever(self) -> None:
        while True:
            self._told.clear()
            self._stirred.clear()
            rest_seconds = PAUSE_SECONDS
            try:
                await self.look()
                rest_seconds = await self._seconds_to_next()
            except Exception as error:
                logger.warning("reminders_not_read", error=f"{type(error).__name__}: {error}")
            await self._rest(rest_seconds)

    async def _seconds_to_next(self) -> float:
        now = self._reminders.now()
        due = await self._next_due(now)
        left = HEARTBEAT_SECONDS if due is None else (due - self._reminders.now()).total_seconds()
        if self._resting:
            left = min(left, AGAIN_SECONDS)
        return min(max(left, REST_SECONDS_MIN), HEARTBEAT_SECONDS)

    async def _rest(self, seconds: float) -> None:
        pause_seconds = min(seconds, PAUSE_SECONDS)
        if await _within(self._told, pause_seconds) or seconds <= pause_seconds:
            return
        await _within(self._stirred, seconds - pause_seconds)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set within that time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
