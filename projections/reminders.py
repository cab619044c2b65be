"""Reminders and schedules of users. One row a reminder.

    reminder.set ──► open ──reminder.fired──► open (a cron expression) or fired ──  reminder.cancelled ──► cancelled

`next_due` is when an open one is due, and nothing else; times are what the events say, so no clock is needed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.envelope import Recorded
from app.core.events import Event, ReminderCancelled, ReminderFired, ReminderSet
from projections.projection import Key, Projection, event_types
from projections.tables import fetch_rows
from projections.user_streams import user_of

Status = Literal["open", "fired", "cancelled"]
LIST_MAX = 500

DDL = """
CREATE TABLE IF NOT EXISTS reminders (
    owner text NOT NULL,
    reminder_id text NOT NULL,
    text text NOT NULL,
    cron text NOT NULL,
    time_zone text NOT NULL,
    agent_name text NOT NULL,
    conversation_id text NOT NULL,
    status text NOT NULL,
    next_due timestamptz,
    last_due timestamptz,
    times_fired integer NOT NULL,
    set_offset bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (owner, reminder_id)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS reminders_due ON reminders (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX IF NOT EXISTS reminders_newest ON reminders (owner, set_offset DESC);
CREATE INDEX IF NOT EXISTS reminders_open ON reminders (owner) WHERE status = 'open';
"""


class Reminder(msgspec.Struct, frozen=True, gc=False):
    """`cron` and `agent_name` are empty where there is none. `set_offset` is its place in the owner's stream."""

    owner: str
    reminder_id: str
    text: str
    cron: str
    time_zone: str
    agent_name: str
    conversation_id: str
    status: Status
    next_due: datetime | None
    set_offset: int
    created_at: datetime
    updated_at: datetime
    last_due: datetime | None = None
    times_fired: int = 0


class _Counted(msgspec.Struct, frozen=True):
    name: str
    count: int


class _Due(msgspec.Struct, frozen=True):
    at: datetime | None


def key_of(recorded: Recorded, event: Event) -> Key | None:
    owner = user_of(recorded.stream)
    if owner is None or not isinstance(event, ReminderSet | ReminderFired | ReminderCancelled):
        return None
    return owner, event.reminder_id


def apply(row: Reminder | None, recorded: Recorded, event: Event) -> Reminder | None:
    if isinstance(event, ReminderSet):
        return _begun(recorded, event)
    if row is None or row.status != "open":
        return row
    match event:
        case ReminderFired(due_at=due_at, next_at=next_at):
            return msgspec.structs.replace(
                row,
                status="open" if next_at else "fired",
                next_due=_time(next_at),
                last_due=_time(due_at),
                times_fired=row.times_fired + 1,
                updated_at=recorded.recorded_at,
            )
        case ReminderCancelled():
            return msgspec.structs.replace(
                row, status="cancelled", next_due=None, updated_at=recorded.recorded_at
            )
        case _:
            return row


def _begun(recorded: Recorded, event: ReminderSet) -> Reminder:
    return Reminder(
        user_of(recorded.stream) or "",
        event.reminder_id,
        event.text,
        event.cron,
        event.time_zone,
        event.agent_name,
        event.conversation_id,
        "open",
        _time(event.at),
        recorded.offset,
        recorded.recorded_at,
        recorded.recorded_at,
    )


def _time(written: str) -> datetime | None:
    return msgspec.convert(written, datetime) if written else None


PROJECTION = Projection(
    name="reminders",
    version=1,
    row=Reminder,
    ddl=DDL,
    key=("owner", "reminder_id"),
    handles=event_types(ReminderSet, ReminderFired, ReminderCancelled),
    key_of=key_of,
    apply=apply,
    begins=event_types(ReminderSet),
)


async def get(pool: AsyncConnectionPool, owner: str, reminder_id: str) -> Reminder | None:
    """None if the owner has no such reminder."""
    found = await fetch_rows(
        pool, Reminder, "SELECT * FROM reminders WHERE owner = %s AND reminder_id = %s", (owner, reminder_id)
    )
    return found[0] if found else None


async def list_by_owner(
    pool: AsyncConnectionPool,
    owner: str,
    *,
    status: Status | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Reminder]:
    """Those set last come first, at most 500. `before`: those set before this offset of the owner's stream."""
    where, arguments = ["owner = %s"], list[object]([owner])
    if status is not None:
        where.append("status = %s")
        arguments.append(status)
    if before is not None:
        where.append("set_offset < %s")
        arguments.append(before)
    return await fetch_rows(
        pool,
        Reminder,
        f"SELECT * FROM reminders WHERE {' AND '.join(where)} ORDER BY set_offset DESC LIMIT %s",  # noqa: S608
        (*arguments, max(0, min(limit, LIST_MAX))),
    )


async def due(
    pool: AsyncConnectionPool, until: datetime, *, without: Sequence[str] = (), limit: int = 100
) -> list[Reminder]:
    """Those of everybody that are due at that time, the longest due first; at most 500, none of `without` (ids)."""
    return await fetch_rows(
        pool,
        Reminder,
        "SELECT * FROM reminders WHERE next_due <= %s AND NOT reminder_id = ANY (%s) ORDER BY next_due LIMIT %s",
        (until, list(without), max(0, min(limit, LIST_MAX))),
    )


async def next_due(pool: AsyncConnectionPool, after: datetime) -> datetime | None:
    """When the first of those is due that are not due at that time yet; None: none is open."""
    query = "SELECT min(next_due) AS at FROM reminders WHERE next_due > %s"
    return (await fetch_rows(pool, _Due, query, (after,)))[0].at


async def count_open(pool: AsyncConnectionPool, owner: str) -> int:
    """How many reminders of the owner may fire yet."""
    query = "SELECT '' AS name, count(*) AS count FROM reminders WHERE owner = %s AND status = 'open'"
    return (await fetch_rows(pool, _Counted, query, (owner,)))[0].count


async def schedules_by_agent(pool: AsyncConnectionPool, owner: str) -> dict[str, int]:
    """How many open reminders of the owner are schedules, by the agent that is given their text."""
    found = await fetch_rows(
        pool,
        _Counted,
        "SELECT agent_name AS name, count(*) AS count FROM reminders "
        "WHERE owner = %s AND status = 'open' AND agent_name <> '' GROUP BY agent_name",
        (owner,),
    )
    return {row.name: row.count for row in found}
