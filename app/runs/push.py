"""Messages to a user: an event of the user's stream, which every node delivers to that user's sockets."""

from typing import Any

import msgspec

from app.core import streams
from app.core.envelope import SYSTEM, NewEvent
from app.core.events import NotificationsDelivered, UserNotified
from app.core.ids import named_id
from app.core.messages import storable_json
from app.log.errors import IdempotencyMismatch
from app.log.ids import new_id
from app.log.log import Appended, Log
from app.runs.refused import Refused

MESSAGE_BYTES_MAX = 64 * 1024
Json = dict[str, Any]


class NotificationTooLong(Refused):
    """Over the limit in bytes, as JSON. Values: `size`, `limit`."""

    key = "notification_too_long"


class NotificationIdReused(Refused):
    """The same id was sent with another message. Value: `id`."""

    key = "notification_id_reused"


class Sent(msgspec.Struct, frozen=True):
    """A notification that is in the log. `duplicate`: it was sent before, under the same `notification_id`."""

    notification_id: str
    appended: Appended

    @property
    def duplicate(self) -> bool:
        return self.appended.duplicate


class Push:
    """Reaches all sockets of a user on every node, now or, where there is none, at the next connection."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def send_to_user(
        self,
        user_id: str,
        message: str | Json,
        *,
        kind: str = "message",
        by: str = SYSTEM,
        notification_id: str | None = None,
    ) -> Sent:
        """`message` is a JSON object of at most 64 KiB; a text stands for `{"text": …}`. `by` is an actor. With a
        `notification_id` of the sender's own, sent twice is sent once.

        Raises `NotificationTooLong`, `NotificationIdReused` (nothing was written), and the log's errors.
        """
        given = notification_id is not None
        notification_id = notification_id if notification_id is not None else str(new_id())
        event = notified(message, kind=kind, notification_id=notification_id)
        new = NewEvent(new_id(), event, by)
        key = f"notification/{notification_id}" if given else None
        try:
            appended = await self._log.append(streams.user(user_id), [new], idempotency_key=key)
        except IdempotencyMismatch:
            raise NotificationIdReused(id=notification_id) from None
        return Sent(notification_id, appended)

    async def mark_delivered(self, user_id: str, until: int) -> None:
        """Everything up to this offset of the user's stream has gone to at least one socket. Told twice, on whatever
        node, it is written once. Raises the log's errors."""
        stream = streams.user(user_id)
        event = NewEvent(named_id("delivered", stream, until), NotificationsDelivered(until))
        await self._log.append(stream, [event], idempotency_key=f"delivered/{until}")


def notified(message: str | Json, *, kind: str, notification_id: str) -> UserNotified:
    """The event. Raises `NotificationTooLong`."""
    content = {"text": message} if isinstance(message, str) else message
    encoded = msgspec.json.encode(storable_json(content))
    if len(encoded) > MESSAGE_BYTES_MAX:
        raise NotificationTooLong(size=len(encoded), limit=MESSAGE_BYTES_MAX)
    return UserNotified(notification_id, msgspec.Raw(encoded), kind)
