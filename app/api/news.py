"""Word that the log has grown, for the sockets of this process that follow views."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager


class News:
    """Tells the sockets of this process that the log has grown."""

    def __init__(self) -> None:
        self._stirred: set[asyncio.Event] = set()

    def stir(self) -> None:
        """Called from the event loop, at every wake-up."""
        for event in self._stirred:
            event.set()

    @contextmanager
    def listening(self) -> Generator[asyncio.Event]:
        """Set whenever there may be something new; the listener clears it."""
        event = asyncio.Event()
        self._stirred.add(event)
        try:
            yield event
        finally:
            self._stirred.discard(event)
