"""Every event type that was ever written to the log: one tagged union, named in the past tense.

Rules of this file, held by `tests/unit/test_events.py` and its golden file:
an event type is never removed or renamed; a field is only added, with a default; a default never changes
(events are stored without the fields that equal their default). What needs more than that gets a new type.

Ids of the run an event belongs to, of the actor and of causes are in the envelope (`app/core/envelope.py`), not here.
A new event type goes into this file, into `Event` at its end, and as one line into `tests/unit/golden_events.jsonl`.
"""

from typing import Literal

import msgspec

from app.core.messages import ModelAnswer, ToolSpec, Usage

Effect = Literal["pure", "idempotent", "once"]
"""What happens to a tool call whose outcome was not recorded: `pure` and `idempotent` are done again, `once` never."""


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
    """A tool as a run was given it, so that the run can be replayed after the tool has changed."""

    spec: ToolSpec
    effect: Effect
    timeout_seconds: float


class RunLimits(msgspec.Struct, frozen=True):
    """Where a run ends by itself: model calls, and wall time in seconds."""

    max_steps: int = 8
    timeout_seconds: float = 300.0


class RunRequested(msgspec.Struct, frozen=True, tag_field="type", tag="run.requested", omit_defaults=True):
    """A task is pending, with everything that its replay needs.

    Of the conversation up to the first claim's `history_until` the newest `max_history` messages are shown to a model.
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


class RunClaimed(msgspec.Struct, frozen=True, tag_field="type", tag="run.claimed", omit_defaults=True):
    """A worker holds the run's lease; from here on only appends with this epoch are taken.

    `history_until` is the offset up to which the conversation was there when the run began; a run's first claim counts.
    """

    worker: str
    epoch: int
    history_until: int = 0


class ModelCalled(msgspec.Struct, frozen=True, tag_field="type", tag="model.called", omit_defaults=True):
    """Intent. `step` counts the run's intents from 1; `key` is the digest of the operation and its arguments."""

    step: int
    key: str
    model: str | None = None


class ModelAnswered(msgspec.Struct, frozen=True, tag_field="type", tag="model.answered", omit_defaults=True):
    """Outcome of a model call. Where `answer.tool_calls` is not empty, its text is thinking, not answer."""

    step: int
    key: str
    answer: ModelAnswer
    duration_ms: int = 0
    attempt: int = 1


class ModelFailed(msgspec.Struct, frozen=True, tag_field="type", tag="model.failed", omit_defaults=True):
    step: int
    key: str
    error_class: str
    message: str
    partial_text: str = ""
    duration_ms: int = 0
    attempt: int = 1


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


class RunFailed(msgspec.Struct, frozen=True, tag_field="type", tag="run.failed", omit_defaults=True):
    """Terminal. `message` is one sentence for people; `error_class` a stable word for analytics."""

    error_class: str
    message: str
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    duration_ms: int = 0


class RunCancelled(msgspec.Struct, frozen=True, tag_field="type", tag="run.cancelled", omit_defaults=True):
    """Terminal. `by` is a user, `system` at shutdown."""

    by: str
    reason: str = ""
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    duration_ms: int = 0


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
)

TERMINAL_TYPES = frozenset({"run.completed", "run.failed", "run.cancelled"})
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
