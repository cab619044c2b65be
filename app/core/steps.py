"""What an event of a run is to people: a step with a name and data, the same live and after a reload."""

from typing import Any

import msgspec

from app.core import events as ev


class StepCard(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A step of a task other than text and tool calls. `name` is one of `NAMES`, `data` plain JSON values."""

    name: str
    data: dict[str, Any]
    step: int = 0


Stepping = (
    ev.HumanAsked
    | ev.HumanAnswered
    | ev.HumanUnanswered
    | ev.ConfirmationRequested
    | ev.ConfirmationAnswered
    | ev.ConfirmationExpired
    | ev.PhaseChanged
    | ev.PhaseViolated
    | ev.PlanDrafted
    | ev.AttemptCritiqued
    | ev.HistorySummarized
    | ev.OperationStarted
    | ev.OperationFinished
    | ev.EffectUnknown
    | ev.ModelAttemptFailed
    | ev.InterventionHeard
    | ev.SpeakerInterrupted
)
"""Events that are such steps."""

_OPERATION = ("operation_id", "tool_name", "call_id")
_SHOWN: dict[type[Stepping], tuple[str, tuple[str, ...]]] = {
    ev.HumanAsked: ("ask_human", ("question", "request_id", "deadline_at", "call_id")),
    ev.HumanAnswered: ("human_answered", ("request_id", "content", "by")),
    ev.HumanUnanswered: ("human_unanswered", ("request_id", "reason")),
    ev.ConfirmationRequested: (
        "confirmation_request",
        ("confirmation_id", "command", "reason", "tool", "digest", "deadline_at", "call_id"),
    ),
    ev.ConfirmationAnswered: ("confirmation_result", ("confirmation_id", "approved", "by")),
    ev.ConfirmationExpired: ("confirmation_result", ("confirmation_id", "reason")),
    ev.PhaseChanged: ("phase_changed", ("phase", "previous", "reason")),
    ev.PhaseViolated: ("phase_violation", ("phase", "tool", "allowed", "call_id")),
    ev.PlanDrafted: ("plan", ("steps",)),
    ev.AttemptCritiqued: ("critique", ("attempt", "accepted", "critique")),
    ev.HistorySummarized: ("summary", ("content", "until", "messages")),
    ev.OperationStarted: ("operation", (*_OPERATION, "message")),
    ev.OperationFinished: ("operation", (*_OPERATION, "content", "error_class")),
    ev.EffectUnknown: ("effect_unknown", ("call_id", "name")),
    ev.ModelAttemptFailed: (
        "model_attempt_failed",
        ("attempt", "tier", "model", "error_class", "message"),
    ),
    ev.InterventionHeard: ("steered", ("messages",)),
    ev.SpeakerInterrupted: ("speaker_interrupted", ("by",)),
}
"""Name and fields of each; `unit/test_steps.py` holds that none is missing."""

_ADDED: dict[type[Stepping], dict[str, Any]] = {
    ev.ConfirmationExpired: {"approved": False},
    ev.OperationStarted: {"status": "operation_started"},
    ev.OperationFinished: {"status": "operation_finished"},
}

NAMES = tuple(dict.fromkeys(name for name, _ in _SHOWN.values()))


def step_of(event: Stepping) -> StepCard:
    """The step that this event is."""
    kind = type(event)
    name, fields = _SHOWN[kind]
    values = {field: _plain(getattr(event, field)) for field in fields}
    return StepCard(name, {**_ADDED.get(kind, {}), **values}, getattr(event, "step", 0))


def _plain(value: object) -> Any:
    """As it comes back from JSON."""
    plain = msgspec.to_builtins(value)
    return list(plain) if isinstance(plain, tuple) else plain  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
