"""The portal's socket (wire contract, section 1): chat, cancel, resume, ping.

The socket only follows tasks; they belong to the process and go on without it.
"""

import asyncio
from typing import Any, assert_never
from uuid import UUID

import msgspec
from litestar import WebSocket, websocket

from app.api import errors
from app.api.portal import ChatBody, accept, caught_up
from app.api.portal_wire import Ended, socket_frame
from app.api.services import Services
from app.api.sockets import CLOSE_INTERNAL, CLOSE_TRY_AGAIN, FrameError, Line, open_line
from app.api.turns import follow
from app.core import streams
from app.core.envelope import user_actor
from app.core.texts import text
from app.log.errors import HoleInLog, LogError
from projections import tasks

FOLLOWED_MAX = 64


class Chat(ChatBody, frozen=True, tag="chat"):
    """A user message; creates the conversation if needed."""


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Cancel the running task of this socket."""


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Go on receiving a task behind offset `after`. Without it, a task that has ended answers with its end alone."""

    task_id: str = ""
    conversation_id: str = ""
    after: int | None = None


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Heartbeat."""


Frame = Chat | Cancel | Resume | Ping
_KINDS: dict[str, type[Frame]] = {"chat": Chat, "cancel": Cancel, "resume": Resume, "ping": Ping}


class _Session:
    """What one socket follows."""

    def __init__(self, services: Services, line: Line) -> None:
        self.services = services
        self.line = line
        self.conversation_id: str | None = None
        self.followed: dict[UUID, asyncio.Task[None]] = {}
        self.streams: dict[UUID, str] = {}

    async def chat(self, frame: Chat) -> None:
        accepted = await accept(self.services, self.line.principal, frame)
        await self._switch(accepted.conversation_id)
        self._follow(accepted.stream, accepted.task_id, first_offset=accepted.offset, after=0)

    async def resume(self, frame: Resume) -> None:
        """Fails closed: whatever does not fit together gets one error frame and nothing else."""
        locale = self.line.locale
        if not frame.task_id or not frame.conversation_id:
            await self.line.error(text("resume_needs_conversation", locale))
            return
        try:
            task_id = UUID(frame.task_id)
            stream = streams.conversation(self.line.principal.user_id, frame.conversation_id)
        except ValueError:
            await self.line.error(text("no_task", locale))
            return
        await caught_up(self.services)
        task = await tasks.get(self.services.reads, task_id, owner=self.line.principal.user_id)
        if task is None or task.stream != stream:
            await self.line.error(text("no_task", locale))
            return
        await self._switch(frame.conversation_id)
        ended = task.status in ("completed", "failed", "cancelled")
        after = frame.after if frame.after is not None else (task.last_offset if ended else 0)
        self._follow(stream, task_id, first_offset=task.first_offset, after=max(0, after))

    async def cancel(self) -> None:
        running = [task_id for task_id, task in self.followed.items() if not task.done()]
        if not running:
            await self.line.error(text("no_running_task", self.line.locale))
            return
        task_id, by = running[-1], user_actor(self.line.principal.user_id)
        await self.services.conversations.request_cancel(task_id, self.streams[task_id], by)

    async def _switch(self, conversation_id: str) -> None:
        if conversation_id != self.conversation_id:
            self.conversation_id = conversation_id
            await self.line.send({"type": "connected", "conversation_id": conversation_id})

    def _follow(self, stream: str, task_id: UUID, *, first_offset: int, after: int) -> None:
        known = self.followed.pop(task_id, None)
        if known is not None:
            known.cancel()
        self.streams[task_id] = stream
        self.followed[task_id] = asyncio.create_task(
            self._send_turn(stream, task_id, first_offset=first_offset, after=after), name=f"follow-{task_id}"
        )
        for old in list(self.followed)[:-FOLLOWED_MAX]:
            self.followed.pop(old).cancel()
            del self.streams[old]

    async def _send_turn(self, stream: str, task_id: UUID, *, first_offset: int, after: int) -> None:
        try:
            turn = follow(self.services, stream, task_id, first_offset=first_offset, after=after)
            async for shown in turn:
                await self.line.send(socket_frame(shown, str(task_id)))
                if isinstance(shown, Ended):
                    return
        except HoleInLog as error:
            await self.line.error(str(error), task_id=str(task_id))
        except Exception as error:
            await self.line.error(
                errors.internal(error, self.line.locale, "portal socket"), task_id=str(task_id)
            )

    def close(self) -> None:
        for task in self.followed.values():
            task.cancel()


@websocket("/api/v1/portal/ws")
async def portal_socket(socket: WebSocket, services: Services) -> None:  # pyright: ignore[reportMissingTypeArgument,reportUnknownParameterType]
    """Frames in: chat, cancel, resume, ping. A dropped socket never stops a task."""
    line = await open_line(socket, services.keys, services.options.locale)  # pyright: ignore[reportUnknownArgumentType]
    if line is None:
        return
    async with services.sockets.admit(line):
        session = _Session(services, line)
        listening = asyncio.create_task(_listen(session))
        stopping = asyncio.create_task(services.stopping.wait())
        try:
            await asyncio.wait((listening, stopping), return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and (error := listening.exception()) is not None:
                await line.error(errors.internal(error, line.locale, "portal socket"))  # pyright: ignore[reportArgumentType]
                await line.close(CLOSE_INTERNAL)
        finally:
            stopping.cancel()
            listening.cancel()
            await asyncio.gather(listening, stopping, return_exceptions=True)
            session.close()
            await line.close(CLOSE_TRY_AGAIN)


async def _listen(session: _Session) -> None:
    line, locale = session.line, session.line.locale
    while True:
        try:
            received = await line.receive(session.services.options.heartbeat_seconds)
            if received is None:
                return
            await _handle(session, _decoded(received, line))
        except FrameError as error:
            await line.error(str(error))
        except Exception as error:
            message = errors.sentence(error, locale)
            if message is None and isinstance(error, LogError):
                message = str(error)
            await line.error(message or errors.internal(error, locale, "portal socket"))


async def _handle(session: _Session, frame: Frame) -> None:
    if not session.line.principal.may_write and isinstance(frame, Chat | Cancel):
        raise FrameError(text("forbidden", session.line.locale, role=session.line.principal.role))
    match frame:
        case Chat():
            await session.chat(frame)
        case Cancel():
            await session.cancel()
        case Resume():
            await session.resume(frame)
        case Ping():
            await session.line.send({"type": "pong"})
        case _ as never:
            assert_never(never)


def _decoded(received: str, line: Line) -> Frame:
    """Raises `FrameError` with one sentence that says what is wrong."""
    try:
        values: Any = msgspec.json.decode(received)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise FrameError(text("not_json", line.locale)) from None
    kind = values.get("type") if isinstance(values, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    if not isinstance(kind, str) or kind not in _KINDS:
        shown = str(kind)[:40]  # pyright: ignore[reportUnknownArgumentType]
        raise FrameError(text("unknown_frame", line.locale, type=shown, known=", ".join(_KINDS)))
    try:
        return msgspec.convert(values, _KINDS[kind])
    except msgspec.ValidationError as error:
        raise FrameError(text("invalid_frame", line.locale, type=kind, reason=str(error))) from None
