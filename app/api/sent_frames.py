"""The frames that sockets send, as their clients may rely on them. Each may carry more fields than are named here.

They are made where they belong (`portal_wire.py`, `chat_wire.py`, `meeting_wire.py` …), most as plain dictionaries;
this is their description for the AsyncAPI document. Tests hold it against the frames of running conversations.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from app.core.admin_events import QuotaInfo
from app.core.steps import NAMES

Maybe = UnsetType
STEPS = (
    "thinking",
    "tool_call",
    "tool_result",
    "token",
    "final_answer",
    "step",
    "draft",
    *NAMES,
    "expert_silent",
)
"""Names of steps; `event_type` is one of them behind `turn.`, or `session.closed`; on the socket of a task also
`turn.routing` and the frames of boards and teams."""


class Told(msgspec.Struct, frozen=True, tag_field="type"):
    """What frames of tasks have in common. `offset`: everything of the conversation up to there has been told."""


class ErrorData(msgspec.Struct, frozen=True):
    """`message` is one sentence for people, of at most 200 characters."""

    message: str
    task_id: str | Maybe = UNSET
    error_class: str | Maybe | None = UNSET
    quota_info: QuotaInfo | Maybe = UNSET
    timestamp: datetime | Maybe = UNSET


class Error(Told, frozen=True, tag="error"):
    """Anything that went wrong."""

    data: ErrorData
    task_id: str | Maybe = UNSET
    offset: int | Maybe = UNSET


class Pong(Told, frozen=True, tag="pong"):
    """Answer to a ping."""


class NotificationData(msgspec.Struct, frozen=True):
    notification_id: str
    kind: str
    message: Any
    created_at: datetime


class Notification(Told, frozen=True, tag="notification"):
    """A message to the user, from a program or a reminder; kept until one of the user's sockets has had it. `offset`
    is that of the user's stream: `?notifications_after=` it goes on behind."""

    data: NotificationData
    offset: int


class PortalConnected(Told, frozen=True, tag="connected"):
    """A conversation was created or switched to."""

    conversation_id: str


class Routing(Told, frozen=True, tag="routing"):
    """Who works on the message, and how that was found."""

    skill: str | None
    method: str
    confidence: float
    mode: str
    task_id: str
    offset: int | Maybe | None = UNSET


class StepData(msgspec.Struct, frozen=True):
    """`event_type` says what is in `data`; `step` counts within the task."""

    event_type: str
    step: int
    data: dict[str, Any]
    timestamp: datetime


class StepTold(Told, frozen=True, tag="step"):
    """A step of a task. Without `offset`: live text, or more of the same event follows."""

    data: StepData
    task_id: str | Maybe = UNSET
    offset: int | Maybe = UNSET
    cursor: str | Maybe = UNSET


class ResultData(msgspec.Struct, frozen=True):
    """`status` is missing where the task completed with `message`."""

    timestamp: datetime
    task_id: str
    message: str | Maybe = UNSET
    status: Literal["cancelled", "steered"] | Maybe = UNSET
    merged_into: str | Maybe = UNSET
    fallback_status: dict[str, Any] | Maybe = UNSET
    error_struct: dict[str, Any] | Maybe = UNSET


class Result(Told, frozen=True, tag="result"):
    """The task has ended: with its answer, cancelled, or answered by another task (`steered`)."""

    data: ResultData
    task_id: str | Maybe = UNSET
    offset: int | Maybe = UNSET


class Resumed(msgspec.Struct, frozen=True):
    """What the client's cursor missed."""

    answer: Literal["nothing_missed", "missed", "cannot"]
    missed: int | Maybe = UNSET
    reason: str | Maybe | None = UNSET


class ChatConnected(Told, frozen=True, tag="connected"):
    """The session, and where the socket begins."""

    session_id: str
    agent_name: str
    status: Literal["active", "closed"]
    offset: int
    cursor: str
    resume: Resumed


class SkillMatchData(msgspec.Struct, frozen=True):
    skill: str | None
    method: str
    confidence: float
    mode: str


class SkillMatch(Told, frozen=True, tag="skill_match"):
    """Who works on the message, and how that was found."""

    data: SkillMatchData
    task_id: str
    message_id: str | Maybe | None = UNSET
    offset: int | Maybe = UNSET


class Token(Told, frozen=True, tag="token"):
    """More of the answer. With `reset` it begins anew."""

    content: str
    reset: bool
    task_id: str
    answer_id: str | Maybe | None = UNSET
    offset: int | Maybe = UNSET


class Thinking(Told, frozen=True, tag="thinking"):
    """What is no answer: text before calls of tools, a model's own reasoning."""

    content: str
    task_id: str
    offset: int | Maybe = UNSET


class AskHuman(Told, frozen=True, tag="ask_human"):
    """The task waits for an answer: send `reply` with the `request_id`. `again`: it was asked before."""

    question: str
    request_id: str
    task_id: str
    deadline_at: datetime | Maybe | None = UNSET
    again: bool | Maybe = UNSET
    offset: int | Maybe = UNSET


class FinalAnswer(Told, frozen=True, tag="final_answer"):
    """The answer; the tokens since the last one with `reset` add up to it."""

    content: str
    is_final: Literal[True]
    task_id: str
    message_id: str | Maybe | None = UNSET
    offset: int | Maybe = UNSET


class ConfirmationRequestData(msgspec.Struct, frozen=True):
    """`command` is exactly what would be carried out."""

    confirmation_id: str
    command: str
    reason: str


class ConfirmationRequest(Told, frozen=True, tag="confirmation_request"):
    """The task waits for consent: send `confirmation_reply` with the `confirmation_id`."""

    data: ConfirmationRequestData
    task_id: str
    again: bool | Maybe = UNSET
    offset: int | Maybe = UNSET


class ConfirmationResultData(msgspec.Struct, frozen=True):
    confirmation_id: str
    approved: bool


class ConfirmationResult(Told, frozen=True, tag="confirmation_result"):
    """Somebody has answered, or nobody in time."""

    data: ConfirmationResultData
    task_id: str
    offset: int | Maybe = UNSET


class PhaseChangedData(msgspec.Struct, frozen=True):
    phase: str
    previous: str | None


class PhaseChanged(Told, frozen=True, tag="phase_changed"):
    """The task goes on in its next phase."""

    data: PhaseChangedData
    task_id: str
    offset: int | Maybe = UNSET


class PhaseViolation(Told, frozen=True, tag="phase_violation"):
    """The phase does not allow the tool that was called."""

    data: dict[str, Any]
    task_id: str
    offset: int | Maybe = UNSET


class TaskConnected(Told, frozen=True, tag="connected"):
    """The task, and where the socket begins."""

    task_id: str
    conversation_id: str
    agent_name: str
    status: str
    offset: int
    cursor: str
    resume: Resumed


class TaskResultData(msgspec.Struct, frozen=True):
    """`output` is missing where the task was cancelled."""

    status: Literal["completed", "cancelled", "steered"]
    task_id: str
    timestamp: datetime
    total_steps: int
    total_tokens: int
    output: str | Maybe = UNSET


class TaskResult(Told, frozen=True, tag="result"):
    """The task has ended."""

    data: TaskResultData
    offset: int
    cursor: str


class FeedResumed(Told, frozen=True, tag="resumed"):
    """One of three answers to the cursor. `cannot`: start from the snapshot, then read on from `head`."""

    answer: Literal["nothing_missed", "missed", "cannot"]
    cursor: str
    head: int
    missed: int | Maybe = UNSET
    reason: str | Maybe | None = UNSET
    snapshot: str | Maybe | None = UNSET


class FeedEventTold(msgspec.Struct, frozen=True):
    """One event of the log. `payload` is the event itself."""

    offset: int
    position: int
    id: str
    type: str
    recorded_at: datetime
    actor: str
    payload: dict[str, Any]
    schema_version: int
    task_id: str | Maybe = UNSET
    causation_id: str | Maybe = UNSET
    correlation_id: str | Maybe = UNSET


class FeedEvents(Told, frozen=True, tag="events"):
    """The next events, in their order; `cursor` is behind the last."""

    cursor: str
    events: list[FeedEventTold]


class FeedDelta(Told, frozen=True, tag="delta"):
    """Text of an open answer; `answer_id` is the id of the event that will close it."""

    answer_id: str
    task_id: str | None
    kind: str
    text: str
    reset: bool


class FeedHeartbeat(Told, frozen=True, tag="heartbeat"):
    """Nothing has happened."""

    cursor: str


class EvolutionConnected(Told, frozen=True, tag="connected"):
    """Where the socket begins, and whose experiences it tells of (null: everybody's)."""

    owner: str | None
    cursor: str


class ExperienceData(msgspec.Struct, frozen=True):
    """`goal` has at most 200 characters. `id` is that of the task."""

    id: UUID
    task_type: str
    goal: str
    outcome: Literal["success", "failure", "cancelled"]
    agent: str
    owner: str
    conversation_id: str
    duration_seconds: float | None
    created_at: datetime


class ExperienceAdded(Told, frozen=True, tag="experience_added"):
    """A task has ended. `?after=` its cursor it goes on behind it."""

    data: ExperienceData
    cursor: str


class PeriodData(msgspec.Struct, frozen=True):
    period: Literal["24h", "7d", "30d"]


class MetricsUpdated(Told, frozen=True, tag="metrics_updated"):
    """The metrics of this period have changed: ask for them again. At most once a second."""

    data: PeriodData
