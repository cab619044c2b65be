"""When keys were used: an event in the stream of the key's user, at most one in 10 minutes over all nodes."""

import asyncio
import time
from collections.abc import Callable

import structlog

from app.auth.directory import ApiKey
from app.core.admin_events import KeyUsed
from app.core.envelope import NewEvent, user_actor
from app.core.streams import user
from app.log.errors import LogError
from app.log.ids import new_id
from app.log.log import Log

BUCKET_SECONDS = 600
CLOSE_SECONDS_MAX = 5.0

logger = structlog.get_logger(__name__)


class KeyUses:
    """A note that fails is made again at the next use. `clock` in seconds since 1970, as all nodes have it."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock
        self._bucket = 0
        self._noted: set[str] = set()
        self._noting: set[asyncio.Task[None]] = set()

    def note(self, key: ApiKey) -> None:
        """The key was used now. Returns at once: nobody waits for it."""
        bucket = int(self._clock() // BUCKET_SECONDS)
        if bucket != self._bucket:
            self._bucket = bucket
            self._noted.clear()
        if key.key_id in self._noted:
            return
        self._noted.add(key.key_id)
        noting = asyncio.create_task(self._append(key, bucket), name="key-used")
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def close(self) -> None:
        """Waits for what is under way, at most 5 s."""
        if self._noting:
            _, late = await asyncio.wait(self._noting, timeout=CLOSE_SECONDS_MAX)
            for task in late:
                task.cancel()

    async def _append(self, key: ApiKey, bucket: int) -> None:
        event = NewEvent(new_id(), KeyUsed(key.key_id), user_actor(key.user_id))
        try:
            await self._log.append(
                user(key.user_id), [event], idempotency_key=f"key.used/{key.key_id}/{bucket}"
            )
        except LogError as error:
            self._noted.discard(key.key_id)
            logger.warning("key_use_not_noted", key_id=key.key_id, error=str(error))
