"""The directory of this process, kept as the log has it: caught up when asked, and on every wake-up of its stream."""

import asyncio
from collections.abc import Callable

import structlog

from app.auth.directory import Directory
from app.core.streams import ADMIN
from app.log.errors import LogError
from app.log.keep_up import keep_up
from app.log.log import Log

logger = structlog.get_logger(__name__)


class FollowedDirectory:
    """`directory` is always the same object. Without `open` it is as new as the last `caught_up`."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.directory = Directory()
        self._listeners: dict[Callable[[], None], None] = {}
        self._following: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads all of the stream, then follows it. Raises `LogUnavailable`."""
        await self.caught_up()
        self._following = asyncio.create_task(self._follow(), name="directory")

    async def close(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change, from the event loop. Returns what ends that."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    async def changed(self, since: int) -> None:
        """Returns when the directory is no longer at offset `since`. Has no limit of its own: cancel it."""
        while self.directory.offset == since:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            stop = self.on_change(lambda told=told: None if told.done() else told.set_result(None))
            try:
                await told
            finally:
                stop()

    async def caught_up(self) -> Directory:
        """The directory with everything that is committed now, on whatever node: one look at the stream's head where
        nothing is new. Raises `LogUnavailable`."""
        reader, directory = self.log.reader, self.directory
        before = directory.offset
        head = await reader.head(ADMIN)
        if head > before:
            async for recorded in reader.all_of(ADMIN, after=before):
                directory.apply(recorded)  # those that somebody else has applied meanwhile change nothing
        elif head < before and directory.offset == before:
            # The database was restored to an earlier time: what was read since then never was.
            logger.warning("directory_went_backwards", seen=before, found=head)
            fresh = Directory()
            async for recorded in reader.all_of(ADMIN):
                fresh.apply(recorded)
            directory.take(fresh)
        if directory.offset != before:
            for listener in list(self._listeners):
                listener()
        return directory

    async def _follow(self) -> None:
        def failed(error: LogError) -> None:
            logger.warning("directory_not_read", error=str(error))

        await keep_up(self.log.wakeups, ADMIN, self.caught_up, failed)
