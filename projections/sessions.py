"""Chat sessions bound to an agent. One row a session; its messages and tasks are those of its conversation.

    session.opened ──► active ──session.closed──► closed

A deletion of the conversation removes the row.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core import streams
from app.core.envelope import Recorded
from app.core.events import (
    ConversationDeleted,
    Event,
    MessageAnswered,
    MessageReceived,
    SessionClosed,
    SessionOpened,
)
from projections.projection import Key, Projection, conversation_key, event_types, owned_by
from projections.tables import fetch_rows

Status = Literal["active", "closed"]
LIST_MAX = 500

DDL = """
CREATE TABLE IF NOT EXISTS sessions (
    owner text NOT NULL,
    conversation_id text NOT NULL,
    agent_name text NOT NULL,
    status text NOT NULL,
    metadata json NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (owner, conversation_id)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS sessions_newest ON sessions (owner, updated_at DESC, conversation_id DESC);
"""


class Session(msgspec.Struct, frozen=True, gc=False):
    """`metadata` is the client's own JSON object. `updated_at` is the time of the last message, or of the end."""

    owner: str
    conversation_id: str
    agent_name: str
    status: Status
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    @property
    def session_id(self) -> str:
        """A session is a conversation."""
        return self.conversation_id

    @property
    def stream(self) -> str:
        return streams.conversation(self.owner, self.conversation_id)


def key_of(recorded: Recorded, event: Event) -> Key | None:
    return conversation_key(recorded.stream)


def apply(row: Session | None, recorded: Recorded, event: Event) -> Session | None:
    if isinstance(event, SessionOpened):
        return _opened(recorded, event)
    if row is None:  # a conversation that is no session
        return None
    match event:
        case MessageReceived() | MessageAnswered():
            return msgspec.structs.replace(row, updated_at=recorded.recorded_at)
        case SessionClosed():
            return msgspec.structs.replace(row, status="closed", updated_at=recorded.recorded_at)
        case ConversationDeleted():
            return None
        case _:
            return row


def _opened(recorded: Recorded, event: SessionOpened) -> Session:
    return Session(
        *owned_by(recorded),
        event.agent_name,
        "active",
        msgspec.json.decode(event.metadata, type=dict[str, Any]),
        recorded.recorded_at,
        recorded.recorded_at,
    )


PROJECTION = Projection(
    name="sessions",
    version=1,
    row=Session,
    ddl=DDL,
    key=("owner", "conversation_id"),
    handles=event_types(ConversationDeleted, MessageReceived, MessageAnswered, SessionOpened, SessionClosed),
    key_of=key_of,
    apply=apply,
    begins=event_types(SessionOpened),
)


async def get(pool: AsyncConnectionPool, owner: str, session_id: str) -> Session | None:
    """None if the owner has no such session (any more)."""
    found = await fetch_rows(
        pool, Session, "SELECT * FROM sessions WHERE owner = %s AND conversation_id = %s", (owner, session_id)
    )
    return found[0] if found else None


async def list_by_owner(pool: AsyncConnectionPool, owner: str, *, limit: int = 50) -> list[Session]:
    """Those changed last come first, at most 500."""
    return await fetch_rows(
        pool,
        Session,
        "SELECT * FROM sessions WHERE owner = %s ORDER BY updated_at DESC, conversation_id DESC LIMIT %s",
        (owner, max(0, min(limit, LIST_MAX))),
    )
