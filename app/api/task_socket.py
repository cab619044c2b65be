"""The socket of one task (wire contract, section 3): whoever may see the task may watch it, on any node.

    connected ──► what there was behind `after` ──► live ──► result or error, once ──► open until the client leaves
                                                                                      or is silent for 60 s

Every frame of the task has an `offset`: up to there the client has been told everything. `?after=` that offset goes on
behind it. Where one event shows several pieces, those before its last have a `cursor` with the number of the piece
behind a dot; `?after=` that cursor repeats none of them.
"""

import re
from typing import Any, assert_never

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import HTTPException, NotFoundException

from app.api import feed_wire, requests
from app.api.feed import resume_answer
from app.api.portal import caught_up
from app.api.queries import InvalidQuery
from app.api.requests import ConfirmationReply, Reply
from app.api.services import Services
from app.api.shown import Ended, Meeting, Part, Routed, Shown, Step
from app.api.socket_loop import attend, decoded, demand_writer, sentence_of
from app.api.sockets import CLOSE_NOT_FOUND, CLOSE_TRY_AGAIN, FrameError, Line, open_line
from app.api.turns import follow
from app.log.errors import HoleInLog
from app.log.log import Resumption
from projections import tasks

_PART = re.compile(r"\.([0-9]{1,4})\Z", re.ASCII)
Told = dict[str, Any]


class Cancel(msgspec.Struct, frozen=True):
    """Ends the task for all who watch it."""


class Ping(msgspec.Struct, frozen=True):
    """Heartbeat."""


Frame = Cancel | Reply | ConfirmationReply | Ping
KINDS: dict[str, type[Frame]] = {
    "cancel": Cancel,
    "reply": Reply,
    "confirmation_reply": ConfirmationReply,
    "ping": Ping,
}


class TaskFrames:
    """What is shown of a task as frames with their places; nothing that the client has been told. `parts` are the
    pieces of the event behind `resumption.after` that it knows."""

    def __init__(self, task: tasks.Task, resumption: Resumption, *, parts: int = 0) -> None:
        self._task = task
        self._epoch = resumption.epoch
        self._after = self._offset = resumption.after
        self._known = Part(resumption.after + 1, parts)

    def frame(self, shown: Shown) -> Told | None:
        """None where the client has been told."""
        cursor = ""
        if isinstance(shown, Step | Meeting) and shown.part is not None:
            if shown.part <= self._known:
                return None
            # Everything before this event has been told.
            self._offset = shown.part.offset - 1
            cursor = f".{shown.part.number}"
        elif shown.offset is not None:
            if shown.offset <= self._after:
                return None
            self._offset = shown.offset
        place = {
            "offset": self._offset,
            "cursor": feed_wire.format_cursor(self._epoch, self._offset) + cursor,
        }
        return {**self._framed(shown), **place}

    def _framed(self, shown: Shown) -> Told:
        task_id = str(self._task.task_id)
        match shown:
            case Routed():
                return _step("routing", 0, shown.data, shown.timestamp or self._task.created_at, task_id)
            case Step():
                return _step(shown.name, shown.step, shown.data, shown.timestamp, task_id)
            case Meeting():
                of = shown.task_id or task_id
                return _step(shown.name, shown.data.get("step") or 0, shown.data, shown.timestamp, of)
            case Ended(status="failed"):
                failed = {"message": shown.message, **shown.told_of_quota, **_end(shown, task_id)}
                return {"type": "error", "data": failed}
            case Ended(status="cancelled"):
                return {"type": "result", "data": _end(shown, task_id)}
            case Ended():
                return {"type": "result", "data": {"output": shown.message, **_end(shown, task_id)}}
            case _ as never:
                assert_never(never)


class _Watch:
    """One socket of a task."""

    def __init__(self, services: Services, line: Line, task: tasks.Task, frames: TaskFrames) -> None:
        self.services = services
        self.line = line
        self.task = task
        self.frames = frames

    async def tell(self, after: int) -> None:
        """Everything behind offset `after`, to the task's end; then nothing more, but the socket stays open."""
        task = self.task
        turn = follow(self.services, task.stream, task.task_id, first_offset=task.first_offset, after=after)
        try:
            async for shown in turn:
                frame = self.frames.frame(shown)
                if frame is not None:
                    await self.line.send(frame)
        except HoleInLog as error:
            await self.line.error(str(error))
            return
        await self.line.gone.wait()

    async def handle(self, received: str) -> None:
        frame = decoded(received, KINDS, self.line.locale)
        if not isinstance(frame, Ping):
            demand_writer(self.line)
        principal = self.line.principal
        match frame:
            case Cancel():
                try:
                    await requests.cancel(self.services, principal, self.task)
                except HTTPException as error:
                    raise FrameError(error.detail) from None
            case Reply() | ConfirmationReply():
                await requests.answer(self.services, principal, self.task, frame)
            case Ping():
                await self.line.send({"type": "pong"})
            case _ as never:
                assert_never(never)


@websocket("/api/v1/ws/tasks/{task_id:str}")
async def task_socket(
    socket: WebSocket,  # pyright: ignore[reportMissingTypeArgument,reportUnknownParameterType]
    services: Services,
    task_id: str,
    after: str | None = None,
) -> None:
    """Frames in: cancel, reply, confirmation_reply, ping. `after` (an offset or a cursor): only what comes behind it.
    A task that is unknown or somebody else's: an error frame, then 4004. A dropped socket never stops a task."""
    line = await open_line(socket, services, "task")  # pyright: ignore[reportUnknownArgumentType]
    if line is None:
        return
    async with services.sockets.admit(line):
        try:
            if after:  # who has seen the end learns from the status alone that there is no more
                await caught_up(services)
            task = await requests.demand_task(services, line.principal, task_id)
            resumption, parts = await _resumed(services, task, after)
        except (NotFoundException, InvalidQuery) as error:
            message = error.detail if isinstance(error, NotFoundException) else error.sentence(line.locale)
            await line.refuse(CLOSE_NOT_FOUND, message)
            return
        except Exception as error:
            await line.refuse(CLOSE_TRY_AGAIN, sentence_of(error, line.locale, "task socket"))
            return
        await line.send(_connected(task, resumption))
        watch = _Watch(services, line, task, TaskFrames(task, resumption, parts=parts))
        await attend(
            services,
            line,
            watch.handle,
            where="task socket",
            beside=watch.tell(resumption.after),
            heartbeat_seconds=services.options.task_heartbeat_seconds,
        )


async def _resumed(services: Services, task: tasks.Task, after: str | None) -> tuple[Resumption, int]:
    """Where the client's cursor stands, and how many pieces of the next event it knows; at the beginning where there is
    none, or it cannot be resumed. Raises `InvalidQuery`."""
    part = _PART.search(after or "")
    cursor = feed_wire.parse_cursor(after[: part.start()] if part and after else after)
    resumption = await services.log.resume(task.stream, cursor.offset, cursor.epoch)
    if resumption.answer == "cannot":
        return msgspec.structs.replace(resumption, after=0), 0
    return resumption, int(part[1]) if part else 0


def _connected(task: tasks.Task, resumption: Resumption) -> Told:
    resume = resume_answer(resumption, task.conversation_id)
    return {
        "type": "connected",
        "task_id": str(task.task_id),
        "conversation_id": task.conversation_id,
        "agent_name": task.agent_name,
        "status": task.status,
        "offset": resumption.after,
        "cursor": feed_wire.format_cursor(resumption.epoch, resumption.after),
        "resume": {"answer": resume.answer, "reason": resume.reason},
    }


def _step(name: str, step: int, data: Told, timestamp: object, task_id: str) -> Told:
    told = {"event_type": f"turn.{name}", "step": step, "data": data, "timestamp": timestamp}
    return {"type": "step", "data": told, "task_id": task_id}


def _end(ended: Ended, task_id: str) -> Told:
    end: Told = {
        "status": ended.status,
        "task_id": task_id,
        "timestamp": ended.timestamp,
        "total_steps": ended.steps,
        "total_tokens": ended.tokens,
    }
    if ended.fallback is not None:
        end |= msgspec.to_builtins(ended.fallback)
    if ended.merged_into is not None:
        end["merged_into"] = ended.merged_into
    if ended.error_class is not None:
        end["error_class"] = ended.error_class
    return end
