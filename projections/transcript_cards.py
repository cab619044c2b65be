"""The rows of the transcript, and what the events of a run change in the card of its message."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    AttemptCritiqued,
    ConfirmationAnswered,
    ConfirmationExpired,
    ConfirmationRequested,
    EffectUnknown,
    HistorySummarized,
    HumanAnswered,
    HumanAsked,
    HumanUnanswered,
    InterventionHeard,
    ModelAnswered,
    ModelAttemptFailed,
    OperationFinished,
    OperationStarted,
    PhaseChanged,
    PhaseViolated,
    PlanDrafted,
    SpeakerInterrupted,
    ToolCalled,
    ToolReturned,
)
from app.core.meeting_cards import Cast
from app.core.meeting_events import MEETING_MODES
from app.core.steps import StepCard
from app.core.texts import Locale

STEPS_MAX = 500
"""Step cards that a message keeps: the first ones."""

Shown = (
    HumanAsked
    | HumanAnswered
    | HumanUnanswered
    | ConfirmationRequested
    | ConfirmationAnswered
    | ConfirmationExpired
    | PhaseChanged
    | PhaseViolated
    | PlanDrafted
    | AttemptCritiqued
    | HistorySummarized
    | EffectUnknown
    | ModelAttemptFailed
    | InterventionHeard
    | SpeakerInterrupted
)
"""Events that become a step card of the message."""
Working = ModelAnswered | ToolCalled | ToolReturned | OperationStarted | OperationFinished
"""Events that change what the card says of the run's thinking and its tool calls."""


class ToolCard(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A tool call with its outcome. `arguments` is JSON text as the model wrote it; no `result`: not returned.

    `status` is `operation_pending` or `operation_finished` where the call started the operation `operation_id`.
    """

    call_id: str
    name: str
    arguments: str
    step: int = 0
    result: str | None = None
    error_class: str | None = None
    duration_ms: int = 0
    operation_id: str | None = None
    status: str | None = None


class Metadata(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What stands around a message. Fields that equal their default are not there.

    `message_type` is board_started, board_speech, board_summary or board_conclusion, the keys that go with it are those
    of the frames; `experts` are those of a board or team, `children` the tasks in which a team's members work, and
    `parent` is the team of such a task.
    """

    offset: int = 0
    task_id: UUID | None = None
    status: str | None = None
    error: str | None = None
    error_class: str | None = None
    matched_skill: str | None = None
    confidence: float | None = None
    routing_method: str | None = None
    mode: str | None = None
    agent: str | None = None
    model: str | None = None
    fallback: bool = False
    thinking: str = ""
    tool_calls: tuple[ToolCard, ...] = ()
    steps: tuple[StepCard, ...] = ()
    sources: tuple[str, ...] = ()
    client_message_id: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    message_type: str | None = None
    expert_id: str | None = None
    board_round: int | None = None
    board_role: str | None = None
    board_started: dict[str, Any] | None = None
    board_conclusion: dict[str, Any] | None = None
    consensus: bool = False
    experts: Cast = ()
    children: tuple[str, ...] = ()
    parent: str | None = None


class Card(msgspec.Struct, frozen=True, gc=False):
    """A row. Hidden while `shown_offset` is None; `first_offset` and `last_offset` are those of the first and
    the last event that changed it."""

    owner: str
    conversation_id: str
    message_key: str
    id: str
    role: str
    content: str
    first_offset: int
    last_offset: int
    shown_at: datetime | None = None
    shown_offset: int | None = None
    tool_call_id: str | None = None
    locale: Locale = "en"
    metadata: Metadata = Metadata()


def worked(row: Card, recorded: Recorded, event: Working) -> Card:
    """The card with more thinking, a tool call, or the outcome of one."""
    match event:
        case ModelAnswered():
            return _thought(row, recorded, event)
        case ToolCalled():
            return _with_tool(row, recorded, event)
        case ToolReturned():
            return _with_result(row, recorded, event)
        case OperationStarted():
            return _with_operation(row, recorded, event)
        case OperationFinished():
            return _with_outcome(row, recorded, event)
        case _ as never:
            assert_never(never)


def _thought(row: Card, recorded: Recorded, event: ModelAnswered) -> Card:
    if row.metadata.mode in MEETING_MODES:  # what its speakers say are cards of their own
        return changed(row, recorded, model=event.answer.model)
    before_tools = event.answer.text if event.aside or event.answer.tool_calls else ""
    return changed(
        row,
        recorded,
        model=event.answer.model,
        thinking=joined(row.metadata.thinking, event.answer.thinking, before_tools),
    )


def _with_tool(row: Card, recorded: Recorded, event: ToolCalled) -> Card:
    card = ToolCard(event.call_id, event.name, event.arguments, event.step)
    # A step has one call; recorded again after a crash, it is the same call once more.
    others = tuple(known for known in row.metadata.tool_calls if known.step != card.step)
    return changed(row, recorded, tool_calls=(*others, card))


def _with_result(row: Card, recorded: Recorded, event: ToolReturned) -> Card:
    def told(card: ToolCard) -> ToolCard:
        if card.status == "operation_finished":  # faster than the answer that it had started
            return card
        result = pending(event.content) if card.status is not None else event.content
        return msgspec.structs.replace(
            card, result=result, error_class=event.error_class, duration_ms=event.duration_ms
        )

    return _with_calls(row, recorded, told, lambda card: card.step == event.step)


def _with_operation(row: Card, recorded: Recorded, event: OperationStarted) -> Card:
    def started(card: ToolCard) -> ToolCard:
        return msgspec.structs.replace(card, operation_id=event.operation_id, status="operation_pending")

    return _with_calls(row, recorded, started, lambda card: card.step == event.step)


def _with_outcome(row: Card, recorded: Recorded, event: OperationFinished) -> Card:
    def finished(card: ToolCard) -> ToolCard:
        return msgspec.structs.replace(
            card, result=event.content, error_class=event.error_class, status="operation_finished"
        )

    return _with_calls(row, recorded, finished, lambda card: card.operation_id == event.operation_id)


def _with_calls(
    row: Card,
    recorded: Recorded,
    change: Callable[[ToolCard], ToolCard],
    concerned: Callable[[ToolCard], bool],
) -> Card:
    tool_calls = tuple(change(card) if concerned(card) else card for card in row.metadata.tool_calls)
    return changed(row, recorded, tool_calls=tool_calls)


def pending(told: str) -> str:
    """What the model was told when the operation started, as a reload shows it until the result is there."""
    try:
        values = msgspec.json.decode(told, type=dict[str, Any])
    except msgspec.DecodeError:
        return told
    return msgspec.json.encode({**values, "status": "operation_pending"}).decode()


def with_step(row: Card, recorded: Recorded, step: StepCard, **fields: Any) -> Card:
    return changed(row, recorded, steps=(*row.metadata.steps, step)[:STEPS_MAX], **fields)


def changed(row: Card, recorded: Recorded, **fields: Any) -> Card:
    metadata = msgspec.structs.replace(row.metadata, **fields)
    return msgspec.structs.replace(row, last_offset=recorded.offset, metadata=metadata)


def joined(known: str, *more: str) -> str:
    """Thinking in paragraphs; what is there already is not said again."""
    for paragraph in more:
        if paragraph.strip() and paragraph not in known:
            known = f"{known}\n\n{paragraph}" if known else paragraph
    return known
