"""When each API key was used last, to 10 minutes: one row a key that was ever used."""

from collections.abc import Collection
from datetime import datetime

import msgspec
from psycopg.errors import UndefinedTable

from app.core.envelope import Recorded
from app.core.events import Event, KeyUsed
from projections.projection import Key, Projection, event_types
from projections.reads import ReadPool
from projections.tables import fetch_rows

DDL = """
CREATE TABLE IF NOT EXISTS key_uses (
    key_id text PRIMARY KEY,
    last_used_at timestamptz NOT NULL
) WITH (fillfactor = 70);
"""


class KeyUse(msgspec.Struct, frozen=True, gc=False):
    """All uses of a key are in one stream, that of its user."""

    key_id: str
    last_used_at: datetime


def key_of(recorded: Recorded, event: Event) -> Key | None:
    return (event.key_id,) if isinstance(event, KeyUsed) else None


def apply(row: KeyUse | None, recorded: Recorded, event: Event) -> KeyUse | None:
    return KeyUse(event.key_id, recorded.recorded_at) if isinstance(event, KeyUsed) else row


PROJECTION = Projection(
    name="key_uses",
    version=1,
    row=KeyUse,
    ddl=DDL,
    key=("key_id",),
    handles=event_types(KeyUsed),
    key_of=key_of,
    apply=apply,
    begins=event_types(KeyUsed),
)


async def last_used(pool: ReadPool, key_ids: Collection[str]) -> dict[str, datetime]:
    """Those of the keys that were ever used, as far as the view knows; none where no service has made it yet."""
    try:
        rows = await fetch_rows(
            pool, KeyUse, "SELECT * FROM key_uses WHERE key_id = ANY(%s)", (sorted(key_ids),)
        )
    except UndefinedTable:
        return {}
    return {row.key_id: row.last_used_at for row in rows}
