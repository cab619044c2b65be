"""The feed over HTTP: a conversation's events after a cursor, as JSON, NDJSON or server-sent events, or held open."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import MediaType, Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.params import Parameter
from litestar.response import Stream

from app.api import feed_wire as wire
from app.api.problems import problems
from app.api.security import demand_still, while_allowed
from app.api.services import Services
from app.auth.principal import Principal
from app.core import streams
from app.core.envelope import Recorded
from app.core.texts import Locale, text
from app.log.errors import LogUnavailable
from app.log.log import Log, Resumption
from app.log.read import PAGE_EVENTS_MAX
from app.log.subscribe import Batch, Filter, Stopped, Subscription

WAIT_SECONDS_MAX = 60.0
JSON = "application/json"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
RETRY_SECONDS = 1.0

AnyRequest = Request[Any, Any, Any]


class Resume(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a cursor missed. `cannot`: start from the snapshot, then read on from `head`."""

    answer: str
    cursor: str
    head: int
    missed: int = 0
    reason: str | None = None
    snapshot: str | None = None


def resume_answer(resumption: Resumption, conversation_id: str, owner: str | None = None) -> Resume:
    """The three answers to a resume, as clients see them. `owner` where it was named."""
    cannot = resumption.answer == "cannot"
    snapshot = f"/api/v1/portal/conversations/{quote(conversation_id, safe='')}"
    if owner:
        snapshot += f"?owner={quote(owner, safe='')}"
    return Resume(
        resumption.answer,
        wire.format_cursor(resumption.epoch, resumption.head if cannot else resumption.after),
        resumption.head,
        resumption.missed,
        resumption.reason,
        snapshot if cannot else None,
    )


async def open_feed(
    services: Services, owner: str, conversation_id: str, after: str | None
) -> tuple[str, Resumption]:
    """The stream's name and what its cursor missed. Raises `NotFoundException`, `InvalidQuery`, `LogUnavailable`."""
    try:
        stream = streams.conversation(owner, conversation_id)
    except streams.InvalidConversationId as error:
        raise NotFoundException(error.sentence(services.options.locale)) from None
    cursor = wire.parse_cursor(after)
    resumption = await services.log.resume(stream, cursor.offset, cursor.epoch)
    if resumption.head == 0:
        raise NotFoundException(text("no_conversation", services.options.locale, id=conversation_id[:80]))
    return stream, resumption


@get(
    "/conversations/{conversation_id:str}/events",
    responses=problems(409),
    summary="Events of a conversation after a cursor",
)
async def read_feed(
    request: AnyRequest,
    services: Services,
    principal: Principal,
    owner: str,
    conversation_id: str,
    after: Annotated[
        str | None, Parameter(description="offset or `epoch:offset`; the default is the beginning")
    ] = None,
    limit: Annotated[int, Parameter(ge=1, le=PAGE_EVENTS_MAX)] = PAGE_EVENTS_MAX,
    wait: Annotated[
        float, Parameter(ge=0, le=WAIT_SECONDS_MAX, description="long-poll: seconds to wait")
    ] = 0,
    types: Annotated[str | None, Parameter(description="only these event types, with commas")] = None,
    task_id: Annotated[str | None, Parameter(description="only events of this task")] = None,
    follow: Annotated[bool, Parameter(description="NDJSON: go on live after the last event")] = False,
) -> Response[Any]:
    """`Accept` picks the form: JSON (a page; with `wait` held open until something comes), NDJSON (to the present end,
    live with `follow`), or SSE (live; `Last-Event-ID` beats `after`). A cursor that cannot be resumed gets 409."""
    accept = request.headers.get("accept", "")
    last_event_id = request.headers.get("last-event-id")
    wanted = wire.parse_filter(types, task_id)
    stream, resumption = await open_feed(
        services, owner, conversation_id, last_event_id if SSE in accept and last_event_id else after
    )
    resume = resume_answer(resumption, conversation_id, owner if owner != principal.user_id else None)
    if resumption.answer == "cannot":
        detail = _cannot_sentence(resumption, services.options.locale)
        return Response({"detail": detail, "status_code": 409, "resume": resume}, status_code=409)
    if SSE in accept:
        body = while_allowed(services, principal, _sse(services, stream, resumption.after, wanted))
        return Stream(body, media_type=SSE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    if NDJSON in accept:
        lines = _ndjson(services, stream, resumption, wanted, follow=follow)
        if follow:
            lines = while_allowed(services, principal, lines)
        return Stream(lines, media_type=NDJSON, headers={"Cache-Control": "no-store"})
    page, offset = await _page(services, stream, resumption.after, wanted, limit, wait)
    if wait:
        demand_still(services, principal)
    cursor = wire.format_cursor(resumption.epoch, offset)
    body = b'{"cursor":"%s","resume":%s,"events":%s}' % (
        cursor.encode(),
        msgspec.json.encode(resume),
        wire.encode_events(page),
    )
    return Response(body, media_type=MediaType.JSON, headers={"Cache-Control": "no-store"})


def _cannot_sentence(resumption: Resumption, locale: Locale) -> str:
    if resumption.reason == "other_epoch":
        return text("cursor_of_other_epoch", locale, epoch=resumption.epoch)
    return text("cursor_beyond", locale, after=resumption.after, head=resumption.head)


async def _page(
    services: Services, stream: str, after: int, wanted: Filter, limit: int, wait_seconds: float
) -> tuple[list[Any], int]:
    log = services.log
    if wait_seconds <= 0:
        page = await log.reader.stream(stream, after=after, limit=limit)
        return [one for one in page if wanted.wants(one)], page[-1].offset if page else after
    async with log.subscribe(
        stream, after=after, wanted=wanted, deltas=False, batch_events_max=min(limit, 500)
    ) as reader:
        batch = await reader.next(timeout_seconds=wait_seconds)
        return batch.events, batch.cursor


async def _sse(services: Services, stream: str, after: int, wanted: Filter) -> AsyncGenerator[bytes]:
    log = services.log
    heartbeat = services.options.feed_heartbeat_seconds
    yield wire.SSE_HEARTBEAT  # so that headers and a first byte go out at once
    async with log.subscribe(stream, after=after, wanted=wanted, heartbeat_seconds=heartbeat) as reader:
        async for batch in batches(services, reader):
            chunk = wire.sse_events(batch.events, log.epoch)
            chunk += b"".join(wire.sse(wire.delta_frame(delta), event="delta") for delta in batch.deltas)
            yield chunk or wire.SSE_HEARTBEAT


async def _ndjson(
    services: Services, stream: str, resumption: Resumption, wanted: Filter, *, follow: bool
) -> AsyncGenerator[bytes]:
    log: Log = services.log
    after = resumption.after
    if not follow:
        async for page in _pages(log, stream, after, resumption.head):
            yield wire.event_lines(one for one in page if wanted.wants(one))
        return
    heartbeat = services.options.feed_heartbeat_seconds
    async with log.subscribe(stream, after=after, wanted=wanted, heartbeat_seconds=heartbeat) as reader:
        async for batch in batches(services, reader):
            deltas = b"".join(wire.delta_frame(delta) + b"\n" for delta in batch.deltas)
            yield wire.event_lines(batch.events) + deltas or b"\n"


async def _pages(log: Log, stream: str, after: int, head: int) -> AsyncIterator[list[Recorded]]:
    """The events up to `head`; the next page is read while the last one is on its way to the client."""
    ahead: asyncio.Task[list[Recorded]] | None = None
    try:
        while after < head:
            page = await (ahead or log.reader.stream(stream, after=after))
            after = page[-1].offset
            ahead = asyncio.create_task(log.reader.stream(stream, after=after)) if after < head else None
            yield page
    finally:
        if ahead is not None:
            ahead.cancel()


async def batches(services: Services, reader: Subscription) -> AsyncIterator[Batch]:
    """A subscription's batches until the server stops. While the database is away the reader waits where it is."""
    while True:
        try:
            yield await reader.next()
        except Stopped:
            return
        except LogUnavailable:
            with suppress(TimeoutError):
                await asyncio.wait_for(services.stopping.wait(), RETRY_SECONDS)


feed_router = Router(path="/api/v1", route_handlers=[read_feed], tags=["feed"])
