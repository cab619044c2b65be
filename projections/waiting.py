"""Readers that wait until projections have reached a position: reading one's own writes."""

import asyncio
import threading
from contextlib import suppress

import msgspec

from projections.checkpoints import Checkpoints


class ProjectionLag(Exception):
    """The views have not reached the position within the limit. Read again later, or answer with what they have.

    `behind` is how many events each of `names` still has to fold; `reason` says why one of them is stopped.
    """

    def __init__(
        self, names: tuple[str, ...], position: int, behind: dict[str, int], reason: str = ""
    ) -> None:
        late = ", ".join(f"{name} by {events}" for name, events in behind.items()) or ", ".join(names)
        super().__init__(
            f"position {position} is not reached: {late} events behind{reason and f' ({reason})'}"
        )
        self.names = names
        self.position = position
        self.behind = behind
        self.reason = reason


class _Waiter(msgspec.Struct, eq=False, frozen=True):
    position: int
    names: tuple[str, ...]
    partition: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Waiters:
    """Waiting happens in event loops, `settle` is called by the thread that folds."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._lock = threading.Lock()
        self._waiting: set[_Waiter] = set()

    async def wait(
        self, position: int, timeout_seconds: float, names: tuple[str, ...], partition: int
    ) -> None:
        """Raises `ProjectionLag`."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(position, names, partition, loop, loop.create_future())
        with self._lock:
            self._waiting.add(waiter)
        try:
            self._settle_one(waiter)  # after adding it: whatever happens from here on is told to it
            async with asyncio.timeout(timeout_seconds):
                await waiter.done
        except TimeoutError:
            raise self._lag(waiter) from None
        finally:
            with self._lock:
                self._waiting.discard(waiter)

    def settle(self) -> None:
        """Something has moved or stopped."""
        with self._lock:
            waiting = tuple(self._waiting)
        for waiter in waiting:
            self._settle_one(waiter)

    def fail_all(self, reason: str) -> None:
        with self._lock:
            waiting = tuple(self._waiting)
        for waiter in waiting:
            self._tell(waiter, self._lag(waiter, reason))

    def _settle_one(self, waiter: _Waiter) -> None:
        late = [name for name in waiter.names if self._behind(name, waiter)]
        if not late:
            self._tell(waiter, None)
            return
        stopped = next((poison for name in late if (poison := self._checkpoints.stopped(name))), None)
        if stopped is not None:
            self._tell(waiter, self._lag(waiter, f"stopped at position {stopped.position}: {stopped.reason}"))

    def _behind(self, name: str, waiter: _Waiter) -> int:
        return max(0, waiter.position - self._checkpoints.position(name, waiter.partition))

    def _lag(self, waiter: _Waiter, reason: str = "") -> ProjectionLag:
        behind = {name: events for name in waiter.names if (events := self._behind(name, waiter))}
        return ProjectionLag(tuple(behind), waiter.position, behind, reason)

    @staticmethod
    def _tell(waiter: _Waiter, error: ProjectionLag | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            waiter.loop.call_soon_threadsafe(_set, waiter.done, error)


def _set(done: asyncio.Future[None], error: ProjectionLag | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
