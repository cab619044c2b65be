"""Chat sessions bound to an agent, over REST (wire contract, section 2)."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, delete, get, post
from litestar.params import Parameter
from msgspec import Meta

from app.api.fallbacks import Fallback
from app.api.portal import caught_up
from app.api.portal_wire import Ended
from app.api.services import Services
from app.api.turns import follow
from app.auth.principal import Principal
from app.core.texts import text
from app.runs.accept import Accepted
from app.runs.refused import SessionIsClosed
from app.runs.sessions import Sessions, SessionUnknown
from projections import sessions, transcript


class OpenBody(msgspec.Struct, frozen=True):
    """`session_id`: an id of the client's own; opening it twice is opening it once."""

    agent_name: str
    metadata: dict[str, Any] | None = None
    session_id: str | None = None


class SessionMessage(msgspec.Struct, frozen=True):
    """A message to a session's agent. `execution_mode` beats the agent's own mode. `client_message_id`: sent twice,
    taken once."""

    content: str
    role: Literal["user"] = "user"
    execution_mode: Annotated[str, Meta(max_length=80)] | None = None
    model: str | None = None
    sources: tuple[str, ...] = ()
    client_message_id: str | None = None


class ShownSession(msgspec.Struct, frozen=True):
    """`status` is active or closed."""

    session_id: str
    agent_name: str
    status: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class ShownMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of a session. `metadata` is that of the portal's messages."""

    message_id: str
    session_id: str
    role: str
    content: str
    created_at: datetime
    tool_call_id: str | None = None
    agent_name: str | None = None
    metadata: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The assistant's message. `status` is completed, failed, cancelled or steered; `content` is the answer or one
    sentence about what went wrong. `fallback_status` and `error_struct` where the last tier of the fallback chain
    answered."""

    message_id: str
    session_id: str
    role: str
    content: str
    agent_name: str
    created_at: datetime
    task_id: str
    status: str
    offset: int
    fallback_status: dict[str, Any] | None = None
    error_struct: dict[str, Any] | None = None
    merged_into: str | None = None


class Closed(msgspec.Struct, frozen=True):
    status: str
    session_id: str


def sessions_of(services: Services) -> Sessions:
    return Sessions(services.log, services.conversations.roster.find_agent)


async def find_session(services: Services, principal: Principal, session_id: str) -> sessions.Session:
    """The caller's session as it is now, whichever node has changed it. Raises `SessionUnknown`."""
    await caught_up(services)
    found = await sessions.get(services.reads, principal.user_id, session_id)
    if found is None:
        raise SessionUnknown(id=session_id[:80])
    return found


async def accept(
    services: Services, principal: Principal, session_id: str, message: SessionMessage
) -> tuple[sessions.Session, Accepted]:
    """Take a message of a session and start its task. Raises `SessionUnknown`, `SessionIsClosed`, and what
    `Conversations.accept` raises; then nothing was written."""
    session = await find_session(services, principal, session_id)
    if session.status == "closed":
        raise SessionIsClosed(id=session_id)
    accepted = await services.conversations.accept(
        principal.user_id,
        message.content,
        session_id,
        model=message.model,
        sources=message.sources,
        client_message_id=message.client_message_id,
        agent=session.agent_name,
        mode=message.execution_mode,
    )
    services.runs.start(accepted)
    return session, accepted


@post("/sessions", status_code=201, summary="Open a session with an agent")
async def open_session(services: Services, principal: Principal, data: OpenBody) -> ShownSession:
    """404 for an unknown agent; 409 where the client's own id is taken."""
    await services.conversations.roster.refresh()
    session_id, _ = await sessions_of(services).open(
        principal.user_id, data.agent_name, data.metadata, session_id=data.session_id
    )
    return _shown(await find_session(services, principal, session_id))


@get("/sessions", summary="One's sessions, newest first")
async def list_sessions(
    services: Services, principal: Principal, limit: Annotated[int, Parameter(ge=1, le=500)] = 50
) -> list[ShownSession]:
    await caught_up(services)
    return [
        _shown(row) for row in await sessions.list_by_owner(services.reads, principal.user_id, limit=limit)
    ]


@get("/sessions/{session_id:str}", summary="A session")
async def read_session(services: Services, principal: Principal, session_id: str) -> ShownSession:
    return _shown(await find_session(services, principal, session_id))


@delete("/sessions/{session_id:str}", status_code=200, summary="Close a session")
async def close_session(services: Services, principal: Principal, session_id: str) -> Closed:
    """Everything stays readable; a task that is running goes on. Closing twice is closing once."""
    session = await find_session(services, principal, session_id)
    if session.status != "closed":
        await sessions_of(services).close(principal.user_id, session_id)
        await caught_up(services)
    return Closed("closed", session_id)


@get("/sessions/{session_id:str}/messages", summary="A session's messages, oldest first")
async def read_messages(
    services: Services,
    principal: Principal,
    session_id: str,
    limit: Annotated[int, Parameter(ge=1, le=1000)] = 50,
    offset: Annotated[int, Parameter(ge=0, le=2**31)] = 0,
) -> list[ShownMessage]:
    session = await find_session(services, principal, session_id)
    found = await transcript.listed(services.reads, principal.user_id, session_id, limit=limit, offset=offset)
    return [_message(session, one) for one in found]


@post(
    "/sessions/{session_id:str}/messages", status_code=200, summary="Send a message and wait for the answer"
)
async def send_message(
    services: Services, principal: Principal, session_id: str, data: SessionMessage
) -> Answer:
    """404 for an unknown session or agent, 400 where it is closed. Questions that the task asks meanwhile are answered
    over a socket or `POST /tasks/{task_id}/reply`."""
    locale = services.options.locale
    session, accepted = await accept(services, principal, session_id, data)
    async for shown in follow(services, accepted.stream, accepted.task_id, first_offset=accepted.offset):
        if isinstance(shown, Ended):
            await caught_up(services)
            return _answer(session, accepted, shown)
    ended = Ended("running", text("shutdown", locale), datetime.now(UTC), accepted.offset)
    return _answer(session, accepted, ended)


def _answer(session: sessions.Session, accepted: Accepted, ended: Ended) -> Answer:
    fallback = ended.fallback or Fallback({}, {})
    return Answer(
        ended.message_id or str(accepted.task_id),
        session.session_id,
        "assistant",
        ended.message,
        session.agent_name,
        ended.timestamp,
        str(accepted.task_id),
        ended.status,
        ended.offset,
        fallback.fallback_status or None,
        fallback.error_struct or None,
        ended.merged_into,
    )


def _shown(row: sessions.Session) -> ShownSession:
    return ShownSession(
        row.session_id, row.agent_name, row.status, row.metadata, row.created_at, row.updated_at
    )


def _message(session: sessions.Session, message: transcript.Message) -> ShownMessage:
    metadata = message.metadata
    agent = metadata.get("agent") or (session.agent_name if message.role == "assistant" else None)
    return ShownMessage(
        message.id,
        session.session_id,
        message.role,
        message.content,
        message.timestamp,
        metadata.get("tool_call_id"),
        agent,
        metadata,
    )


chat_router = Router(
    path="/api/v1/chat",
    route_handlers=[open_session, list_sessions, read_session, close_session, read_messages, send_message],
    tags=["chat"],
)
