"""What the log holds of one run: a fold of the task's events, from which its driver goes on."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    TERMINAL_TYPES,
    ChildAwaited,
    ChildEnded,
    ChildStarted,
    ConfirmationAnswered,
    ConfirmationExpired,
    ConfirmationRequested,
    ConfirmationUsed,
    Event,
    HumanAnswered,
    HumanAsked,
    HumanUnanswered,
    Intervention,
    InterventionHeard,
    LessonsGiven,
    ModelAnswered,
    ModelAttemptFailed,
    ModelCalled,
    ModelFailed,
    Note,
    OperationStarted,
    RunCancelRequested,
    RunClaimed,
    RunRequested,
    RunTold,
    ToolCalled,
    ToolReturned,
    UnknownEvent,
)
from app.core.ids import derived_id
from app.core.intents import ModelFailure, Outcome, RunEnded, ToolResult
from app.core.messages import Usage
from app.log.read import LogReader, newest_first

Called = ModelCalled | ToolCalled | ChildAwaited
Closed = ModelAnswered | ModelFailed | ToolReturned | ChildEnded
Mark = Note | ChildStarted | RunTold
"""What is on record for a step that has no outcome of its own."""
Request = HumanAsked | ConfirmationRequested
Reply = HumanAnswered | HumanUnanswered | ConfirmationAnswered | ConfirmationExpired


class Stop(msgspec.Struct, frozen=True):
    """Somebody ended the run: `by` is a user or `system`. `forgotten`: its conversation was deleted with it."""

    by: str
    reason: str = ""
    forgotten: bool = False
    cause: UUID | None = None


class RunRecord(msgspec.Struct):
    """`calls`, `notes` and `outcomes` are by step; `heard` by the step behind which it was heard; `requests` and
    `replies` by the id of the question or confirmation. `head` is the newest offset that was folded; `began_at` is the
    database's time of the first claim. `claims_in_a_row` counts workers that took the run and got nowhere;
    `usage` and `cost_usd` are those of failed attempts.
    """

    task_id: UUID
    requested: RunRequested
    requested_id: UUID
    requested_offset: int
    head: int
    correlation_id: UUID | None = None
    began_at: datetime | None = None
    history_until: int = 0
    lessons: LessonsGiven | None = None
    claims_in_a_row: int = 0
    calls: dict[int, Called] = {}
    notes: dict[int, Mark] = {}
    outcomes: dict[int, Closed] = {}
    attempts: dict[int, int] = {}
    heard: dict[int, tuple[Intervention, ...]] = {}
    steering: dict[str, Intervention] = {}
    requests: dict[str, Request] = {}
    replies: dict[str, Reply] = {}
    used: set[str] = set()
    operations: dict[int, OperationStarted] = {}
    waited: dict[str, timedelta] = {}
    asked_at: dict[str, datetime] = {}
    usage: Usage = Usage()
    cost_usd: float = 0.0
    stop: Stop | None = None
    ended: bool = False

    @property
    def steps(self) -> set[int]:
        """Every step that is on record."""
        return self.calls.keys() | self.notes.keys()


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
        elif (steering := steering_of(recorded, task_id)) is not None:
            record.steering[ear_key(steering)] = steering
        elif recorded.type in TERMINAL_TYPES and recorded.task_id is not None:
            record.steering.pop(str(recorded.task_id), None)
    return record


def _apply(record: RunRecord, recorded: Recorded) -> None:
    if recorded.type in TERMINAL_TYPES:
        record.ended = True
        return
    event = recorded.event()
    record.claims_in_a_row = record.claims_in_a_row + 1 if isinstance(event, RunClaimed) else 0
    match event:
        case RunClaimed():
            if record.began_at is None:
                record.began_at, record.history_until = recorded.recorded_at, event.history_until
        case ModelCalled() | ToolCalled() | ChildAwaited():
            record.calls[event.step] = event
        case ModelAnswered() | ModelFailed() | ToolReturned() | ChildEnded():
            record.outcomes[event.step] = event
        case _ if isinstance(event, Mark):
            record.notes[event.step] = event
        case ModelAttemptFailed():
            record.attempts[event.step] = event.attempt
            record.usage, record.cost_usd = (
                record.usage + event.usage,
                record.cost_usd + (event.cost_usd or 0.0),
            )
        case InterventionHeard():
            record.heard[event.step] = event.messages
            for one in event.messages:
                record.steering.pop(ear_key(one), None)
        case OperationStarted():
            record.operations[event.step] = event
        case LessonsGiven():
            record.lessons = event
        case _:  # nothing of `tool.effect_unknown`: its `tool.returned` was appended with it
            _apply_people(record, recorded, event)


def _apply_people(record: RunRecord, recorded: Recorded, event: Event | UnknownEvent) -> None:
    match event:
        case HumanAsked(request_id=request) | ConfirmationRequested(confirmation_id=request):
            record.requests[request], record.asked_at[request] = event, recorded.recorded_at
        case (
            HumanAnswered(request_id=request)
            | HumanUnanswered(request_id=request)
            | ConfirmationAnswered(confirmation_id=request)
            | ConfirmationExpired(confirmation_id=request)
        ):
            record.replies[request] = event
            if request in record.asked_at:
                record.waited[request] = recorded.recorded_at - record.asked_at[request]
        case ConfirmationUsed(confirmation_id=request):
            record.used.add(request)
        case _:
            pass


def steering_of(recorded: Recorded, task_id: UUID) -> Intervention | None:
    """The message of this event, if it is meant for the running task to hear."""
    if recorded.type == "run.told":
        told = recorded.event()
        if isinstance(told, RunTold) and told.to == str(task_id):
            return Intervention(str(recorded.id), "", told.content)
    if recorded.type != "run.requested" or recorded.task_id in (None, task_id):
        return None
    event = recorded.event()
    if not isinstance(event, RunRequested) or event.steers != str(task_id):
        return None
    return Intervention(event.message_id, str(recorded.task_id), event.input)


def ear_key(message: Intervention) -> str:
    """What a message to a running task is known by: the task that it would have been, if it is one."""
    return message.task_id or message.message_id


def reply_of(recorded: Recorded, task_id: UUID) -> Reply | None:
    """What a person said to the task, or that nobody did."""
    if recorded.task_id != task_id or not recorded.type.startswith(("human.", "confirmation.")):
        return None
    match event := recorded.event():
        case HumanAnswered() | HumanUnanswered() | ConfirmationAnswered() | ConfirmationExpired():
            return event
        case _:
            return None


def request_of(reply: Reply) -> str:
    """The id of the question or confirmation that it replies to."""
    match reply:
        case HumanAnswered() | HumanUnanswered():
            return reply.request_id
        case ConfirmationAnswered() | ConfirmationExpired():
            return reply.confirmation_id


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
            return ModelFailure(event.error_class, event.message, event.partial_text)
        case ToolReturned():
            return ToolResult(event.call_id, event.name, event.content, event.error_class)
        case ChildEnded():
            return RunEnded(event.child, event.content, event.error_class, event.tokens)


async def read_events(reader: LogReader, stream: str, task_id: UUID) -> list[Recorded]:
    """The stream's events from the task's request on, in their order; empty if it was not requested there.

    Reads backwards, since runs that are looked for are near the end. Raises `LogUnavailable`.
    """
    found: list[Recorded] = []
    async for recorded in newest_first(reader, stream):
        found.append(recorded)
        if recorded.type == "run.requested" and recorded.task_id == task_id:
            return found[::-1]
    return []


def intent_id(task_id: UUID, step: int) -> UUID:
    """Id of `model.called` or `tool.called`."""
    return derived_id(task_id, "intent", step)


def outcome_id(task_id: UUID, step: int) -> UUID:
    """Id of the event that closes a step: known in advance, so it also names the live answer."""
    return derived_id(task_id, "outcome", step)
