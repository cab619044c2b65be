"""Reminders and schedules over REST."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import Router, delete, get, post
from litestar.params import Parameter
from msgspec import Meta

from app.api.problems import problems
from app.api.services import Services
from app.api.uploads import CursorOf
from app.api.views import caught_up
from app.auth.principal import Principal
from app.core import streams
from app.runs.reminder_times import CRON_CHARS_MAX, ZONE_CHARS_MAX
from app.runs.reminders import TEXT_CHARS_MAX, ReminderUnknown, Wanted
from projections import page_cursors, reminders


class ReminderBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Either `at`, a time in the future with its offset (RFC 3339), or `cron`, five fields (minute, hour, day of month,
    month, day of week) in `time_zone` (IANA name). With `agent_name` it is a schedule: the text is given to that agent
    as a message in `conversation_id`, or in a conversation of the schedule's own."""

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX, pattern=r"\S")]
    at: Annotated[str, Meta(max_length=ZONE_CHARS_MAX, extra_json_schema={"format": "date-time"})] | None = (
        None
    )
    cron: Annotated[str, Meta(max_length=CRON_CHARS_MAX)] | None = None
    time_zone: Annotated[str, Meta(max_length=ZONE_CHARS_MAX)] = "UTC"
    agent_name: Annotated[str, Meta(max_length=200)] | None = None
    conversation_id: Annotated[str, Meta(max_length=streams.CONVERSATION_ID_CHARS_MAX)] | None = None


class ShownReminder(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status` is open, fired or cancelled. `next_at` is when an open one is due, `last_at` when it was due last."""

    reminder_id: str
    text: str
    status: str
    time_zone: str
    times_fired: int
    created_at: datetime
    updated_at: datetime
    next_at: datetime | None = None
    last_at: datetime | None = None
    cron: str | None = None
    agent_name: str | None = None
    conversation_id: str | None = None


class ReminderPage(msgspec.Struct, frozen=True):
    """Those set last come first. `next_cursor` is missing at the end."""

    reminders: list[ShownReminder]
    next_cursor: str | None = None


@post(
    "/",
    status_code=201,
    responses=problems(404, 429),
    summary="Be reminded, or have an agent asked, at a time",
)
async def set_reminder(services: Services, principal: Principal, data: ReminderBody) -> ShownReminder:
    """404 for an unknown agent, 429 where 1 000 are open."""
    await services.conversations.roster.refresh()
    wanted = msgspec.convert(msgspec.to_builtins(data), Wanted)
    reminder_id = await services.reminders.set(principal.user_id, wanted)
    services.reminder_clock.expect()
    return await _found(services, principal.user_id, reminder_id)


@get("/", summary="One's reminders, those set last first")
async def list_reminders(
    services: Services,
    owner: str,
    status: Literal["open", "fired", "cancelled"] | None = None,
    limit: Annotated[int, Parameter(ge=1, le=500)] = 50,
    cursor: CursorOf = None,
) -> ReminderPage:
    before = page_cursors.offset_of(cursor) if cursor else None
    await _caught_up(services, owner)
    found = await reminders.list_by_owner(
        services.reads, owner, status=status, before=before, limit=limit + 1
    )
    page = found[:limit]
    following = page_cursors.offset_cursor(page[-1].set_offset) if len(found) > limit else None
    return ReminderPage([_shown(row) for row in page], following)


@get("/{reminder_id:str}", summary="A reminder")
async def read_reminder(services: Services, owner: str, reminder_id: str) -> ShownReminder:
    return await _found(services, owner, reminder_id)


@delete("/{reminder_id:str}", status_code=200, responses=problems(409), summary="Cancel a reminder")
async def cancel_reminder(services: Services, principal: Principal, reminder_id: str) -> ShownReminder:
    """It never fires from then on. 409 where it has fired already, or is cancelled."""
    await services.reminders.cancel(principal.user_id, reminder_id)
    return await _found(services, principal.user_id, reminder_id)


async def _found(services: Services, owner: str, reminder_id: str) -> ShownReminder:
    """Raises `ReminderUnknown`."""
    await _caught_up(services, owner)
    row = await reminders.get(services.reads, owner, reminder_id)
    if row is None:
        raise ReminderUnknown(id=reminder_id[:80])
    return _shown(row)


async def _caught_up(services: Services, owner: str) -> None:
    await caught_up(services.log, services.views, "reminders", stream=streams.user(owner))


def _shown(row: reminders.Reminder) -> ShownReminder:
    return ShownReminder(
        row.reminder_id,
        row.text,
        row.status,
        row.time_zone,
        row.times_fired,
        row.created_at,
        row.updated_at,
        row.next_due,
        row.last_due,
        row.cron or None,
        row.agent_name or None,
        row.conversation_id or None,
    )


reminders_router = Router(
    path="/api/v1/reminders",
    route_handlers=[set_reminder, list_reminders, read_reminder, cancel_reminder],
    tags=["reminders"],
)
