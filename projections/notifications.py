"""What was sent to users. One row a notification; how far they have been delivered is in `inboxes`."""

from datetime import datetime

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.envelope import Recorded
from app.core.events import Event, UserNotified
from projections.projection import Key, Projection, event_types
from projections.tables import fetch_rows
from projections.user_streams import user_of

LIST_MAX = 500

DDL = """
CREATE TABLE IF NOT EXISTS notifications (
    owner text NOT NULL,
    notified_offset bigint NOT NULL,
    notification_id text NOT NULL,
    kind text NOT NULL,
    message json NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (owner, notified_offset)
);
"""


class Notification(msgspec.Struct, frozen=True, gc=False):
    """`notified_offset` is its place in the owner's stream. `message` is the sender's JSON object."""

    owner: str
    notified_offset: int
    notification_id: str
    kind: str
    message: msgspec.Raw
    created_at: datetime


def key_of(recorded: Recorded, event: Event) -> Key | None:
    owner = user_of(recorded.stream)
    return None if owner is None else (owner, recorded.offset)


def apply(row: Notification | None, recorded: Recorded, event: Event) -> Notification | None:
    owner = user_of(recorded.stream)
    if owner is None or not isinstance(event, UserNotified):
        return row
    return Notification(
        owner, recorded.offset, event.notification_id, event.kind, event.message, recorded.recorded_at
    )


PROJECTION = Projection(
    name="notifications",
    version=1,
    row=Notification,
    ddl=DDL,
    key=("owner", "notified_offset"),
    handles=event_types(UserNotified),
    key_of=key_of,
    apply=apply,
    begins=event_types(UserNotified),
)


async def list_behind(
    pool: AsyncConnectionPool, owner: str, *, after: int = 0, limit: int = 50
) -> list[Notification]:
    """Those behind this offset of the owner's stream, oldest first; at most 500."""
    return await fetch_rows(
        pool,
        Notification,
        "SELECT * FROM notifications WHERE owner = %s AND notified_offset > %s ORDER BY notified_offset LIMIT %s",
        (owner, after, max(0, min(limit, LIST_MAX))),
    )
