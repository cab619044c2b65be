"""Events of runs: requested, claimed, each call and its outcome, ended. The rules of `app/core/events.py` hold."""

from typing import Literal

import msgspec

from app.core.admin_events import QuotaInfo
from app.core.meeting_events import ExpertCard
from app.core.messages import ModelAnswer, ToolSpec, Usage

Effect = Literal["pure", "idempotent", "once"]
"""What happens to a tool call whose outcome was not recorded: `pure` and `idempotent` are done again, `once` never."""
Tier = Literal["main", "recovery", "emergency"]
"""Which part of the fallback chain answered."""


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


class RunRequested(msgspec.Struct, frozen=True, tag_field="type", tag="run.requested", omit_defaults=True):
    """A task is pending, with everything that its replay needs.

    Of the conversation up to the first claim's `history_until` the newest `max_history` messages are shown to a model.
    `parent` is the task that started this one (an operation, a child run); it does not wait for its turn in the
    conversation. The `message_id` of an operation is the id of the tool call. `steers` is the running task that may
    hear this message as an intervention. `experts` and `rounds` are those of a board or team (its moderator or lead
    first); `expert_id` is who works in this child run of a team. `department_id` is that of whoever asked; `charged_to`
    is the department against whose quotas the run counts, `bound` says whether quotas bind it at all. `metadata` and
    `input_data` are what a client gave with the task, as JSON objects, for its record alone; `input_data` only where it
    is more than a message. `lessons`: how many past experiences it may be shown, at most.
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
    experts: tuple[ExpertCard, ...] = ()
    rounds: int = 0
    expert_id: str = ""
    department_id: str = ""
    charged_to: str = ""
    bound: bool = False
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    input_data: msgspec.Raw = msgspec.Raw(b"{}")
    lessons: int = 0


class RunClaimed(msgspec.Struct, frozen=True, tag_field="type", tag="run.claimed", omit_defaults=True):
    """A worker holds the run's lease; from here on only appends with this epoch are taken.

    `history_until` is the offset up to which the conversation was there when the run began; a run's first claim counts.
    `in_turn`: every task of the conversation that was requested before this one had ended.
    """

    worker: str
    epoch: int
    history_until: int = 0
    in_turn: bool = False


class LessonsGiven(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.lessons_given", omit_defaults=True
):
    """Past experiences for the run, before its first model call. `text` is what every model call of it is shown, word
    for word; `experiences` are the ids of those that are in it. Both are empty where nothing was found, or where it
    could not be looked for: then `problem` says why (`behind`, `late`, `unavailable`).
    """

    experiences: tuple[str, ...] = ()
    text: str = ""
    problem: str = ""


class ModelCalled(msgspec.Struct, frozen=True, tag_field="type", tag="model.called", omit_defaults=True):
    """Intent. `step` counts the run's intents from 1; `key` is the digest of the operation and its arguments.

    `speaker` is the id of the expert who speaks, `purpose` what for (`speech`, `summary`, `conclusion`, `plan`,
    `review`, `synthesis`). `final`: whatever comes of it is the answer, so its text may be told as that while it comes.
    """

    step: int
    key: str
    model: str | None = None
    aside: bool = False
    speaker: str = ""
    round: int = 0
    purpose: str = ""
    final: bool = False


class ModelAnswered(msgspec.Struct, frozen=True, tag_field="type", tag="model.answered", omit_defaults=True):
    """Outcome of a model call. Where `answer.tool_calls` is not empty, or `aside` is set, its text is no answer but
    thinking. `charged_to` and `bound` are those of the run."""

    step: int
    key: str
    answer: ModelAnswer
    duration_ms: int = 0
    attempt: int = 1
    tier: Tier = "main"
    cost_usd: float | None = None
    aside: bool = False
    charged_to: str = ""
    bound: bool = False


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
    """Terminal. `message` is one sentence for people; `error_class` a stable word for analytics, `quota_exceeded` with
    its `quota_info`."""

    error_class: str
    message: str
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    duration_ms: int = 0
    cost_usd: float | None = None
    quota_info: QuotaInfo | None = None


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
    charged_to: str = ""
    bound: bool = False


class EffectUnknown(
    msgspec.Struct, frozen=True, tag_field="type", tag="tool.effect_unknown", omit_defaults=True
):
    """A `once` tool was interrupted: whether it took effect is not known. Stands before its `tool.returned`."""

    step: int
    key: str
    call_id: str
    name: str


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
