"""Chat sessions bound to an agent, over REST (wire contract, sections 2 and 7), but for their messages."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import Parameter

from app.api.portal import caught_up
from app.api.problems import problems
from app.api.services import Services
from app.api.session_access import find_session, sessions_of
from app.api.session_messages import add_openai_messages, read_messages, read_openai_messages, send_message
from app.auth.principal import Principal
from app.core.messages import Usage
from app.core.texts import Locale
from app.runs.sessions import SessionTaken, SessionUnknown
from projections import sessions_reads
from projections.sessions import Status

PATH = "/api/v1/chat"
LIST_MAX = 500
NAME_CHARS_MAX = 200


class OpenBody(msgspec.Struct, frozen=True):
    """`session_id`: an id of the client's own; opening it twice is opening it once."""

    agent_name: str
    metadata: dict[str, Any] | None = None
    session_id: str | None = None


class ChangeBody(msgspec.Struct, frozen=True):
    """What is to change. `title` has at most 200 characters; blank: the one that the first message gives. `metadata`
    stands in the place of the one before."""

    title: str | None = None
    metadata: dict[str, Any] | None = None


class ShownUsage(msgspec.Struct, frozen=True):
    """Tokens of all tasks of the session that have ended."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Counts(msgspec.Struct, frozen=True):
    """The tasks of a session that answer messages. `open` are those that have not ended."""

    completed: int
    failed: int
    cancelled: int
    open: int


class ShownSession(msgspec.Struct, frozen=True):
    """`status` is active or closed. `message_count` counts messages of users and assistants; `updated_at` is the time
    of the last message, or of the end."""

    session_id: str
    agent_name: str
    status: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    owner: str
    title: str
    message_count: int
    usage: ShownUsage
    tasks: Counts


class Closed(msgspec.Struct, frozen=True):
    status: str
    session_id: str


@post("/sessions", status_code=201, responses=problems(404, 409), summary="Open a session with an agent")
async def open_session(services: Services, principal: Principal, data: OpenBody) -> ShownSession:
    """404 for an unknown agent; 409 where the client's own id is taken."""
    await services.conversations.roster.refresh()
    session_id, opened = await sessions_of(services).open(
        principal.user_id, data.agent_name, data.metadata, session_id=data.session_id
    )
    try:
        return _shown(services, await find_session(services, principal.user_id, session_id))
    except SessionUnknown:
        if opened is None:  # deleted: it is a session no more, whatever came behind
            raise SessionTaken(id=session_id[:80]) from None
        raise


@get(
    "/sessions",
    summary="Sessions, newest first",
    description="The total number is in the header X-Total-Count; where there are more, the next page's cursor is in "
    "X-Next-Cursor, and its address in Link.",
)
async def list_sessions(
    services: Services,
    owner: str,
    limit: Annotated[int, Parameter(ge=1, le=LIST_MAX)] = 50,
    cursor: Annotated[str | None, Parameter(description="the X-Next-Cursor of the page before")] = None,
    agent_name: Annotated[str | None, Parameter(max_length=NAME_CHARS_MAX)] = None,
    status: Status | None = None,
) -> Response[list[ShownSession]]:
    """Sessions that change while one pages come to the front; none is missed that was there and did not change."""
    before = sessions_reads.parse_cursor(cursor) if cursor else None
    await caught_up(services)
    agent = agent_name.replace("\0", "") if agent_name is not None else None
    found = await sessions_reads.list_by_owner(
        services.reads, owner, agent_name=agent, status=status, limit=limit + 1, before=before
    )
    total = await sessions_reads.count_by_owner(services.reads, owner, agent_name=agent, status=status)
    page = found[:limit]
    headers = {"X-Total-Count": str(total)}
    if len(found) > limit:
        after = str(page[-1].cursor)
        asked = {"owner": owner, "limit": limit, "agent_name": agent_name, "status": status, "cursor": after}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        headers |= {"X-Next-Cursor": after, "Link": f'<{PATH}/sessions?{query}>; rel="next"'}
    return Response([_shown(services, row) for row in page], headers=headers)


@get("/sessions/{session_id:str}", summary="A session")
async def read_session(services: Services, owner: str, session_id: str) -> ShownSession:
    return _shown(services, await find_session(services, owner, session_id))


@patch("/sessions/{session_id:str}", summary="Give a session a title or other metadata")
async def change_session(
    services: Services, principal: Principal, session_id: str, data: ChangeBody
) -> ShownSession:
    """A title that was given stays, whatever is said meanwhile and on whatever node."""
    await find_session(services, principal.user_id, session_id)
    await sessions_of(services).change(
        principal.user_id, session_id, title=data.title, metadata=data.metadata
    )
    return _shown(services, await find_session(services, principal.user_id, session_id))


@delete("/sessions/{session_id:str}", status_code=200, summary="Close a session")
async def close_session(services: Services, principal: Principal, session_id: str) -> Closed:
    """Everything stays readable; a task that is running goes on. Closing twice is closing once."""
    session = await find_session(services, principal.user_id, session_id)
    if session.status != "closed":
        await sessions_of(services).close(principal.user_id, session_id)
        await caught_up(services)
    return Closed("closed", session_id)


def _shown(services: Services, row: sessions_reads.ShownSession) -> ShownSession:
    locale: Locale = services.options.locale
    usage = Usage(row.prompt_tokens, row.completion_tokens)
    return ShownSession(
        row.session_id,
        row.agent_name,
        row.status,
        row.metadata,
        row.created_at,
        row.updated_at,
        row.owner,
        row.shown_title(locale),
        row.message_count,
        ShownUsage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        Counts(row.completed, row.failed, row.cancelled, len(row.open_tasks)),
    )


chat_router = Router(
    path=PATH,
    route_handlers=[
        open_session,
        list_sessions,
        read_session,
        change_session,
        close_session,
        read_messages,
        send_message,
        add_openai_messages,
        read_openai_messages,
    ],
    tags=["chat"],
)
