"""Wake-ups between nodes: NOTIFY after the commit, coalesced, on a connection of its own.

Inside the append transaction it cost 20-26 % of the appends. Payload: the sender's node id, then the streams, a line
each; one `*` instead of the streams where they would not fit into the 8 000 bytes of a notification.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from typing import Protocol

import asyncpg
import structlog

from app.log.connections import GONE, Connection, backoff_seconds, connection_name, discard

PAYLOAD_BYTES_MAX = 7_900
CHANNEL_LOG = "minutebook_log"
CHANNEL_ANSWERS = "minutebook_answers"
CHECK_SECONDS = 10.0
PAUSE_SECONDS = 0.005
"""Between two notifications under load; the first one goes out at once."""

logger = structlog.get_logger(__name__)


class Connect(Protocol):
    """A notification needs no flush to disk, so its commit does not wait for one."""

    async def __call__(self, name: str, *, durable: bool) -> Connection: ...


Heard = Callable[[list[str] | None], None]
"""Called with the streams that another node wrote to; None means any."""


class Notifier:
    """Tells other nodes, and hears them. One instance a process."""

    def __init__(
        self,
        connect: Connect,
        *,
        node_id: str,
        heard: dict[str, Heard],
        on_reconnected: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self._connect = connect
        self._on_reconnected = on_reconnected
        self._node_id = node_id
        self._heard = heard
        self._dirty: dict[str, dict[str, None]] = {channel: {} for channel in heard}
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tell(self, channel: str, streams: Iterable[str]) -> None:
        """Other nodes will be woken for these streams soon; returns at once."""
        self._dirty[channel].update(dict.fromkeys(streams))
        self._wanted.set()

    async def start(self) -> None:
        """Returns when this node hears the others. Raises one of `GONE`."""
        connection = await self._listen()
        self._task = asyncio.create_task(self._run(connection), name="notifier")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> Connection:
        connection = await self._connect(connection_name("notify", self._node_id), durable=False)
        try:
            for channel in self._heard:
                await connection.add_listener(channel, self._on_notification)
            connection.add_termination_listener(lambda _: self._wanted.set())
        except BaseException:
            await discard(connection)
            raise
        return connection

    def _on_notification(self, connection: object, pid: int, channel: str, payload: object) -> None:
        node_id, _, rest = str(payload).partition("\n")
        if node_id != self._node_id:
            self._heard[channel](None if rest == "*" else rest.split("\n"))

    async def _run(self, connection: Connection) -> None:
        try:
            while True:
                try:
                    await self._tell_until_broken(connection)
                except Exception as error:
                    logger.warning("notifications_interrupted", error=f"{type(error).__name__}: {error}")
                await discard(connection)
                connection = await self._listen_again()
                for heard in self._heard.values():
                    heard(None)  # what was missed meanwhile is not known
        finally:
            await discard(connection)

    async def _listen_again(self) -> Connection:
        attempt = 0
        while True:
            await asyncio.sleep(backoff_seconds(attempt))
            attempt += 1
            with suppress(*GONE, asyncpg.PostgresError):
                connection = await self._listen()
                try:
                    await self._on_reconnected(connection)
                except BaseException:
                    await discard(connection)
                    raise
                return connection

    async def _tell_until_broken(self, connection: Connection) -> None:
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                await connection.fetchval("SELECT 1")  # it may be dead without having been closed
                continue
            self._wanted.clear()
            if connection.is_closed():
                raise ConnectionError("the connection was closed by the server")
            for channel in self._dirty:
                await self._tell_now(connection, channel)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _tell_now(self, connection: Connection, channel: str) -> None:
        streams, self._dirty[channel] = self._dirty[channel], {}
        if not streams:
            return
        try:
            await connection.fetchval("SELECT pg_notify($1, $2)", channel, self._payload(streams))
        except BaseException:
            self.tell(channel, streams)  # on the next connection
            raise

    def _payload(self, streams: Collection[str]) -> str:
        payload = "\n".join((self._node_id, *streams))
        if (
            len(payload.encode()) > PAYLOAD_BYTES_MAX
            or "*" in streams
            or any("\n" in name for name in streams)
        ):
            return f"{self._node_id}\n*"
        return payload
