"""What the log holds of one run: a fold of the task's events, from which its driver goes on."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    TERMINAL_TYPES,
    ModelAnswered,
    ModelCalled,
    ModelFailed,
    RunCancelRequested,
    RunClaimed,
    RunRequested,
    ToolCalled,
    ToolReturned,
)
from app.core.ids import derived_id
from app.core.intents import ModelFailure, Outcome, ToolResult
from app.log.read import PAGE_EVENTS_MAX, LogReader

FIRST_PAGE_EVENTS = 100

Called = ModelCalled | ToolCalled
Closed = ModelAnswered | ModelFailed | ToolReturned


class Stop(msgspec.Struct, frozen=True):
    """Somebody ended the run: `by` is a user or `system`. `forgotten`: its conversation was deleted with it."""

    by: str
    reason: str = ""
    forgotten: bool = False
    cause: UUID | None = None


class RunRecord(msgspec.Struct):
    """`calls` and `outcomes` are by step. `head` is the newest offset that was folded; `began_at` is the database's
    time of the first claim."""

    task_id: UUID
    requested: RunRequested
    requested_id: UUID
    requested_offset: int
    head: int
    correlation_id: UUID | None = None
    began_at: datetime | None = None
    history_until: int = 0
    calls: dict[int, Called] = {}
    outcomes: dict[int, Closed] = {}
    stop: Stop | None = None
    ended: bool = False


def fold(events: Iterable[Recorded], task_id: UUID) -> RunRecord | None:
    """From a stream's events in their order; None if the task was not requested among them."""
    record: RunRecord | None = None
    for recorded in events:
        if record is None:
            if recorded.task_id == task_id and isinstance(event := recorded.event(), RunRequested):
                record = RunRecord(
                    task_id, event, recorded.id, recorded.offset, recorded.offset, recorded.correlation_id
                )
            continue
        record.head = recorded.offset
        if stop := stop_of(recorded, task_id):
            record.stop = record.stop or stop
        elif recorded.task_id == task_id:
            _apply(record, recorded)
    return record


def _apply(record: RunRecord, recorded: Recorded) -> None:
    if recorded.type in TERMINAL_TYPES:
        record.ended = True
        return
    match event := recorded.event():
        case RunClaimed():
            if record.began_at is None:
                record.began_at, record.history_until = recorded.recorded_at, event.history_until
        case ModelCalled() | ToolCalled():
            record.calls[event.step] = event
        case ModelAnswered() | ModelFailed() | ToolReturned():
            record.outcomes[event.step] = event
        case _:
            pass


def stop_of(recorded: Recorded, task_id: UUID) -> Stop | None:
    """Whether this event ends the task: a request to cancel it, or the deletion of its conversation."""
    if recorded.type == "conversation.deleted":
        return Stop(recorded.actor, "the conversation was deleted", forgotten=True, cause=recorded.id)
    if recorded.task_id == task_id and recorded.type == "run.cancel_requested":
        match recorded.event():
            case RunCancelRequested(by, reason):
                return Stop(by, reason, cause=recorded.id)
            case _:
                pass
    return None


def outcome_of(event: Closed) -> Outcome:
    """What the mode is sent for a recorded outcome."""
    match event:
        case ModelAnswered():
            return event.answer
        case ModelFailed():
            return ModelFailure(event.error_class, event.message)
        case ToolReturned():
            return ToolResult(event.call_id, event.name, event.content, event.error_class)


async def read_events(reader: LogReader, stream: str, task_id: UUID) -> list[Recorded]:
    """The stream's events from the task's request on, in their order; empty if it was not requested there.

    Reads backwards, since runs that are looked for are near the end. Raises `LogUnavailable`.
    """
    found: list[Recorded] = []
    before, limit = 2**62, FIRST_PAGE_EVENTS
    while before > 1:
        page = await reader.stream_backwards(stream, before=before, limit=limit)
        for recorded in page:
            found.append(recorded)
            if recorded.type == "run.requested" and recorded.task_id == task_id:
                return found[::-1]
        if len(page) < limit:
            break
        before, limit = page[-1].offset, PAGE_EVENTS_MAX
    return []


def intent_id(task_id: UUID, step: int) -> UUID:
    """Id of `model.called` or `tool.called`."""
    return derived_id(task_id, "intent", step)


def outcome_id(task_id: UUID, step: int) -> UUID:
    """Id of the event that closes a step: known in advance, so it also names the live answer."""
    return derived_id(task_id, "outcome", step)
