"""Answers to what runs ask of people, and cancellation, by task: from any socket or over REST, on any node."""

from typing import Annotated, assert_never
from uuid import UUID

import msgspec
from litestar import Router, post
from litestar.exceptions import HTTPException, NotFoundException
from msgspec import Meta

from app.api.portal import caught_up
from app.api.problems import problems
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
    """The answer to a question (`ask_human`). The first one counts; an empty one is none."""

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
    for somebody else's, `MessageEmpty`, `MessageTooLong`."""
    found = await _stream_of(services, principal, frame.request_id, stream)
    await _settle(services, principal, found, frame)


async def confirm(
    services: Services, principal: Principal, frame: ConfirmationReply, *, stream: str | None = None
) -> None:
    """As `reply`, for a confirmation."""
    found = await _stream_of(services, principal, frame.confirmation_id, stream)
    await _settle(services, principal, found, frame)


async def answer(
    services: Services, principal: Principal, task: tasks.Task, frame: Reply | ConfirmationReply
) -> None:
    """Answer what this task asks, or a task that it has started (a team's member). Raises `RequestNotOpen`."""
    request_id = frame.request_id if isinstance(frame, Reply) else frame.confirmation_id
    asking = task_of(request_id)
    if asking is not None and asking != task.task_id:
        started = await find_task(services, principal, asking)
        if started is None or (started.metadata.parent, started.stream) != (str(task.task_id), task.stream):
            asking = None
    if asking is None:
        raise RequestNotOpen(id=request_id[:80])
    await _settle(services, principal, task.stream, frame)


async def cancel(services: Services, principal: Principal, task: tasks.Task) -> None:
    """Ask for the task's end, on whatever node it runs; asking twice is asking once. Raises 409 where it has ended."""
    by = user_actor(principal.user_id)
    if not await services.conversations.request_cancel(task.task_id, task.stream, by):
        await caught_up(services)
        ended = await tasks.get(services.reads, task.task_id) or task
        sentence = text("task_ended", services.options.locale, status=ended.status)
        raise HTTPException(sentence, status_code=409)


async def find_task(services: Services, principal: Principal, task_id: UUID) -> tasks.Task | None:
    """The task, where the caller may see it: one's own; admins and auditors see everybody's. A view that is late is
    waited for, but only for a task that it does not know."""
    owner = None if principal.sees_all else principal.user_id
    task = await tasks.get(services.reads, task_id, owner=owner)
    if task is None:
        await caught_up(services)
        task = await tasks.get(services.reads, task_id, owner=owner)
    return task


async def demand_task(services: Services, principal: Principal, task_id: str) -> tasks.Task:
    """Raises 404 for what is not a task that the caller may see."""
    try:
        found = await find_task(services, principal, UUID(task_id))
    except ValueError:
        found = None
    if found is None:
        raise NotFoundException(text("no_task_of_yours", services.options.locale, id=task_id[:80]))
    return found


async def _stream_of(services: Services, principal: Principal, request_id: str, stream: str | None) -> str:
    """A request's id names its task."""
    task_id = task_of(request_id)
    if task_id is not None:
        task = await find_task(services, principal, task_id)
        if task is not None and stream in (None, task.stream):
            return task.stream
    raise RequestNotOpen(id=request_id[:80])


async def _settle(
    services: Services, principal: Principal, stream: str, frame: Reply | ConfirmationReply
) -> None:
    by = user_actor(principal.user_id)
    match frame:
        case Reply():
            await services.conversations.reply(stream, frame.request_id, frame.content, by)
        case ConfirmationReply():
            await services.conversations.confirm(stream, frame.confirmation_id, frame.approved, by)
        case _ as never:
            assert_never(never)


@post("/{task_id:str}/reply", status_code=200, responses=problems(409), summary="Answer a question of a task")
async def reply_to_task(services: Services, principal: Principal, task_id: str, data: Reply) -> Taken:
    """404 for an unknown task, 409 where the question was answered, has expired, or is not one of the task; 400 for an
    empty answer, which leaves the question open."""
    task = await demand_task(services, principal, task_id)
    await answer(services, principal, task, data)
    return Taken(str(task.task_id), "answered")


@post(
    "/{task_id:str}/confirm",
    status_code=200,
    responses=problems(409),
    summary="Agree to a call of a task, or refuse it",
)
async def confirm_for_task(
    services: Services, principal: Principal, task_id: str, data: ConfirmationReply
) -> Taken:
    """404 for an unknown task, 409 where it was answered, has expired, or is not one of the task."""
    task = await demand_task(services, principal, task_id)
    await answer(services, principal, task, data)
    return Taken(str(task.task_id), "approved" if data.approved else "refused")


@post(
    "/{task_id:str}/cancel",
    status_code=200,
    responses=problems(409),
    summary="Cancel a task, on whatever node it runs",
)
async def cancel_task(services: Services, principal: Principal, task_id: str) -> Taken:
    """Asking twice is asking once. 404 for an unknown task, 409 for one that has ended."""
    task = await demand_task(services, principal, task_id)
    await cancel(services, principal, task)
    return Taken(str(task.task_id), "cancelling")


requests_router = Router(
    path="/api/v1/tasks", route_handlers=[reply_to_task, confirm_for_task, cancel_task], tags=["tasks"]
)
