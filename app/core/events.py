"""Every event type that was ever written to the log: one tagged union, named in the past tense.

Rules of this file, held by `tests/unit/test_events.py` and its golden file:
an event type is never removed or renamed; a field is only added, with a default; a default never changes
(events are stored without the fields that equal their default). What needs more than that gets a new type.

Ids of the run an event belongs to, of the actor and of causes are in the envelope (`app/core/envelope.py`), not here.
A new event type goes into this file, into `Event` at its end, and as one line into `tests/unit/golden_events.jsonl`.
"""

from datetime import datetime
from typing import Literal

import msgspec

from app.core.messages import ModelAnswer, ToolSpec, Usage

Effect = Literal["pure", "idempotent", "once"]
"""What happens to a tool call whose outcome was not recorded: `pure` and `idempotent` are done again, `once` never."""
Tier = Literal["main", "recovery", "emergency"]
"""Which part of the fallback chain answered."""


class LogOpened(msgspec.Struct, frozen=True, tag_field="type", tag="log.opened", omit_defaults=True):
    """First event of the stream `admin`: the log was made, by this release."""

    release: str


class ConversationCreated(
    msgspec.Struct, frozen=True, tag_field="type", tag="conversation.created", omit_defaults=True
):
    conversation_id: str
    owner: str


class ConversationDeleted(
    msgspec.Struct, frozen=True, tag_field="type", tag="conversation.deleted", omit_defaults=True
):
    """Views forget everything before this event; the log keeps it. A later message starts the view anew."""

    conversation_id: str


class ConversationImported(
    msgspec.Struct, frozen=True, tag_field="type", tag="conversation.imported", omit_defaults=True
):
    """The head of an imported conversation. `fields` holds the source's other fields as JSON, exactly as read."""

    source_id: str
    fields: msgspec.Raw = msgspec.Raw(b"{}")


class MessageImported(
    msgspec.Struct, frozen=True, tag_field="type", tag="message.imported", omit_defaults=True
):
    """One message in the OpenAI shape, as JSON exactly as read. `index` counts from 0 within its conversation."""

    index: int
    message: msgspec.Raw


class MessageReceived(
    msgspec.Struct, frozen=True, tag_field="type", tag="message.received", omit_defaults=True
):
    """A person's message. `client_message_id` is the sender's own id: sent twice, taken once."""

    message_id: str
    content: str
    client_message_id: str | None = None
    sources: tuple[str, ...] = ()


class MessageAnswered(
    msgspec.Struct, frozen=True, tag_field="type", tag="message.answered", omit_defaults=True
):
    """The agent's whole answer to a message. `fallback` says that the model gave nothing and a fixed text stands in."""

    message_id: str
    content: str
    fallback: bool = False
    thinking: str = ""


class MessageInterrupted(
    msgspec.Struct, frozen=True, tag_field="type", tag="message.interrupted", omit_defaults=True
):
    """What there was of an answer when its run was cancelled or failed."""

    message_id: str
    content: str


class FileUploaded(msgspec.Struct, frozen=True, tag_field="type", tag="file.uploaded", omit_defaults=True):
    """A file of a user's (stream of the user). `size_bytes` was counted while reading."""

    stored_name: str
    filename: str
    content_type: str
    size_bytes: int
    sha256: str


class ToolRef(msgspec.Struct, frozen=True):
    """A tool as a run was given it, so that the run can be replayed after the tool has changed.

    `confirm`: a person has to agree to every call. `long_running`: a call answers at once and goes on as an operation.
    """

    spec: ToolSpec
    effect: Effect
    timeout_seconds: float
    confirm: bool = False
    long_running: bool = False


class RunLimits(msgspec.Struct, frozen=True):
    """Where a run ends by itself: model calls, wall time in seconds (without waiting for people), tokens of all model
    calls together, and their cost in US dollars where prices are configured. None: no limit."""

    max_steps: int = 8
    timeout_seconds: float = 300.0
    tokens_max: int | None = None
    cost_usd_max: float | None = None


class PhasePolicy(msgspec.Struct, frozen=True):
    """A phase of `plan_exec`: which tools it allows (None: all) and what the model is told when it begins."""

    name: str
    tools: tuple[str, ...] | None = None
    instruction: str = ""


class Intervention(msgspec.Struct, frozen=True):
    """A person's further message to a running task. `task_id` is the task that it would have been."""

    message_id: str
    task_id: str
    content: str


class PlanStep(msgspec.Struct, frozen=True):
    """A step of a plan: `tool` and `arguments` (JSON text) where it calls one."""

    text: str
    evidence: str = ""
    tool: str = ""
    arguments: str = ""


class RunRequested(msgspec.Struct, frozen=True, tag_field="type", tag="run.requested", omit_defaults=True):
    """A task is pending, with everything that its replay needs.

    Of the conversation up to the first claim's `history_until` the newest `max_history` messages are shown to a model.
    `parent` is the task that started this one (an operation, a child run); it does not wait for its turn in the
    conversation. The `message_id` of an operation is the id of the tool call. `steers` is the running task that may
    hear this message as an intervention.
    """

    message_id: str
    input: str
    agent: str
    mode: str
    mode_version: int
    skill: str | None = None
    method: str = "default"
    confidence: float = 1.0
    model: str | None = None
    system_prompt: str = ""
    tools: tuple[ToolRef, ...] = ()
    limits: RunLimits = RunLimits()
    max_history: int = 50
    sources: tuple[str, ...] = ()
    locale: str = "en"
    phases: tuple[PhasePolicy, ...] = ()
    parent: str | None = None
    steers: str | None = None


class RunClaimed(msgspec.Struct, frozen=True, tag_field="type", tag="run.claimed", omit_defaults=True):
    """A worker holds the run's lease; from here on only appends with this epoch are taken.

    `history_until` is the offset up to which the conversation was there when the run began; a run's first claim counts.
    `in_turn`: every task of the conversation that was requested before this one had ended.
    """

    worker: str
    epoch: int
    history_until: int = 0
    in_turn: bool = False


class ModelCalled(msgspec.Struct, frozen=True, tag_field="type", tag="model.called", omit_defaults=True):
    """Intent. `step` counts the run's intents from 1; `key` is the digest of the operation and its arguments."""

    step: int
    key: str
    model: str | None = None
    aside: bool = False


class ModelAnswered(msgspec.Struct, frozen=True, tag_field="type", tag="model.answered", omit_defaults=True):
    """Outcome of a model call. Where `answer.tool_calls` is not empty, or `aside` is set, its text is no answer but
    thinking."""

    step: int
    key: str
    answer: ModelAnswer
    duration_ms: int = 0
    attempt: int = 1
    tier: Tier = "main"
    cost_usd: float | None = None
    aside: bool = False


class ModelFailed(msgspec.Struct, frozen=True, tag_field="type", tag="model.failed", omit_defaults=True):
    step: int
    key: str
    error_class: str
    message: str
    partial_text: str = ""
    duration_ms: int = 0
    attempt: int = 1
    tier: Tier = "main"


class ToolCalled(msgspec.Struct, frozen=True, tag_field="type", tag="tool.called", omit_defaults=True):
    """Intent. `arguments` is JSON text as the model wrote it; `effect` is what the tool declared at that time."""

    step: int
    key: str
    call_id: str
    name: str
    arguments: str
    effect: Effect = "pure"


class ToolReturned(msgspec.Struct, frozen=True, tag_field="type", tag="tool.returned", omit_defaults=True):
    """Outcome of a tool call, also of a failed one (`error_class` is set and `content` says what went wrong)."""

    step: int
    key: str
    call_id: str
    name: str
    content: str
    error_class: str | None = None
    duration_ms: int = 0


class RunCancelRequested(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.cancel_requested", omit_defaults=True
):
    by: str
    reason: str = ""


class RunCompleted(msgspec.Struct, frozen=True, tag_field="type", tag="run.completed", omit_defaults=True):
    """Terminal. Appended together with the `message.answered` that it closes."""

    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    duration_ms: int = 0
    cost_usd: float | None = None


class RunFailed(msgspec.Struct, frozen=True, tag_field="type", tag="run.failed", omit_defaults=True):
    """Terminal. `message` is one sentence for people; `error_class` a stable word for analytics."""

    error_class: str
    message: str
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    duration_ms: int = 0
    cost_usd: float | None = None


class RunCancelled(msgspec.Struct, frozen=True, tag_field="type", tag="run.cancelled", omit_defaults=True):
    """Terminal. `by` is a user, `system` at shutdown."""

    by: str
    reason: str = ""
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    duration_ms: int = 0
    cost_usd: float | None = None


class RunMerged(msgspec.Struct, frozen=True, tag_field="type", tag="run.merged", omit_defaults=True):
    """Terminal. The message of this task was heard by the running task `into`, which answers it with its own."""

    into: str
    message_id: str


class InterventionHeard(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.intervention_heard", omit_defaults=True
):
    """The run was told a person's further message, behind step `step` and before the next one."""

    step: int
    messages: tuple[Intervention, ...]


class ModelAttemptFailed(
    msgspec.Struct, frozen=True, tag_field="type", tag="model.attempt_failed", omit_defaults=True
):
    """One attempt of a model call failed and another one follows. `attempt` counts from 1 over all tiers."""

    step: int
    key: str
    attempt: int
    tier: Tier
    model: str
    error_class: str
    message: str
    duration_ms: int = 0
    usage: Usage = Usage()
    cost_usd: float | None = None


class EffectUnknown(
    msgspec.Struct, frozen=True, tag_field="type", tag="tool.effect_unknown", omit_defaults=True
):
    """A `once` tool was interrupted: whether it took effect is not known. Stands before its `tool.returned`."""

    step: int
    key: str
    call_id: str
    name: str


class HumanAsked(msgspec.Struct, frozen=True, tag_field="type", tag="human.asked", omit_defaults=True):
    """The run waits for a person's answer until `deadline_at`."""

    request_id: str
    step: int
    question: str
    deadline_at: datetime
    call_id: str = ""


class HumanAnswered(msgspec.Struct, frozen=True, tag_field="type", tag="human.answered", omit_defaults=True):
    """The first answer is the only one. `by` is an actor."""

    request_id: str
    content: str
    by: str


class HumanUnanswered(
    msgspec.Struct, frozen=True, tag_field="type", tag="human.unanswered", omit_defaults=True
):
    """Nobody answered: `reason` is `deadline` or `run_ended`."""

    request_id: str
    reason: str


class ConfirmationRequested(
    msgspec.Struct, frozen=True, tag_field="type", tag="confirmation.requested", omit_defaults=True
):
    """The run waits for a person's consent to exactly this call until `deadline_at`.

    `command` is what is shown; `digest` is the SHA-256 of tool name and exact arguments, in hex.
    """

    confirmation_id: str
    step: int
    tool: str
    command: str
    reason: str
    digest: str
    deadline_at: datetime
    call_id: str = ""


class ConfirmationAnswered(
    msgspec.Struct, frozen=True, tag_field="type", tag="confirmation.answered", omit_defaults=True
):
    """The first answer is the only one. `digest` is that of the request, `by` an actor."""

    confirmation_id: str
    approved: bool
    digest: str
    by: str


class ConfirmationExpired(
    msgspec.Struct, frozen=True, tag_field="type", tag="confirmation.expired", omit_defaults=True
):
    """Counts as refused: `reason` is `deadline` or `run_ended`."""

    confirmation_id: str
    reason: str


class ConfirmationUsed(
    msgspec.Struct, frozen=True, tag_field="type", tag="confirmation.used", omit_defaults=True
):
    """The call that was consented to begins now. A consent is used once."""

    confirmation_id: str
    step: int
    digest: str


class PhaseChanged(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.phase_changed", omit_defaults=True
):
    """Note of a mode: a phase begins. `step` and `key` are filled in by the driver."""

    phase: str
    previous: str | None = None
    reason: str = ""
    step: int = 0
    key: str = ""


class PhaseViolated(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.phase_violated", omit_defaults=True
):
    """Note of a mode: the model asked for a tool that the phase does not allow; it was not called."""

    phase: str
    tool: str
    allowed: tuple[str, ...] = ()
    call_id: str = ""
    step: int = 0
    key: str = ""


class PlanDrafted(msgspec.Struct, frozen=True, tag_field="type", tag="run.plan_drafted", omit_defaults=True):
    """Note of a mode: what it is going to do. `evidence` names a step's result for later steps, for example `#E1`."""

    steps: tuple[PlanStep, ...]
    step: int = 0
    key: str = ""


class AttemptCritiqued(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.attempt_critiqued", omit_defaults=True
):
    """Note of a mode: what it thinks of its own attempt, counted from 1."""

    attempt: int
    accepted: bool
    critique: str
    step: int = 0
    key: str = ""


class HistorySummarized(
    msgspec.Struct, frozen=True, tag_field="type", tag="history.summarized", omit_defaults=True
):
    """Note of a run: `content` stands for the conversation up to offset `until` from now on."""

    content: str
    until: int
    messages: int = 0
    step: int = 0
    key: str = ""


class OperationStarted(
    msgspec.Struct, frozen=True, tag_field="type", tag="operation.started", omit_defaults=True
):
    """A long-running tool goes on by itself as the task `operation_id`. `arguments` is JSON text."""

    operation_id: str
    tool_name: str
    message: str
    call_id: str = ""
    arguments: str = "{}"
    step: int = 0


class OperationFinished(
    msgspec.Struct, frozen=True, tag_field="type", tag="operation.finished", omit_defaults=True
):
    """The result that takes the place of the pending one. Appended with the operation's terminal event.

    `parent` is the task whose call `call_id` started it.
    """

    operation_id: str
    tool_name: str
    content: str
    error_class: str | None = None
    call_id: str = ""
    parent: str = ""


class SessionOpened(msgspec.Struct, frozen=True, tag_field="type", tag="session.opened", omit_defaults=True):
    """A chat session bound to an agent: the conversation `session_id`. `metadata` is the client's JSON object."""

    session_id: str
    agent_name: str
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class SessionClosed(msgspec.Struct, frozen=True, tag_field="type", tag="session.closed", omit_defaults=True):
    """No further message is taken; everything stays readable."""

    session_id: str


Note = PhaseChanged | PhaseViolated | PlanDrafted | AttemptCritiqued | HistorySummarized
"""What a mode may put on record by itself (intent `TakeMinute`)."""

Event = (
    LogOpened
    | ConversationCreated
    | ConversationDeleted
    | ConversationImported
    | MessageImported
    | MessageReceived
    | MessageAnswered
    | MessageInterrupted
    | FileUploaded
    | RunRequested
    | RunClaimed
    | ModelCalled
    | ModelAnswered
    | ModelFailed
    | ToolCalled
    | ToolReturned
    | RunCancelRequested
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunMerged
    | InterventionHeard
    | ModelAttemptFailed
    | EffectUnknown
    | HumanAsked
    | HumanAnswered
    | HumanUnanswered
    | ConfirmationRequested
    | ConfirmationAnswered
    | ConfirmationExpired
    | ConfirmationUsed
    | PhaseChanged
    | PhaseViolated
    | PlanDrafted
    | AttemptCritiqued
    | HistorySummarized
    | OperationStarted
    | OperationFinished
    | SessionOpened
    | SessionClosed
)

TERMINAL_TYPES = frozenset({"run.completed", "run.failed", "run.cancelled", "run.merged"})
SCHEMA_VERSION = 1
"""Version of the payload rules of this file, stored with every event."""


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a newer release: readers pass it on, folds leave their state as it was."""

    type: str
    payload: str


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
TYPES: dict[str, type[Event]] = {
    str(cls.__struct_config__.tag): cls
    for cls in Event.__args__  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType,reportUnknownVariableType]
}


def event_type(event: Event) -> str:
    """The tag, for example `run.requested`."""
    return str(type(event).__struct_config__.tag)


def encode(event: Event) -> str:
    """JSON text as it is stored and as it goes out to readers."""
    return _encoder.encode(event).decode()


def decode(kind: str, payload: str | bytes) -> Event | UnknownEvent:
    """The event; `UnknownEvent` for a type of a newer release. Raises `msgspec.ValidationError` for a damaged one."""
    if kind not in TYPES:
        return UnknownEvent(kind, payload if isinstance(payload, str) else payload.decode())
    return _decoder.decode(payload)
