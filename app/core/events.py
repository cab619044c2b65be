"""Every event type that was ever written to the log: one tagged union, named in the past tense.

Rules of this file, held by `tests/unit/test_events.py` and its golden file:
an event type is never removed or renamed; a field is only added, with a default; a default never changes
(events are stored without the fields that equal their default). What needs more than that gets a new type.

Ids of the run an event belongs to, of the actor and of causes are in the envelope (`app/core/envelope.py`), not here.
A new event type goes into the file of its subject (`conversation_events.py`, `run_events.py`, `note_events.py`,
`people_events.py`, `meeting_events.py`, `admin_events.py`, `user_events.py`) and into `Event` here. The type checker
then asks whether sockets show it (`app/api/portal_wire.py`), and `tests/unit/test_events.py` for a line of the golden
file.
"""

import msgspec

from app.core.admin_events import (
    DepartmentRemoved,
    DepartmentSet,
    KeyIssued,
    KeyRevoked,
    KeyUsed,
    ProjectionChecked,
    QuotaInfo,
    QuotaRemoved,
    QuotaSet,
    UserSet,
)
from app.core.conversation_events import (
    ConversationCreated,
    ConversationDeleted,
    ConversationImported,
    ConversationTitled,
    FileUploaded,
    LogOpened,
    MessageAdded,
    MessageAnswered,
    MessageImported,
    MessageInterrupted,
    MessageReceived,
    SessionClosed,
    SessionMetadataSet,
    SessionOpened,
)
from app.core.meeting_events import (
    BoardConcluded,
    BoardStarted,
    ChildAnswered,
    ChildAwaited,
    ChildEnded,
    ChildStarted,
    ContractDefined,
    Dissent,
    ExpertCard,
    ExpertSilent,
    ExpertSpoke,
    InterventionMinuted,
    NoticeGiven,
    PhaseCompleted,
    PhaseFailed,
    PhaseStarted,
    PlanUpdated,
    Replanned,
    ResultReviewed,
    RiskFlagged,
    RoundSummarized,
    RunTold,
    SpeakerInterrupted,
    StopRule,
    TeamDissolved,
    TeamFormed,
    TeamPhase,
    TeamSynthesized,
    Vote,
)
from app.core.note_events import (
    AttemptCritiqued,
    HistorySummarized,
    PhaseChanged,
    PhaseViolated,
    PlanDrafted,
    PlanStep,
)
from app.core.people_events import (
    ConfirmationAnswered,
    ConfirmationExpired,
    ConfirmationRequested,
    ConfirmationUsed,
    HumanAnswered,
    HumanAsked,
    HumanUnanswered,
    Intervention,
    InterventionHeard,
)
from app.core.run_events import (
    Effect,
    EffectUnknown,
    LessonsGiven,
    ModelAnswered,
    ModelAttemptFailed,
    ModelCalled,
    ModelFailed,
    OperationFinished,
    OperationStarted,
    PhasePolicy,
    RunCancelled,
    RunCancelRequested,
    RunClaimed,
    RunCompleted,
    RunFailed,
    RunLimits,
    RunMerged,
    RunRequested,
    Tier,
    ToolCalled,
    ToolRef,
    ToolReturned,
)
from app.core.user_events import (
    NotificationsDelivered,
    ReminderCancelled,
    ReminderFired,
    ReminderSet,
    UserNotified,
)

__all__ = [  # what events are made of, which is imported from here too; the events are in `Event`
    "Dissent",
    "Effect",
    "ExpertCard",
    "Intervention",
    "PhasePolicy",
    "PlanStep",
    "QuotaInfo",
    "RunLimits",
    "StopRule",
    "TeamPhase",
    "Tier",
    "ToolRef",
    "Vote",
]

MeetingNote = (
    BoardStarted
    | ExpertSpoke
    | ExpertSilent
    | RoundSummarized
    | InterventionMinuted
    | BoardConcluded
    | TeamFormed
    | PlanUpdated
    | PhaseStarted
    | PhaseCompleted
    | PhaseFailed
    | Replanned
    | ContractDefined
    | NoticeGiven
    | ResultReviewed
    | RiskFlagged
    | TeamSynthesized
    | TeamDissolved
)
Note = PhaseChanged | PhaseViolated | PlanDrafted | AttemptCritiqued | HistorySummarized | MeetingNote
"""What a mode may put on record by itself (intent `TakeMinute`)."""

AdminEvent = (
    UserSet
    | KeyIssued
    | KeyRevoked
    | KeyUsed
    | DepartmentSet
    | DepartmentRemoved
    | QuotaSet
    | QuotaRemoved
    | ProjectionChecked
)
UserEvent = UserNotified | NotificationsDelivered | ReminderSet | ReminderFired | ReminderCancelled
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
    | Note
    | OperationStarted
    | OperationFinished
    | SessionOpened
    | SessionClosed
    | ChildStarted
    | ChildAwaited
    | ChildEnded
    | ChildAnswered
    | RunTold
    | SpeakerInterrupted
    | AdminEvent
    | UserEvent
    | MessageAdded
    | ConversationTitled
    | SessionMetadataSet
    | LessonsGiven
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
