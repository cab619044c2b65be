"""The portal's socket (wire contract, section 1): chat, cancel, interrupt, resume, replies to what runs ask, ping.

The socket only follows tasks; they belong to the process and go on without it.
"""

import asyncio
from typing import assert_never
from uuid import UUID

import msgspec
from litestar import WebSocket, websocket

from app.api import requests
from app.api.portal import ChatBody, accept, caught_up
from app.api.portal_wire import socket_frame
from app.api.requests import ConfirmationReply, Reply
from app.api.services import Services
from app.api.shown import Ended, Meeting, Routed, Shown, Step
from app.api.socket_loop import attend, decoded, demand_writer, sentence_of
from app.api.sockets import Line, open_line
from app.api.turns import follow
from app.core import streams
from app.core.envelope import user_actor
from app.core.texts import text
from app.log.errors import HoleInLog
from projections import tasks

FOLLOWED_MAX = 64


class Chat(ChatBody, frozen=True, tag="chat"):
    """A user message; creates the conversation if needed."""


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Cancel the running task of this socket: the oldest of the conversation that was chatted in last. `task_id`:
    another one of those that it follows."""

    task_id: str | None = None


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Go on receiving a task behind offset `after`. Without it, a task that has ended answers with its end alone."""

    task_id: str = ""
    conversation_id: str = ""
    after: int | None = None


class Interrupt(msgspec.Struct, frozen=True, tag="interrupt"):
    """Cut short who is speaking now in a board or team of the conversation that was chatted in last; it goes on.
    `task_id`: in another one of the tasks that this socket follows."""

    task_id: str | None = None


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Heartbeat."""


Frame = Chat | Cancel | Interrupt | Resume | Reply | ConfirmationReply | Ping
KINDS: dict[str, type[Frame]] = {
    "chat": Chat,
    "cancel": Cancel,
    "interrupt": Interrupt,
    "resume": Resume,
    "reply": Reply,
    "confirmation_reply": ConfirmationReply,
    "ping": Ping,
}


class _Session:
    """What one socket follows. `open` are the tasks that have not ended for it."""

    def __init__(self, services: Services, line: Line) -> None:
        self.services = services
        self.line = line
        self.conversation_id: str | None = None
        self.followed: dict[UUID, asyncio.Task[None]] = {}
        self.streams: dict[UUID, str] = {}
        self.operations: set[UUID] = set()
        self.open: set[UUID] = set()

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

    async def cancel(self, frame: Cancel) -> None:
        chosen = self._chosen(frame)
        if not chosen:
            await self.line.error(text("no_running_task", self.line.locale))
            return
        by = user_actor(self.line.principal.user_id)
        await self.services.conversations.request_cancel(chosen[0], self.streams[chosen[0]], by)

    async def interrupt(self, frame: Interrupt) -> None:
        by = user_actor(self.line.principal.user_id)
        for task_id in self._chosen(frame):
            if await self.services.conversations.interrupt(task_id, self.streams[task_id], by):
                return
        await self.line.error(text("nobody_speaks", self.line.locale))

    def _chosen(self, frame: Cancel | Interrupt) -> list[UUID]:
        """The running tasks that are meant: those of the conversation that was chatted in last, oldest first."""
        running = [task_id for task_id in self.followed if self._is_meant(task_id, frame)]
        return [one for one in running if self.streams[one] == self.streams[running[-1]]]

    def _is_meant(self, task_id: UUID, frame: Cancel | Interrupt) -> bool:
        if self.followed[task_id].done():
            return False
        return task_id not in self.operations if frame.task_id is None else frame.task_id == str(task_id)

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
            self.operations.discard(old)
            del self.streams[old]

    async def _send_turn(self, stream: str, task_id: UUID, *, first_offset: int, after: int) -> None:
        self.open.add(task_id)
        try:
            turn = follow(
                self.services, stream, task_id, first_offset=first_offset, after=after, beside=self.open
            )
            async for shown in turn:
                await self._show(shown, stream, task_id)
                if isinstance(shown, Ended):
                    return
        except HoleInLog as error:
            await self.line.error(str(error), task_id=str(task_id))
        except Exception as error:
            message = sentence_of(error, self.line.locale, "portal socket")
            await self.line.error(message, task_id=str(task_id))
        finally:
            self.open.discard(task_id)

    async def _show(self, shown: Shown, stream: str, task_id: UUID) -> None:
        match shown:
            case Ended() if task_id in self.operations:
                return  # its result was a step
            case Step(name="operation", data={"status": "operation_started", "operation_id": started}):
                operation_id, offset = UUID(started), shown.offset or 0
                self.operations.add(operation_id)
                await self.line.send(socket_frame(shown, str(task_id)))
                # Its task was requested in the same append, before this event.
                self._follow(stream, operation_id, first_offset=max(1, offset - 1), after=offset)
            case Routed() | Step() | Meeting() | Ended():
                await self.line.send(socket_frame(shown, str(task_id)))
            case _ as never:
                assert_never(never)

    async def handle(self, received: str) -> None:
        frame = decoded(received, KINDS, self.line.locale)
        if isinstance(frame, Chat | Cancel | Interrupt | Reply | ConfirmationReply):
            demand_writer(self.line)
        match frame:
            case Chat():
                await self.chat(frame)
            case Cancel():
                await self.cancel(frame)
            case Interrupt():
                await self.interrupt(frame)
            case Resume():
                await self.resume(frame)
            case Reply():
                await requests.reply(self.services, self.line.principal, frame)
            case ConfirmationReply():
                await requests.confirm(self.services, self.line.principal, frame)
            case Ping():
                await self.line.send({"type": "pong"})
            case _ as never:
                assert_never(never)

    def close(self) -> None:
        for task in self.followed.values():
            task.cancel()


@websocket("/api/v1/portal/ws")
async def portal_socket(socket: WebSocket, services: Services) -> None:  # pyright: ignore[reportMissingTypeArgument,reportUnknownParameterType]
    """Frames in: chat, cancel, interrupt, resume, reply, confirmation_reply, ping. A dropped socket never stops a
    task."""
    line = await open_line(socket, services, "portal")  # pyright: ignore[reportUnknownArgumentType]
    if line is None:
        return
    async with services.sockets.admit(line):
        session = _Session(services, line)
        try:
            await attend(services, line, session.handle, where="portal socket")
        finally:
            session.close()
