"""Answers to what runs ask of people, and cancellation, by task: from any socket or over REST, on any node."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Router, post
from litestar.exceptions import HTTPException, NotFoundException
from msgspec import Meta

from app.api.portal import caught_up
from app.api.services import Services
from app.auth.principal import Principal
from app.core.envelope import user_actor
from app.core.texts import text
from app.runs.people import task_of
from app.runs.refused import RequestNotOpen
from projections import tasks

REQUEST_ID_CHARS_MAX = 200
RequestId = Annotated[str, Meta(min_length=1, max_length=REQUEST_ID_CHARS_MAX)]


class Reply(msgspec.Struct, frozen=True):
    """The answer to a question (`ask_human`). The first one counts."""

    request_id: RequestId
    content: str


class ConfirmationReply(msgspec.Struct, frozen=True):
    """Whether the call that was shown may be made. The first answer counts."""

    confirmation_id: RequestId
    approved: bool


class Taken(msgspec.Struct, frozen=True):
    """The task has been told. What it makes of it comes as its next steps."""

    task_id: str
    status: str


async def reply(services: Services, principal: Principal, frame: Reply, *, stream: str | None = None) -> None:
    """Answer a question of one of the caller's tasks, `stream`: of this conversation. Raises `RequestNotOpen`, also
    for somebody else's."""
    found = await _stream_of(services, principal, frame.request_id, stream)
    by = user_actor(principal.user_id)
    await services.conversations.reply(found, frame.request_id, frame.content, by)


async def confirm(
    services: Services, principal: Principal, frame: ConfirmationReply, *, stream: str | None = None
) -> None:
    """As `reply`, for a confirmation."""
    found = await _stream_of(services, principal, frame.confirmation_id, stream)
    by = user_actor(principal.user_id)
    await services.conversations.confirm(found, frame.confirmation_id, frame.approved, by)


async def _stream_of(services: Services, principal: Principal, request_id: str, stream: str | None) -> str:
    """A request's id names its task."""
    task_id = task_of(request_id)
    if task_id is not None:
        task = await _find(services, principal, task_id)
        if task is not None and stream in (None, task.stream):
            return task.stream
    raise RequestNotOpen(id=request_id[:80])


async def _find(services: Services, principal: Principal, task_id: UUID) -> tasks.Task | None:
    """The caller's task. A view that is late is waited for, but only for a task that it does not know."""
    task = await tasks.get(services.reads, task_id, owner=principal.user_id)
    if task is None:
        await caught_up(services)
        task = await tasks.get(services.reads, task_id, owner=principal.user_id)
    return task


async def _demand(services: Services, principal: Principal, task_id: str) -> tasks.Task:
    """Raises 404 for what is not a task of the caller."""
    try:
        found = await _find(services, principal, UUID(task_id))
    except ValueError:
        found = None
    if found is None:
        raise NotFoundException(text("no_task_of_yours", services.options.locale, id=task_id[:80]))
    return found


@post("/{task_id:str}/reply", status_code=200, summary="Answer a question of a task")
async def reply_to_task(services: Services, principal: Principal, task_id: str, data: Reply) -> Taken:
    """404 for an unknown task, 409 where the question was answered, has expired, or is not one of the task."""
    task = await _demand(services, principal, task_id)
    if task_of(data.request_id) != task.task_id:
        raise RequestNotOpen(id=data.request_id[:80])
    by = user_actor(principal.user_id)
    await services.conversations.reply(task.stream, data.request_id, data.content, by)
    return Taken(str(task.task_id), "answered")


@post("/{task_id:str}/confirm", status_code=200, summary="Agree to a call of a task, or refuse it")
async def confirm_for_task(
    services: Services, principal: Principal, task_id: str, data: ConfirmationReply
) -> Taken:
    """404 for an unknown task, 409 where it was answered, has expired, or is not one of the task."""
    task = await _demand(services, principal, task_id)
    if task_of(data.confirmation_id) != task.task_id:
        raise RequestNotOpen(id=data.confirmation_id[:80])
    by = user_actor(principal.user_id)
    await services.conversations.confirm(task.stream, data.confirmation_id, data.approved, by)
    return Taken(str(task.task_id), "approved" if data.approved else "refused")


@post("/{task_id:str}/cancel", status_code=200, summary="Cancel a task, on whatever node it runs")
async def cancel_task(services: Services, principal: Principal, task_id: str) -> Taken:
    """Asking twice is asking once. 404 for an unknown task, 409 for one that has ended."""
    task = await _demand(services, principal, task_id)
    by = user_actor(principal.user_id)
    if not await services.conversations.request_cancel(task.task_id, task.stream, by):
        await caught_up(services)
        ended = await tasks.get(services.reads, task.task_id) or task
        sentence = text("task_ended", services.options.locale, status=ended.status)
        raise HTTPException(sentence, status_code=409)
    return Taken(str(task.task_id), "cancelling")


requests_router = Router(
    path="/api/v1/tasks", route_handlers=[reply_to_task, confirm_for_task, cancel_task], tags=["tasks"]
)
