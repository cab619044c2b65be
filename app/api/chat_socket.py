"""The socket of a chat session (wire contract, section 2): messages, replies to what runs ask, cancel, interrupt, ping.

It is a cursor on the session's stream, so it tells of every task of the session, whichever socket, node or REST call
has started it, and any of its sockets can answer or cancel. Sockets only follow; tasks go on without them.
"""

import asyncio
from typing import Annotated, assert_never
from uuid import UUID

import msgspec
from litestar import WebSocket, websocket
from litestar.params import Parameter, QueryParameter
from msgspec import Meta

from app.api import feed_wire, requests
from app.api.chat_wire import Frame as Told
from app.api.chat_wire import SessionFrames
from app.api.feed import batches, resume_answer
from app.api.queries import InvalidQuery
from app.api.requests import ConfirmationReply, Reply
from app.api.services import Services
from app.api.session_access import SessionMessage, accept, find_session
from app.api.socket_loop import attend, decoded, demand_writer, sentence_of
from app.api.sockets import CLOSE_NOT_FOUND, CLOSE_TRY_AGAIN, FrameError, Line, open_line
from app.core import streams
from app.core.envelope import user_actor
from app.core.streams import InvalidConversationId
from app.core.texts import text
from app.log.log import Resumption
from app.log.subscribe import Batch
from app.runs.sessions import SessionUnknown
from projections import tasks
from projections.sessions import Session

AGAIN_MAX = 16


class Message(SessionMessage, frozen=True):
    """A message to the session's agent."""


class Cancel(msgspec.Struct, frozen=True):
    """Cancel the session's running task, or the task `task_id`."""

    task_id: Annotated[str, Meta(max_length=80)] | None = None


class Interrupt(msgspec.Struct, frozen=True):
    """Cut short who is speaking now in the session's board or team, or in the task `task_id`; it goes on."""

    task_id: Annotated[str, Meta(max_length=80)] | None = None


class Ping(msgspec.Struct, frozen=True):
    """Heartbeat."""


Frame = Message | Reply | ConfirmationReply | Cancel | Interrupt | Ping
KINDS: dict[str, type[Frame]] = {
    "message": Message,
    "reply": Reply,
    "confirmation_reply": ConfirmationReply,
    "cancel": Cancel,
    "interrupt": Interrupt,
    "ping": Ping,
}


class _Session:
    """One socket of a session. `cursor` is how far its stream was read."""

    def __init__(
        self,
        services: Services,
        line: Line,
        session: Session,
        resumption: Resumption,
        *,
        drafts: bool,
    ) -> None:
        self.services = services
        self.line = line
        self.session = session
        self.resumption = resumption
        self.cursor = 0
        self.shown = SessionFrames(services.options.locale, after=resumption.after, drafts=drafts)
        self._sent: dict[UUID, int] = {}
        self._again: set[asyncio.Task[None]] = set()

    async def follow(self, first_offset: int) -> None:
        """Everything behind the client's cursor, then live; first what is needed to know how the open tasks stand."""
        self.cursor = first_offset - 1
        heartbeat = self.services.options.feed_heartbeat_seconds
        asked = False
        async with self.services.log.subscribe(
            self.session.stream, after=self.cursor, heartbeat_seconds=heartbeat
        ) as reader:
            if self.cursor >= self.resumption.head:
                asked = True
            async for batch in batches(self.services, reader):
                await self._tell(batch)
                if not asked and batch.cursor >= self.resumption.head:
                    asked = True
                    await self._send(self.shown.open_requests())

    async def message(self, frame: Message) -> None:
        _, accepted = await accept(self.services, self.line.principal, self.session.session_id, frame)
        if accepted.offset > self.cursor:
            self._sent[accepted.task_id] = accepted.offset
        elif accepted.duplicate and not self.shown.knows(accepted.task_id):
            self._tell_again(accepted.task_id, accepted.offset)

    async def cancel(self, frame: Cancel) -> None:
        chosen = self._chosen(frame)
        by = user_actor(self.line.principal.user_id)
        asked = bool(chosen) and await self.services.conversations.request_cancel(
            chosen[0], self.session.stream, by
        )
        if not asked:
            await self.line.error(text("no_running_task_of_session", self.line.locale))

    async def interrupt(self, frame: Interrupt) -> None:
        by = user_actor(self.line.principal.user_id)
        for task_id in self._chosen(frame):
            if await self.services.conversations.interrupt(task_id, self.session.stream, by):
                return
        await self.line.error(text("nobody_speaks", self.line.locale))

    async def handle(self, received: str) -> None:
        frame = decoded(received, KINDS, self.line.locale)
        if not isinstance(frame, Ping):
            demand_writer(self.line)
            self._demand_owner()
        stream, principal = self.session.stream, self.line.principal
        match frame:
            case Message():
                await self.message(frame)
            case Reply():
                await requests.reply(self.services, principal, frame, stream=stream)
            case ConfirmationReply():
                await requests.confirm(self.services, principal, frame, stream=stream)
            case Cancel():
                await self.cancel(frame)
            case Interrupt():
                await self.interrupt(frame)
            case Ping():
                await self.line.send({"type": "pong"})
            case _ as never:
                assert_never(never)

    def _demand_owner(self) -> None:
        """Raises `FrameError` for who watches somebody else's session."""
        if self.session.owner != self.line.principal.user_id:
            raise FrameError(text("watching_only", self.line.locale, owner=self.session.owner))

    def close(self) -> None:
        for task in self._again:
            task.cancel()

    def _chosen(self, frame: Cancel | Interrupt) -> list[UUID]:
        """The open tasks that are meant: first the one that goes on now, last those that were sent here and are not
        seen yet."""
        if frame.task_id is None:
            return [*self.shown.running(), *self._sent]
        try:
            return [UUID(frame.task_id)]
        except ValueError:
            return []

    async def _tell(self, batch: Batch) -> None:
        for recorded in batch.events:
            self.cursor = recorded.offset
            if recorded.task_id is not None:
                self._sent.pop(recorded.task_id, None)
            await self._send(self.shown.show(recorded))
        for delta in batch.deltas:
            await self._send(self.shown.token(delta))
        self.cursor = batch.cursor

    async def _send(self, frames: list[Told]) -> None:
        for frame in frames:
            await self.line.send(frame)

    def _tell_again(self, task_id: UUID, offset: int) -> None:
        """The client does not know that its message was taken before: tell it what became of it."""
        if len(self._again) < AGAIN_MAX:
            telling = asyncio.create_task(self._repeat(task_id, offset))
            self._again.add(telling)
            telling.add_done_callback(self._again.discard)

    async def _repeat(self, task_id: UUID, offset: int) -> None:
        frames = SessionFrames(self.services.options.locale, after=0, meetings=self.shown.meetings)
        try:
            async with self.services.log.subscribe(
                self.session.stream, after=offset - 1, deltas=False
            ) as reader:
                async for batch in batches(self.services, reader):
                    for recorded in batch.events:
                        if recorded.task_id == task_id or frames.is_member(recorded):
                            await self._send(frames.show(recorded))
                    if batch.events and not frames.knows(task_id):
                        return
        except Exception as error:
            await self.line.error(sentence_of(error, self.line.locale, "chat socket"))


@websocket("/api/v1/chat/ws/{session_id:str}")
async def chat_socket(
    socket: WebSocket,  # pyright: ignore[reportMissingTypeArgument,reportUnknownParameterType]
    services: Services,
    session_id: str,
    after: str | None = None,
    drafts: Annotated[
        str | None,
        Parameter(description="true: also what a model writes before it is known whether it is the answer"),
    ] = None,
    owner_: Annotated[
        str | None,
        QueryParameter(name="owner", description="whose session; for admins and auditors, who then watch"),
    ] = None,
) -> None:
    """Frames in: message, reply, confirmation_reply, cancel, interrupt, ping. `after` (an offset, or the cursor of
    `connected`): what was missed behind it comes first. A dropped socket never stops a task."""
    line = await open_line(socket, services, "chat")  # pyright: ignore[reportUnknownArgumentType]
    if line is None:
        return
    async with services.sockets.admit(line):
        try:
            shows_drafts = feed_wire.parse_flag("drafts", drafts)
            session, resumption = await _resumed(services, line, session_id, after, owner_)
            behind = await tasks.first_offset_behind(
                services.reads, session.owner, session_id, after=resumption.after
            )
        except Exception as error:
            message = sentence_of(error, line.locale, "chat socket")
            await line.error(message)
            wrong = isinstance(error, SessionUnknown | InvalidConversationId | InvalidQuery)
            await line.close(CLOSE_NOT_FOUND if wrong else CLOSE_TRY_AGAIN, message)
            return
        await line.send(_connected(session, resumption))
        first = min(behind or resumption.after + 1, resumption.after + 1)
        opened = _Session(services, line, session, resumption, drafts=shows_drafts)
        try:
            await attend(services, line, opened.handle, where="chat socket", beside=opened.follow(first))
        finally:
            opened.close()


async def _resumed(
    services: Services, line: Line, session_id: str, after: str | None, owner: str | None
) -> tuple[Session, Resumption]:
    """The session, and where the socket begins: behind the client's cursor; at the end where there is none, or it
    cannot be resumed. Raises `SessionUnknown`, `InvalidQuery`, `InvalidConversationId`."""
    cursor = feed_wire.parse_cursor(after)
    owner = owner or line.principal.user_id
    if owner != line.principal.user_id and not line.principal.sees_all:
        raise SessionUnknown(id=session_id[:80])
    stream = streams.conversation(owner, session_id, name="session_id")
    resumption = await services.log.resume(stream, cursor.offset, cursor.epoch)
    session = await find_session(services, owner, session_id)  # the views know all up to that head now
    if not after or resumption.answer == "cannot":
        resumption = msgspec.structs.replace(resumption, after=resumption.head)
    return session, resumption


def _connected(session: Session, resumption: Resumption) -> Told:
    """`resume` is missing where the client had no cursor."""
    resume = resume_answer(resumption, session.session_id)
    return {
        "type": "connected",
        "session_id": session.session_id,
        "agent_name": session.agent_name,
        "status": session.status,
        "offset": resumption.after,
        "cursor": feed_wire.format_cursor(resumption.epoch, resumption.after),
        "resume": {"answer": resume.answer, "missed": resume.missed, "reason": resume.reason},
    }
