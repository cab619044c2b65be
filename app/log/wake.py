"""Wake-ups: who has something new to read. They carry no data, so a lost one costs a heartbeat and never an event."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager


class Signal:
    """Set by any number of wake-ups, cleared by its one reader.

    A reader waits again after every event, almost never until the time-out. So there is one timer for many waits, which
    looks when it goes off whether it is too early: a timer for each wait took longer than the wake-up itself.
    """

    __slots__ = ("_deadline", "_is_set", "_loop", "_timer", "_waiter")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_set = False
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    @property
    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(True)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self, timeout_seconds: float) -> bool:
        """True if it was set, False after the time-out."""
        if self._is_set:
            return True
        loop = self._loop
        deadline = loop.time() + timeout_seconds
        if self._timer is None or deadline < self._deadline:
            self.close()
            self._timer = loop.call_at(deadline, self._look)
        self._deadline = deadline
        waiter = self._waiter = loop.create_future()
        try:
            return await waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """Nobody will wait any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        else:
            waiter.set_result(False)


class Wakeups:
    """The readers of this process, by stream."""

    def __init__(self) -> None:
        self._signals: dict[str, set[Signal]] = defaultdict(set)
        self._listeners: list[Callable[[], None]] = []

    def on_any(self, listener: Callable[[], None]) -> None:
        """Call `listener` at every wake-up of any stream, from the event loop."""
        self._listeners.append(listener)

    @contextmanager
    def signal(self, stream: str) -> Generator[Signal]:
        """A signal that is set whenever the stream may have something new."""
        signal = Signal()
        self._signals[stream].add(signal)
        try:
            yield signal
        finally:
            signal.close()
            self._signals[stream].discard(signal)
            if not self._signals[stream]:
                del self._signals[stream]

    def streams(self) -> list[str]:
        """Streams that somebody in this process is reading."""
        return list(self._signals)

    def wake(self, streams: Iterable[str]) -> None:
        for stream in streams:
            for signal in self._signals.get(stream, ()):
                signal.set()
        for listener in self._listeners:
            listener()

    def wake_all(self) -> None:
        """After something that may have lost wake-ups."""
        self.wake(self.streams())
