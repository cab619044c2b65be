"""The portal as server-sent events: a message in, its turn out, step by step."""

from collections.abc import AsyncIterator
from typing import Any, assert_never
from uuid import UUID

import msgspec
from litestar import Request, Router, post
from litestar.exceptions import ClientException, NotFoundException
from litestar.response import Stream

from app.api import feed_wire as wire
from app.api.feed import SSE
from app.api.portal import ChatBody, accept, caught_up
from app.api.problems import problems
from app.api.security import while_allowed
from app.api.services import Services
from app.api.shown import Ended, Meeting, Routed, Shown, Step
from app.api.turns import follow
from app.auth.principal import Principal
from app.core import streams
from app.core.texts import text
from app.runs.operations import MODE as OPERATION
from projections import tasks

AnyRequest = Request[Any, Any, Any]


@post(
    "/chat/stream",
    status_code=200,
    media_type=SSE,
    responses=problems(404, 409, 429),
    summary="Send a message and watch the turn",
)
async def chat_stream(
    request: AnyRequest, services: Services, principal: Principal, data: ChatBody
) -> Stream:
    """Events: `routing`, `thinking`, `tool_call`, `tool_result`, `token`, `final_answer`, `error`, and the other steps
    of a task under their names (`ask_human`, `confirmation_request`, `phase_changed` …), and the frames of boards and
    teams under theirs; `id:` is the log offset.

    With the header `Last-Event-ID` (and the `conversation_id` of the `routing` event) the message is not taken again:
    the turn of that event goes on behind it.
    """
    last_event_id = request.headers.get("last-event-id")
    if last_event_id is not None:
        turn = await _resumed(services, principal, data, last_event_id)
    else:
        accepted = await accept(services, principal, data)
        conversation_id = accepted.conversation_id
        shown = follow(services, accepted.stream, accepted.task_id, first_offset=accepted.offset)
        turn = _events(shown, {"conversation_id": conversation_id, "task_id": str(accepted.task_id)})
    turn = while_allowed(services, principal, turn)
    return Stream(turn, media_type=SSE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _resumed(
    services: Services, principal: Principal, data: ChatBody, last_event_id: str
) -> AsyncIterator[bytes]:
    """The rest of the turn that the client's last event belongs to."""
    cursor = wire.parse_cursor(last_event_id)
    if data.conversation_id is None:
        raise ClientException(text("last_event_id_alone", services.options.locale))
    stream = streams.conversation(principal.user_id, data.conversation_id)
    resumption = await services.log.resume(stream, cursor.offset, cursor.epoch)
    last = await services.log.reader.stream_backwards(stream, before=cursor.offset + 1, limit=1)
    if resumption.answer == "cannot" or not last or last[0].task_id is None:
        raise NotFoundException(text("no_task", services.options.locale))
    task_id = await _turn_of(services, principal, last[0].task_id)
    shown = follow(services, stream, task_id, first_offset=1, after=cursor.offset)
    more = {"conversation_id": data.conversation_id, "task_id": str(task_id)}
    return _events(shown, more, after=cursor.offset)


async def _turn_of(services: Services, principal: Principal, task_id: UUID) -> UUID:
    """The task itself; of the run of a team's member, the team's."""
    await caught_up(services)
    task = await tasks.get(services.reads, task_id, owner=principal.user_id)
    if task is None or task.metadata.parent is None or task.metadata.mode == OPERATION:
        return task_id
    return UUID(task.metadata.parent)


async def _events(
    turn: AsyncIterator[Shown], more: dict[str, str], *, after: int = 0
) -> AsyncIterator[bytes]:
    yield wire.SSE_HEARTBEAT  # headers and a first byte go out at once
    async for shown in turn:
        match shown:
            case Routed():
                body = {**shown.data, **more}
                yield _event("routing", body, shown.offset)
            case Meeting():
                body = {"step": 0, "data": shown.data, "timestamp": shown.timestamp}
                yield _event(shown.name, body, shown.offset)
            case Step(name="step"):
                continue  # what was interrupted comes as its error
            case Step():
                body = {"step": shown.step, "data": shown.data, "timestamp": shown.timestamp}
                yield _event(shown.name, body, shown.offset)
            case Ended(status="completed"):
                return
            case Ended(status="steered"):
                if shown.offset > after:
                    data = {"message": shown.message, "merged_into": shown.merged_into}
                    yield _event(
                        "steered", {"step": 0, "data": data, "timestamp": shown.timestamp}, shown.offset
                    )
                return
            case Ended():
                if shown.offset > after:
                    data = {"message": shown.message, "status": shown.status, "task_id": more["task_id"]}
                    data |= shown.told_of_quota
                    yield _event(
                        "error", {"step": 0, "data": data, "timestamp": shown.timestamp}, shown.offset
                    )
                return
            case _ as never:
                assert_never(never)


def _event(name: str, body: dict[str, Any], offset: int | None) -> bytes:
    return wire.sse(msgspec.json.encode(body), event=name, id=None if offset is None else str(offset))


portal_stream_router = Router(path="/api/v1/portal", route_handlers=[chat_stream], tags=["portal"])
