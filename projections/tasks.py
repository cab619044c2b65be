"""Tasks: the state of every run, as the task record of the wire contract (section 3). One row a run.

    run.requested ──► pending ──run.claimed──► running ──► completed | failed | cancelled (the run's terminal event)
                                               │    ▲
                          a question is asked  ▼    │  the last open one is answered, or its deadline has passed
                                               waiting

A task whose message was heard by another one (`run.merged`) is completed, and says by which. An operation and the run
of a team's member are tasks with a `parent`. How far a task is: `tasks_progress.py`. A deletion of the conversation
removes its tasks.
"""

from typing import Any, assert_never
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    ChildAnswered,
    ConfirmationAnswered,
    ConfirmationExpired,
    ConfirmationRequested,
    ConversationDeleted,
    Event,
    HumanAnswered,
    HumanAsked,
    HumanUnanswered,
    MessageAnswered,
    MessageInterrupted,
    ModelAnswered,
    ModelAttemptFailed,
    OperationFinished,
    RunCancelled,
    RunClaimed,
    RunCompleted,
    RunFailed,
    RunMerged,
    RunRequested,
)
from app.core.messages import Usage
from projections.projection import Case, Key, Projection, conversation_key, event_types, owned_by
from projections.tasks_progress import STEPS, advance, phases_of, told
from projections.tasks_reads import (
    Cursor,
    OpenTask,
    Status,
    Task,
    TaskInput,
    TaskMetadata,
    TaskOutput,
    first_offset_behind,
    get,
    list_by_owner,
    open_operations,
    open_tasks,
    parse_cursor,
)

__all__ = [
    "PROJECTION",
    "Cursor",
    "OpenTask",
    "Status",
    "Task",
    "TaskInput",
    "TaskMetadata",
    "TaskOutput",
    "apply",
    "first_offset_behind",
    "get",
    "list_by_owner",
    "open_operations",
    "open_tasks",
    "parse_cursor",
]

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
    client_metadata json NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    completed_at timestamptz,
    first_offset bigint NOT NULL,
    last_offset bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS tasks_newest ON tasks (owner, created_at DESC, task_id DESC);
CREATE INDEX IF NOT EXISTS tasks_by_status ON tasks (owner, status, created_at DESC, task_id DESC);
CREATE INDEX IF NOT EXISTS tasks_conversation ON tasks (owner, conversation_id, last_offset);
CREATE INDEX IF NOT EXISTS tasks_open ON tasks (created_at, task_id)
    WHERE status IN ('pending', 'running', 'waiting');
"""


def key_of(recorded: Recorded, event: Event) -> Key | None:
    if conversation_key(recorded.stream) is None:
        return None
    if type(event) is OperationFinished:
        return (UUID(event.operation_id),)
    return None if recorded.task_id is None else (recorded.task_id,)


def apply(row: Task | None, recorded: Recorded, event: Event) -> Task | None:
    if type(event) is RunRequested:
        return _requested(recorded, event)
    # Without its request a run is one from before a deletion.
    return None if row is None else CASES[type(event)](row, recorded, event)


def _claimed(row: Task, recorded: Recorded, event: RunClaimed) -> Task:
    status = _status(row.metadata.waits_for) if row.is_open else row.status
    return _changed(row, recorded, status=status, started_at=row.started_at or recorded.recorded_at)


def _attempted(row: Task, recorded: Recorded, event: ModelAttemptFailed) -> Task:
    return _changed(row, recorded, metadata=_spent(row.metadata, event.usage, event.cost_usd))


def _thought(row: Task, recorded: Recorded, event: ModelAnswered) -> Task:
    metadata = _spent(row.metadata, event.answer.usage, event.cost_usd)
    return _advanced(row, recorded, event, metadata)


def _advanced(row: Task, recorded: Recorded, event: Event, metadata: TaskMetadata | None = None) -> Task:
    metadata, message, progress = advance(row, metadata or row.metadata, event)
    return _changed(row, recorded, metadata=metadata, progress=progress, progress_message=message)


def _asked(row: Task, recorded: Recorded, event: HumanAsked) -> Task:
    return _waiting(row, recorded, (*_without(row, event.request_id), event.request_id), told(event.question))


def _to_confirm(row: Task, recorded: Recorded, event: ConfirmationRequested) -> Task:
    request = event.confirmation_id
    return _waiting(row, recorded, (*_without(row, request), request), told(event.command))


def _heard(row: Task, recorded: Recorded, event: HumanAnswered | HumanUnanswered) -> Task:
    return _waiting(row, recorded, _without(row, event.request_id), row.metadata.phase)


def _decided(row: Task, recorded: Recorded, event: ConfirmationAnswered | ConfirmationExpired) -> Task:
    return _waiting(row, recorded, _without(row, event.confirmation_id), row.metadata.phase)


def _answered(
    row: Task,
    recorded: Recorded,
    event: MessageAnswered | MessageInterrupted | OperationFinished | ChildAnswered,
) -> Task:
    return _changed(row, recorded, output_data=_output(event, row))


def _output(
    event: MessageAnswered | MessageInterrupted | OperationFinished | ChildAnswered, row: Task
) -> TaskOutput:
    match event:
        case MessageAnswered():
            return TaskOutput(event.content, event.message_id, fallback=event.fallback)
        case MessageInterrupted():
            return TaskOutput(event.content, event.message_id, partial=True)
        case OperationFinished():
            return TaskOutput(event.content, event.call_id)
        case ChildAnswered():
            return TaskOutput(event.content, row.input_data.message_id)
        case _ as never:
            assert_never(never)


def _without(row: Task, request: str) -> tuple[str, ...]:
    return tuple(known for known in row.metadata.waits_for if known != request)


def _waiting(row: Task, recorded: Recorded, waits_for: tuple[str, ...], message: str | None) -> Task:
    """`message`: what it waits for, or, where that was the last, what it is at. Of several the newest is told."""
    if not row.is_open:
        return _changed(row, recorded)
    if waits_for and len(waits_for) < len(row.metadata.waits_for):
        message = row.progress_message
    metadata = msgspec.structs.replace(row.metadata, waits_for=waits_for)
    return _changed(row, recorded, metadata=metadata, status=_status(waits_for), progress_message=message)


def _status(waits_for: tuple[str, ...]) -> Status:
    """Of an open task that a worker has, or had."""
    return "waiting" if waits_for else "running"


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
        input_data=TaskInput(event.input, event.message_id, event.sources, _object(event.input_data)),
        metadata=TaskMetadata(
            event.mode,
            event.method,
            event.confidence,
            event.model,
            event.limits.max_steps,
            parent=event.parent,
            phases=phases_of(event),
        ),
        client_metadata=_object(event.metadata),
        created_at=recorded.recorded_at,
        first_offset=recorded.offset,
        last_offset=recorded.offset,
    )


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    return msgspec.json.decode(raw, type=dict[str, Any])


def _spent(metadata: TaskMetadata, usage: Usage, cost_usd: float | None) -> TaskMetadata:
    total = metadata.cost_usd if cost_usd is None else (metadata.cost_usd or 0.0) + cost_usd
    return msgspec.structs.replace(metadata, usage=metadata.usage + usage, cost_usd=total)


def _ended(row: Task, recorded: Recorded, event: RunCompleted | RunFailed | RunCancelled | RunMerged) -> Task:
    metadata = msgspec.structs.replace(row.metadata, waits_for=())
    if isinstance(event, RunMerged):
        metadata = msgspec.structs.replace(metadata, merged_into=event.into)
        return _closed(row, recorded, metadata, status="completed", progress=1.0)
    metadata = msgspec.structs.replace(
        metadata,
        steps=event.steps,
        tool_calls=event.tool_calls,
        usage=event.usage,
        duration_ms=event.duration_ms,
        cost_usd=event.cost_usd,
    )
    match event:
        case RunCompleted():
            return _closed(row, recorded, metadata, status="completed", progress=1.0)
        case RunFailed():
            metadata = msgspec.structs.replace(metadata, error_class=event.error_class)
            return _closed(row, recorded, metadata, status="failed", error_message=event.message)
        case RunCancelled():
            metadata = msgspec.structs.replace(metadata, cancelled_by=event.by)
            return _closed(row, recorded, metadata, status="cancelled", error_message=event.reason or None)
        case _ as never:
            assert_never(never)


def _closed(row: Task, recorded: Recorded, metadata: TaskMetadata, **fields: Any) -> Task:
    return _changed(
        row, recorded, metadata=metadata, completed_at=recorded.recorded_at, progress_message=None, **fields
    )


def _changed(row: Task, recorded: Recorded, **fields: Any) -> Task:
    return msgspec.structs.replace(row, last_offset=recorded.offset, **fields)


CASES: dict[type[Event], Case] = {
    RunClaimed: _claimed,
    ModelAttemptFailed: _attempted,
    **dict.fromkeys(STEPS, _advanced),
    ModelAnswered: _thought,
    HumanAsked: _asked,
    HumanAnswered: _heard,
    HumanUnanswered: _heard,
    ConfirmationRequested: _to_confirm,
    ConfirmationAnswered: _decided,
    ConfirmationExpired: _decided,
    MessageAnswered: _answered,
    MessageInterrupted: _answered,
    OperationFinished: _answered,
    ChildAnswered: _answered,
    RunCompleted: _ended,
    RunFailed: _ended,
    RunCancelled: _ended,
    RunMerged: _ended,
}
PROJECTION = Projection(
    name="tasks",
    version=4,
    row=Task,
    ddl=DDL,
    key=("task_id",),
    handles=event_types(ConversationDeleted, RunRequested, *CASES),
    key_of=key_of,
    apply=apply,
    begins=event_types(RunRequested),
    forgets=event_types(ConversationDeleted),
    scope=("owner", "conversation_id"),
    scope_of=lambda recorded: conversation_key(recorded.stream),
)
