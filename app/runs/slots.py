"""Slots: so many runs go on at once in a process. A run that waits for a person lends its slot to another."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from app.runs.record import Stop


class Slot:
    """A run's place among those that go on. Take it with `entered`."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._held = False
        self._lent = 0

    @asynccontextmanager
    async def entered(self, stopped: asyncio.Future[Stop | None]) -> AsyncGenerator[None]:
        """Waits for a free slot; a run that is stopped meanwhile goes on without, only to end."""
        taking = asyncio.create_task(self._slots.acquire())
        try:
            await asyncio.wait({taking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            if not taking.cancel():
                self._slots.release()
            raise
        if taking.cancel():
            await asyncio.wait({taking})
        else:
            self._held = True
        try:
            yield
        finally:
            self._give_back()

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[None]:
        """The slot is free for others meanwhile. A run that ends while it waits does not take it back."""
        if self._lent == 0:
            self._give_back()
        self._lent += 1
        try:
            yield
        except BaseException:
            self._lent -= 1
            raise
        self._lent -= 1
        if self._lent == 0 and not self._held:
            await self._slots.acquire()
            self._held = True

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            self._slots.release()
