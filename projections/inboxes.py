"""How far the notifications of each user have come and gone. One row a user who was ever sent one."""

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.envelope import Recorded
from app.core.events import Event, NotificationsDelivered, UserNotified
from projections.projection import Key, Projection, event_types
from projections.tables import fetch_rows
from projections.user_streams import user_of

DDL = """
CREATE TABLE IF NOT EXISTS inboxes (
    owner text PRIMARY KEY,
    notified_until bigint NOT NULL,
    delivered_until bigint NOT NULL
) WITH (fillfactor = 50);
"""


class Inbox(msgspec.Struct, frozen=True, gc=False):
    """Offsets of the user's stream: of the newest notification, and up to where all of them have gone to a socket."""

    owner: str
    notified_until: int = 0
    delivered_until: int = 0


def key_of(recorded: Recorded, event: Event) -> Key | None:
    owner = user_of(recorded.stream)
    return None if owner is None else (owner,)


def apply(row: Inbox | None, recorded: Recorded, event: Event) -> Inbox | None:
    owner = user_of(recorded.stream)
    if owner is None:
        return row
    row = row or Inbox(owner)
    match event:
        case UserNotified():
            return msgspec.structs.replace(row, notified_until=recorded.offset)
        case NotificationsDelivered(until=until):
            return msgspec.structs.replace(row, delivered_until=max(until, row.delivered_until))
        case _:
            return row


PROJECTION = Projection(
    name="inboxes",
    version=1,
    row=Inbox,
    ddl=DDL,
    key=("owner",),
    handles=event_types(UserNotified, NotificationsDelivered),
    key_of=key_of,
    apply=apply,
)


async def get(pool: AsyncConnectionPool, owner: str) -> Inbox:
    """An empty one for a user who was never sent anything."""
    found = await fetch_rows(pool, Inbox, "SELECT * FROM inboxes WHERE owner = %s", (owner,))
    return found[0] if found else Inbox(owner)
