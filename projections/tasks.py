"""Tasks: the state of every run, as the task record of the wire contract (section 3). One row a run.

    run.requested ──► pending ──run.claimed──► running ──► completed | failed | cancelled (the run's terminal event)

`waiting` is for runs that wait for a person. A deletion of the conversation removes its tasks.
"""

from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core import streams
from app.core.envelope import Recorded
from app.core.events import (
    ConversationDeleted,
    Event,
    MessageAnswered,
    MessageInterrupted,
    ModelAnswered,
    RunCancelled,
    RunClaimed,
    RunCompleted,
    RunFailed,
    RunRequested,
    ToolCalled,
)
from app.core.messages import Usage
from projections.projection import Key, Projection, conversation_key, event_types, owned_by
from projections.tables import fetch_rows

Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
LIST_MAX = 500
OPEN_PROGRESS_MAX = 0.95

DDL = """
CREATE TABLE IF NOT EXISTS tasks (
    task_id uuid PRIMARY KEY,
    owner text NOT NULL,
    conversation_id text NOT NULL,
    agent_name text NOT NULL,
    skill_name text,
    status text NOT NULL,
    input_data json NOT NULL,
    output_data json,
    error_message text,
    progress double precision NOT NULL,
    progress_message text,
    metadata json NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    completed_at timestamptz,
    first_offset bigint NOT NULL,
    last_offset bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS tasks_newest ON tasks (owner, created_at DESC, task_id DESC);
CREATE INDEX IF NOT EXISTS tasks_conversation ON tasks (owner, conversation_id);
"""


class InvalidTaskCursor(ValueError):
    """A cursor of the list of tasks that cannot be read; leave it out to start from the newest."""


class Cursor(NamedTuple):
    """Where a page of the list ended."""

    created_at: datetime
    task_id: UUID

    def __str__(self) -> str:
        return f"{self.created_at.isoformat()}~{self.task_id}"


class TaskInput(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    message: str
    message_id: str
    sources: tuple[str, ...] = ()


class TaskOutput(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """`partial`: what there was of the answer when the run ended without one."""

    message: str
    message_id: str
    fallback: bool = False
    partial: bool = False


class TaskMetadata(msgspec.Struct, frozen=True, gc=False):
    """`steps` and `tool_calls` count as far as they are known; the terminal event has the last word on them."""

    mode: str
    method: str
    confidence: float
    model: str | None
    max_steps: int
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    duration_ms: int = 0
    error_class: str | None = None
    cancelled_by: str | None = None


class Task(msgspec.Struct, frozen=True, gc=False):
    """`progress` goes from 0 to 1; it is 1 when the task has completed and at most 0.95 before."""

    task_id: UUID
    owner: str
    conversation_id: str
    agent_name: str
    skill_name: str | None
    status: Status
    input_data: TaskInput
    metadata: TaskMetadata
    created_at: datetime
    first_offset: int
    last_offset: int
    output_data: TaskOutput | None = None
    error_message: str | None = None
    progress: float = 0.0
    progress_message: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def stream(self) -> str:
        return streams.conversation(self.owner, self.conversation_id)

    @property
    def cursor(self) -> Cursor:
        """The list's next page starts behind this."""
        return Cursor(self.created_at, self.task_id)


def key_of(recorded: Recorded, event: Event) -> Key | None:
    return (
        None if recorded.task_id is None or conversation_key(recorded.stream) is None else (recorded.task_id,)
    )


def apply(row: Task | None, recorded: Recorded, event: Event) -> Task | None:
    if isinstance(event, RunRequested):
        return _requested(recorded, event)
    if row is None:  # without its request a run is one from before a deletion
        return None
    match event:
        case RunClaimed():
            running = "running" if row.completed_at is None else row.status
            return _changed(row, recorded, status=running, started_at=row.started_at or recorded.recorded_at)
        case ModelAnswered():
            return _stepped(row, recorded, event)
        case ToolCalled():
            return _changed(row, recorded, progress_message=event.name)
        case MessageAnswered():
            output = TaskOutput(event.content, event.message_id, fallback=event.fallback)
            return _changed(row, recorded, output_data=output)
        case MessageInterrupted():
            output = TaskOutput(event.content, event.message_id, partial=True)
            return _changed(row, recorded, output_data=output)
        case RunCompleted():
            return _ended(row, recorded, event, status="completed", progress=1.0)
        case RunFailed():
            return _ended(row, recorded, event, status="failed", error_message=event.message)
        case RunCancelled():
            return _ended(row, recorded, event, status="cancelled", error_message=event.reason or None)
        case _:
            return row


def _requested(recorded: Recorded, event: RunRequested) -> Task:
    owner, conversation_id = owned_by(recorded)
    if recorded.task_id is None:
        raise ValueError("a run has no task id")
    return Task(
        task_id=recorded.task_id,
        owner=owner,
        conversation_id=conversation_id,
        agent_name=event.agent,
        skill_name=event.skill,
        status="pending",
        input_data=TaskInput(event.input, event.message_id, event.sources),
        metadata=TaskMetadata(
            event.mode, event.method, event.confidence, event.model, event.limits.max_steps
        ),
        created_at=recorded.recorded_at,
        first_offset=recorded.offset,
        last_offset=recorded.offset,
    )


def _stepped(row: Task, recorded: Recorded, event: ModelAnswered) -> Task:
    metadata = msgspec.structs.replace(
        row.metadata,
        model=event.answer.model,
        steps=row.metadata.steps + 1,
        tool_calls=row.metadata.tool_calls + len(event.answer.tool_calls),
        usage=row.metadata.usage + event.answer.usage,
    )
    progress = min(OPEN_PROGRESS_MAX, metadata.steps / max(1, metadata.max_steps))
    return _changed(
        row, recorded, metadata=metadata, progress=max(row.progress, progress), progress_message=None
    )


def _ended(
    row: Task, recorded: Recorded, event: RunCompleted | RunFailed | RunCancelled, **fields: Any
) -> Task:
    metadata = msgspec.structs.replace(
        row.metadata,
        steps=event.steps,
        tool_calls=event.tool_calls,
        usage=event.usage,
        duration_ms=event.duration_ms,
        error_class=event.error_class if isinstance(event, RunFailed) else None,
        cancelled_by=event.by if isinstance(event, RunCancelled) else None,
    )
    return _changed(
        row, recorded, metadata=metadata, completed_at=recorded.recorded_at, progress_message=None, **fields
    )


def _changed(row: Task, recorded: Recorded, **fields: Any) -> Task:
    return msgspec.structs.replace(row, last_offset=recorded.offset, **fields)


PROJECTION = Projection(
    name="tasks",
    version=1,
    row=Task,
    ddl=DDL,
    key=("task_id",),
    handles=event_types(
        ConversationDeleted,
        RunRequested,
        RunClaimed,
        ModelAnswered,
        ToolCalled,
        MessageAnswered,
        MessageInterrupted,
        RunCompleted,
        RunFailed,
        RunCancelled,
    ),
    key_of=key_of,
    apply=apply,
    begins=event_types(RunRequested),
    forgets=event_types(ConversationDeleted),
    scope=("owner", "conversation_id"),
    scope_of=lambda recorded: conversation_key(recorded.stream),
)


def parse_cursor(text: str) -> Cursor:
    """The cursor whose `str` this is. Raises `InvalidTaskCursor`."""
    created_at, _, task_id = text.partition("~")
    try:
        cursor = Cursor(datetime.fromisoformat(created_at), UUID(task_id))
    except ValueError:
        raise InvalidTaskCursor(
            f"{text[:60]!r} is not a cursor; send the one of the page before, or none"
        ) from None
    if cursor.created_at.tzinfo is None:
        raise InvalidTaskCursor(
            f"{text[:60]!r} has no time zone; send the cursor of the page before, or none"
        )
    return cursor


async def get(pool: AsyncConnectionPool, task_id: UUID, *, owner: str | None = None) -> Task | None:
    """None if there is no such task, or if it is not this owner's (`owner` None: anybody's)."""
    found = await fetch_rows(
        pool,
        Task,
        "SELECT * FROM tasks WHERE task_id = %s AND owner = coalesce(%s, owner)",
        (task_id, owner),
    )
    return found[0] if found else None


async def list_by_owner(
    pool: AsyncConnectionPool,
    owner: str,
    *,
    status: Status | None = None,
    agent_name: str | None = None,
    conversation_id: str | None = None,
    limit: int = 50,
    before: Cursor | None = None,
) -> list[Task]:
    """Newest first, at most 500; the next page is `before` the last one's `cursor`."""
    where, arguments = ["owner = %s"], list[object]([owner])
    for column, wanted in (
        ("status", status),
        ("agent_name", agent_name),
        ("conversation_id", conversation_id),
    ):
        if wanted is not None:
            where.append(f"{column} = %s")
            arguments.append(wanted)
    if before is not None:
        where.append("(created_at, task_id) < (%s, %s)")
        arguments += before
    return await fetch_rows(
        pool,
        Task,
        f"SELECT * FROM tasks WHERE {' AND '.join(where)} "  # noqa: S608 (constants)
        "ORDER BY created_at DESC, task_id DESC LIMIT %s",
        (*arguments, max(0, min(limit, LIST_MAX))),
    )
