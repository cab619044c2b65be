"""Messages to users over REST (wire contract, section 9): sent by admins and programs, read by whom they are for."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.exceptions import NotFoundException
from litestar.params import Parameter
from msgspec import Meta

from app.api.problems import problems
from app.api.services import Services
from app.api.views import caught_up
from app.auth.principal import Principal, is_id
from app.core import streams
from app.core.envelope import user_actor
from app.core.texts import text
from projections import inboxes, notifications

VIEWS = ("notifications", "inboxes")


class Notify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`message` is a JSON object of at most 64 KiB, or a text, which stands for `{"text": …}`. `notification_id`: an id
    of the sender's own; sent twice, sent once."""

    message: Annotated[str, Meta(min_length=1)] | dict[str, Any]
    kind: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,39}$")] = "message"
    notification_id: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")] | None = (
        None
    )


class Notified(msgspec.Struct, frozen=True):
    """It is kept until it has reached a socket of the user. `offset` is its place in the user's stream."""

    notification_id: str
    offset: int
    created_at: datetime


class ShownNotification(msgspec.Struct, frozen=True):
    notification_id: str
    kind: str
    message: dict[str, Any]
    created_at: datetime
    offset: int


class NotificationPage(msgspec.Struct, frozen=True):
    """Oldest first. Everything up to offset `delivered_until` has reached a socket. `next_after` is missing at the
    end."""

    notifications: list[ShownNotification]
    delivered_until: int
    next_after: int | None = None


@post(
    "/{user_id:str}/notifications",
    status_code=201,
    responses=problems(409),
    summary="Send a message to all sockets of a user",
)
async def notify(services: Services, principal: Principal, user_id: str, data: Notify) -> Notified:
    """For admins and service keys; a member may send to themselves. Anybody else's id is 404."""
    allowed = principal.role == "admin" or principal.service or user_id == principal.user_id
    if not allowed or not is_id(user_id):
        raise NotFoundException(text("no_user", services.options.locale, id=user_id[:100]))
    sent = await services.push.send_to_user(
        user_id,
        data.message,
        kind=data.kind,
        by=user_actor(principal.user_id),
        notification_id=data.notification_id,
    )
    return Notified(sent.notification_id, sent.appended.last_offset, sent.appended.recorded_at)


@get("/", summary="One's notifications after a cursor, oldest first")
async def list_notifications(
    services: Services,
    owner: str,
    after: Annotated[int, Parameter(ge=0, le=2**53, description="offset of the last one that is known")] = 0,
    limit: Annotated[int, Parameter(ge=1, le=500)] = 50,
) -> NotificationPage:
    await caught_up(services.log, services.views, *VIEWS, stream=streams.user(owner))
    found = await notifications.list_behind(services.reads, owner, after=after, limit=limit + 1)
    inbox = await inboxes.get(services.reads, owner)
    page = [
        ShownNotification(
            one.notification_id,
            one.kind,
            msgspec.json.decode(one.message, type=dict[str, Any]),
            one.created_at,
            one.notified_offset,
        )
        for one in found[:limit]
    ]
    return NotificationPage(page, inbox.delivered_until, page[-1].offset if len(found) > limit else None)


users_notifications_router = Router(path="/api/v1/users", route_handlers=[notify], tags=["notifications"])
notifications_router = Router(
    path="/api/v1/notifications", route_handlers=[list_notifications], tags=["notifications"]
)
