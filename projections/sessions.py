"""Chat sessions bound to an agent. One row a session; its messages and tasks are those of its conversation.

    session.opened ──► active ──session.closed──► closed

Tokens are counted when a task ends, whoever has used them: a team's members too. A deletion of the conversation removes
the row. Lists are in `sessions_reads.py`.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from app.core import streams
from app.core.envelope import Recorded
from app.core.events import (
    ConversationDeleted,
    Event,
    MessageAdded,
    MessageAnswered,
    MessageReceived,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunMerged,
    RunRequested,
    SessionClosed,
    SessionMetadataSet,
    SessionOpened,
)
from projections.projection import Key, Projection, conversation_key, event_types, owned_by

Status = Literal["active", "closed"]

# The second index is small, since its keys are few: it is what a list is counted with.
DDL = """
CREATE TABLE IF NOT EXISTS sessions (
    owner text NOT NULL,
    conversation_id text NOT NULL,
    agent_name text NOT NULL,
    status text NOT NULL,
    metadata json NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    completed integer NOT NULL,
    failed integer NOT NULL,
    cancelled integer NOT NULL,
    open_tasks uuid[] NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (owner, conversation_id)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS sessions_newest ON sessions (owner, updated_at DESC, conversation_id DESC)
    INCLUDE (agent_name, status);
CREATE INDEX IF NOT EXISTS sessions_counted ON sessions (owner, status, agent_name);
"""


class Session(msgspec.Struct, frozen=True, gc=False):
    """`metadata` is the client's own JSON object. `updated_at` is the time of the last message, or of the end.

    `completed`, `failed` and `cancelled` count the tasks that answer messages, `open_tasks` are those that have not
    ended.
    """

    owner: str
    conversation_id: str
    agent_name: str
    status: Status
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    prompt_tokens: int = 0
    completion_tokens: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    open_tasks: tuple[UUID, ...] = ()

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
        case MessageReceived() | MessageAnswered() | MessageAdded():
            return msgspec.structs.replace(row, updated_at=recorded.recorded_at)
        case SessionMetadataSet(metadata=metadata):
            return msgspec.structs.replace(row, metadata=_object(metadata))
        case SessionClosed():
            return msgspec.structs.replace(row, status="closed", updated_at=recorded.recorded_at)
        case RunRequested(parent=None) if recorded.task_id is not None:
            return msgspec.structs.replace(row, open_tasks=(*row.open_tasks, recorded.task_id))
        case RunCompleted() | RunFailed() | RunCancelled() | RunMerged():
            return _ended(row, recorded, event)
        case ConversationDeleted():
            return None
        case _:
            return row


def _opened(recorded: Recorded, event: SessionOpened) -> Session:
    return Session(
        *owned_by(recorded),
        event.agent_name,
        "active",
        _object(event.metadata),
        recorded.recorded_at,
        recorded.recorded_at,
    )


def _ended(
    row: Session, recorded: Recorded, event: RunCompleted | RunFailed | RunCancelled | RunMerged
) -> Session:
    counts = {
        "completed": row.completed,
        "failed": row.failed,
        "cancelled": row.cancelled,
    }
    if not isinstance(event, RunMerged):
        row = msgspec.structs.replace(
            row,
            prompt_tokens=row.prompt_tokens + event.usage.prompt_tokens,
            completion_tokens=row.completion_tokens + event.usage.completion_tokens,
        )
    if recorded.task_id not in row.open_tasks:  # an operation, or the run of a team's member
        return row
    match event:
        case RunCompleted():
            counts["completed"] += 1
        case RunFailed():
            counts["failed"] += 1
        case RunCancelled():
            counts["cancelled"] += 1
        case RunMerged():
            pass
    open_tasks = tuple(task_id for task_id in row.open_tasks if task_id != recorded.task_id)
    return msgspec.structs.replace(row, open_tasks=open_tasks, **counts)


def _object(metadata: msgspec.Raw) -> dict[str, Any]:
    return msgspec.json.decode(metadata, type=dict[str, Any])


PROJECTION = Projection(
    name="sessions",
    version=2,
    row=Session,
    ddl=DDL,
    key=("owner", "conversation_id"),
    handles=event_types(
        ConversationDeleted,
        MessageReceived,
        MessageAnswered,
        MessageAdded,
        SessionOpened,
        SessionMetadataSet,
        SessionClosed,
        RunRequested,
        RunCompleted,
        RunFailed,
        RunCancelled,
        RunMerged,
    ),
    key_of=key_of,
    apply=apply,
    begins=event_types(SessionOpened),
)
