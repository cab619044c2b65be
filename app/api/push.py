"""Notifications on their way to sockets: one reader of the log a user and process, whatever the number of sockets.

    user.notified ──► the user's inbox in this process ──► each of their sockets, at its own pace and each frame once
                            │                                          │
                            └──◄── user.notifications_delivered ◄── what has gone to one of them

A socket begins behind what was delivered before (or behind its client's `notifications_after`) and then goes on live.
What it has not been sent yet is read again from the view, so nothing waits in memory for a slow one but a short tail.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog

from app.api.sockets import Line
from app.api.views import caught_up
from app.core import streams
from app.core.envelope import Recorded
from app.core.events import NotificationsDelivered, UserNotified
from app.core.texts import text
from app.log.errors import HoleInLog, LogError, LogUnavailable
from app.log.log import Log
from app.log.subscribe import Filter, Stopped, Subscription
from app.runs.push import Push
from projections import inboxes, notifications
from projections.notifications import Notification
from projections.reads import ReadPool, ViewsUnavailable
from projections.runner import ProjectionLag, ProjectionRunner

SURFACES = frozenset({"portal", "chat"})
"""Sockets that people talk over."""
RECENT_MAX = 64
RECENT_BYTES_MAX = 512 * 1024
PAGE = 100
COALESCE_SECONDS = 0.2
RETRY_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
CLOSE_SECONDS_MAX = 5.0
VIEWS = ("notifications", "inboxes")
_WANTED = Filter(frozenset({"user.notified", "user.notifications_delivered"}))
_PASSING = (LogError, ProjectionLag, ViewsUnavailable)

logger = structlog.get_logger(__name__)


class _Framed(msgspec.Struct, frozen=True):
    """A notification as it goes out; `offset` is its place in the user's stream."""

    offset: int
    frame: bytes


class _Receiver:
    """One socket. `cursor` is the offset of what it was sent last; None until it is known where it begins."""

    def __init__(self, line: Line, after: int | None, complaint: str | None) -> None:
        self.line = line
        self.after = after
        self.complaint = complaint
        self.cursor: int | None = None
        self.sending: asyncio.Task[None] | None = None


class Inbox:
    """A user's, in this process, for as long as one of their sockets is open."""

    def __init__(self, user_id: str, log: Log, views: ProjectionRunner, reads: ReadPool, push: Push) -> None:
        self._user_id = user_id
        self._stream = streams.user(user_id)
        self._log, self._views, self._reads, self._push = log, views, reads, push
        self._receivers: set[_Receiver] = set()
        self._recent: deque[_Framed] = deque()
        self._recent_bytes = 0
        self._base = 0  # `recent` has every notification behind this offset
        self._newest = 0
        self._delivered = 0  # as the log has it
        self._sent = 0
        self._ready = False
        self._marking: asyncio.Task[None] | None = None
        self._following = asyncio.create_task(self._follow(), name=f"inbox-{user_id}")

    @property
    def empty(self) -> bool:
        return not self._receivers

    def join(self, receiver: _Receiver) -> None:
        self._receivers.add(receiver)
        if self._ready:
            self._go(receiver)

    async def leave(self, receiver: _Receiver) -> None:
        """Returns when what was delivered is on record, or the attempt has failed."""
        self._receivers.discard(receiver)
        if receiver.sending is not None:
            receiver.sending.cancel()
        if self.empty:
            await self._mark_now()

    async def close(self) -> None:
        tasks = [self._following, *(one.sending for one in self._receivers if one.sending is not None)]
        if self._marking is not None:
            tasks.append(self._marking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            try:
                await self._begin()
                async with self._log.subscribe(
                    self._stream,
                    after=self._base,
                    wanted=_WANTED,
                    deltas=False,
                    heartbeat_seconds=HEARTBEAT_SECONDS,
                ) as reader:
                    await self._read(reader)
            except Stopped:
                return
            except Exception as error:
                expected = isinstance(error, (*_PASSING, HoleInLog))
                logger.warning("inbox_waits", user_id=self._user_id, error=str(error), exc_info=not expected)
                await asyncio.sleep(RETRY_SECONDS)

    async def _begin(self) -> None:
        """Where things stand: the views, with everything that is committed now."""
        head = await self._log.reader.head(self._stream)
        await self._caught_up()
        found = await inboxes.get(self._reads, self._user_id)
        self._recent.clear()
        self._recent_bytes, self._base = 0, head
        self._newest = max(self._newest, min(found.notified_until, head))
        self._delivered = max(self._delivered, found.delivered_until)
        self._ready = True
        for receiver in self._receivers:
            self._go(receiver)

    async def _read(self, reader: Subscription) -> None:
        while True:
            try:
                batch = await reader.next()
            except LogUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for recorded in batch.events:
                self._take(recorded)
            for receiver in self._receivers if batch.events else ():
                self._go(receiver)

    def _take(self, recorded: Recorded) -> None:
        match recorded.event():
            case NotificationsDelivered(until=until):
                self._delivered = max(self._delivered, until)
            case UserNotified() as event:
                shown = Notification(
                    self._user_id,
                    recorded.offset,
                    event.notification_id,
                    event.kind,
                    event.message,
                    recorded.recorded_at,
                )
                self._remember(framed(shown))
                self._newest = recorded.offset
            case _:
                pass

    def _remember(self, one: _Framed) -> None:
        self._recent.append(one)
        self._recent_bytes += len(one.frame)
        while len(self._recent) > RECENT_MAX or self._recent_bytes > RECENT_BYTES_MAX:
            gone = self._recent.popleft()
            self._recent_bytes -= len(gone.frame)
            self._base = gone.offset

    def _go(self, receiver: _Receiver) -> None:
        """Have the socket sent what it has not been sent yet."""
        if receiver.cursor is None:
            known = max(self._delivered, self._sent)
            receiver.cursor = known if receiver.after is None else min(receiver.after, self._newest)
        idle = receiver.sending is None or receiver.sending.done()
        if idle and (receiver.cursor < self._newest or receiver.complaint is not None):
            receiver.sending = asyncio.create_task(self._send(receiver))

    async def _send(self, receiver: _Receiver) -> None:
        line, cursor = receiver.line, receiver.cursor or 0
        if (complaint := receiver.complaint) is not None:
            receiver.complaint = None
            await line.error(complaint)
        while cursor < self._newest and not line.closed:
            page: list[_Framed] = []
            try:
                page = await self._behind(cursor)
            except _PASSING as error:
                logger.warning("notifications_wait", user_id=self._user_id, error=str(error))
            if not page:
                await asyncio.sleep(RETRY_SECONDS)
            for one in page:
                await line.send_raw(one.frame)
                if line.closed:
                    return
                cursor = receiver.cursor = one.offset
                self._has_gone(one.offset)

    async def _behind(self, cursor: int) -> list[_Framed]:
        """The next notifications behind this offset: from the tail, or the view where that does not reach so far back.

        Raises what the log and the views raise.
        """
        if cursor >= self._base:
            return [one for one in self._recent if one.offset > cursor]
        await self._caught_up()
        found = await notifications.list_behind(self._reads, self._user_id, after=cursor, limit=PAGE)
        return [framed(one) for one in found]

    def _has_gone(self, offset: int) -> None:
        self._sent = max(self._sent, offset)
        if self._marking is None or self._marking.done():
            self._marking = asyncio.create_task(self._mark_soon())

    async def _mark_soon(self) -> None:
        """A moment later, so that several are one event."""
        while self._sent > self._delivered:
            await asyncio.sleep(COALESCE_SECONDS)
            if not await self._mark():
                await asyncio.sleep(RETRY_SECONDS)

    async def _mark_now(self) -> None:
        if self._marking is not None:
            self._marking.cancel()
            await asyncio.gather(self._marking, return_exceptions=True)
        await self._mark()

    async def _mark(self) -> bool:
        until = self._sent
        if until <= self._delivered:
            return True
        try:
            await self._push.mark_delivered(self._user_id, until)
        except LogError as error:  # then they are delivered once more, to the next socket
            logger.warning("delivery_not_recorded", user_id=self._user_id, error=str(error))
            return False
        self._delivered = max(self._delivered, until)
        return True

    async def _caught_up(self) -> None:
        await caught_up(self._log, self._views, *VIEWS, stream=self._stream)


def framed(one: Notification) -> _Framed:
    """The frame of the wire."""
    data = {
        "notification_id": one.notification_id,
        "kind": one.kind,
        "message": one.message,
        "created_at": one.created_at,
    }
    frame = {"type": "notification", "data": data, "offset": one.notified_offset}
    return _Framed(one.notified_offset, msgspec.json.encode(frame))


class Inboxes:
    """Those of the users whose sockets are open in this process. `close` before the log is closed."""

    def __init__(self, log: Log, views: ProjectionRunner, reads: ReadPool, push: Push) -> None:
        self._make: Callable[[str], Inbox] = lambda user_id: Inbox(user_id, log, views, reads, push)
        self._inboxes: dict[str, Inbox] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def join(self, line: Line) -> Callable[[], None]:
        """From now on the socket is sent its user's notifications. Returns what ends that; it returns at once."""
        if line.surface not in SURFACES:
            return lambda: None
        user_id = line.principal.user_id
        after, complaint = _cursor_of(line)
        receiver = _Receiver(line, after, complaint)
        inbox = self._inboxes.get(user_id)
        if inbox is None:
            inbox = self._inboxes[user_id] = self._make(user_id)
        inbox.join(receiver)
        return lambda: self._begin(self._leave(user_id, inbox, receiver))

    async def close(self) -> None:
        """Puts on record what has been delivered (at most 5 s)."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=CLOSE_SECONDS_MAX)
        left = list(self._inboxes.values())
        self._inboxes.clear()
        await asyncio.gather(*(inbox.close() for inbox in left))

    async def _leave(self, user_id: str, inbox: Inbox, receiver: _Receiver) -> None:
        await inbox.leave(receiver)
        # Somebody may have come meanwhile, and does so only to the inbox that is known here.
        if inbox.empty and self._inboxes.get(user_id) is inbox:
            del self._inboxes[user_id]
            await inbox.close()

    def _begin(self, leaving: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(leaving)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def _cursor_of(line: Line) -> tuple[int | None, str | None]:
    """`notifications_after` of the socket's address, and what is wrong with it."""
    given = line.socket.query_params.get("notifications_after")
    if not given:
        return None, None
    if given.isascii() and given.isdigit() and len(given) <= 18:
        return int(given), None
    return None, text("notifications_after_invalid", line.locale, given=given[:40])
