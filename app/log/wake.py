"""Wake-ups: who has something new to read. They carry no data, so a lost one costs a heartbeat and never an event."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager


class Signal:
    """Set by any number of wake-ups, cleared by its one reader."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    async def wait(self, timeout_seconds: float) -> bool:
        """True if it was set, False after the time-out."""
        if self._event.is_set():
            return True
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


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
