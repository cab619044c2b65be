"""Experiences: what every run has come to, as figures. One row a task, and one an imported conversation.

A row begins with the run's request and is an experience once `outcome` is set (wire contract, section 8):

    run.completed, run.merged ──► success      run.failed ──► failure      run.cancelled ──► cancelled
    conversation.imported with a `reward`: ≥ 1 success, less: failure (`experience_imports.py`); without one: none

The first end counts. There is no text in here (`experience_texts.py` has it), so nothing is forgotten when a
conversation is deleted: like use, what has happened stays counted. `experience_sums.py` adds the rows up.
"""

from datetime import datetime
from typing import Any, Literal, assert_never
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    ConfirmationAnswered,
    ConfirmationRequested,
    ConversationImported,
    EffectUnknown,
    Event,
    HumanAnswered,
    HumanAsked,
    MessageAnswered,
    MessageImported,
    ModelAnswered,
    ModelAttemptFailed,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunMerged,
    RunRequested,
    ToolReturned,
)
from app.core.meeting_events import BOARD_MODE, TEAM_MODE
from projections.experience_imports import IMPORTED, imported_id, outcome_of, work_of
from projections.experience_sums import DURATIONS, SUMS, TOOLS, bin_of
from projections.projection import Key, Projection, conversation_key, event_types, owned_by
from projections.usage import nano_usd

Outcome = Literal["success", "failure", "cancelled"]
DURATION_MS_MAX = 2**53
TOOL_CALLS_KEPT_MAX = 1_000
"""Of one tool in one run: durations behind these are not kept (their count and errors are)."""

DDL = """
CREATE TABLE IF NOT EXISTS experiences (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    conversation_id text NOT NULL,
    partition integer NOT NULL,
    task_type text NOT NULL,
    agent text NOT NULL,
    skill text NOT NULL,
    mode text NOT NULL,
    model text NOT NULL,
    department text NOT NULL,
    parent text,
    outcome text,
    error_class text NOT NULL,
    requested_at timestamptz NOT NULL,
    ended_at timestamptz,
    duration_ms bigint,
    duration_bin integer,
    steps bigint NOT NULL,
    tool_calls bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cost_nano_usd bigint,
    fallbacks bigint NOT NULL,
    attempts_failed bigint NOT NULL,
    confirmations_asked bigint NOT NULL,
    confirmations_answered bigint NOT NULL,
    questions_asked bigint NOT NULL,
    questions_answered bigint NOT NULL,
    effects_unknown bigint NOT NULL,
    tools json NOT NULL,
    first_offset bigint NOT NULL,
    last_offset bigint NOT NULL,
    position bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS experiences_newest ON experiences (ended_at DESC, id DESC) WHERE outcome IS NOT NULL;
CREATE INDEX IF NOT EXISTS experiences_owner ON experiences (owner, ended_at DESC, id DESC) WHERE outcome IS NOT NULL;
CREATE INDEX IF NOT EXISTS experiences_failed ON experiences (ended_at DESC, id DESC) WHERE outcome = 'failure';
CREATE INDEX IF NOT EXISTS experiences_added ON experiences (partition, position) WHERE outcome IS NOT NULL;
CREATE INDEX IF NOT EXISTS experiences_durations ON experiences (duration_bin, duration_ms, ended_at)
    WHERE outcome IS NOT NULL AND parent IS NULL;
"""


class ToolUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often a run called a tool, how often it failed, and how long the calls took, in milliseconds, one by one
    (at most 1 000 of them; none of an imported conversation)."""

    calls: int = 0
    errors: int = 0
    ms: tuple[int, ...] = ()


class Experience(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome` None: it has not ended. `duration_ms` is the run's own time (without waiting for people), None of an
    imported conversation. `cost_nano_usd` None: no price was known. `position` is that of the event that ended it.

    `task_type`: `skill:NAME` where a skill was used, `board`, `team`, `team_member`, `operation`, `imported`, else the
    mode. `parent`: the task that started this one.
    """

    id: UUID
    owner: str
    conversation_id: str
    partition: int
    task_type: str
    agent: str = ""
    skill: str = ""
    mode: str = ""
    model: str = ""
    department: str = ""
    parent: str | None = None
    outcome: Outcome | None = None
    error_class: str = ""
    requested_at: datetime
    ended_at: datetime | None = None
    duration_ms: int | None = None
    duration_bin: int | None = None
    steps: int = 0
    tool_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano_usd: int | None = None
    fallbacks: int = 0
    attempts_failed: int = 0
    confirmations_asked: int = 0
    confirmations_answered: int = 0
    questions_asked: int = 0
    questions_answered: int = 0
    effects_unknown: int = 0
    tools: dict[str, ToolUse] = {}
    first_offset: int
    last_offset: int
    position: int = 0


Counted = (
    ModelAnswered
    | ModelAttemptFailed
    | ToolReturned
    | MessageAnswered
    | ConfirmationRequested
    | ConfirmationAnswered
    | HumanAsked
    | HumanAnswered
    | EffectUnknown
)
End = RunCompleted | RunFailed | RunCancelled | RunMerged


def key_of(recorded: Recorded, event: Event) -> Key | None:
    if conversation_key(recorded.stream) is None:
        return None
    if isinstance(event, ConversationImported | MessageImported):
        return (imported_id(recorded.stream),)
    return None if recorded.task_id is None else (recorded.task_id,)


def apply(row: Experience | None, recorded: Recorded, event: Event) -> Experience | None:
    match event:
        case RunRequested():
            return _requested(recorded, event)
        case ConversationImported():
            return row or _imported(recorded, event)
        case _ if row is None:
            return None
        case MessageImported():
            return _with_message(row, recorded, event)
        case _ if row.outcome is not None:
            return row
        case _ if isinstance(event, Counted):
            return msgspec.structs.replace(_counted(row, event), last_offset=recorded.offset)
        case _ if isinstance(event, End):
            return _ended(row, recorded, event)
        case _:
            return row


def _requested(recorded: Recorded, event: RunRequested) -> Experience:
    if recorded.task_id is None:
        raise ValueError("a run has no task id")
    owner, conversation_id = owned_by(recorded)
    return Experience(
        id=recorded.task_id,
        owner=owner,
        conversation_id=conversation_id,
        partition=recorded.partition,
        task_type=task_type_of(event),
        agent=event.agent,
        skill=event.skill or "",
        mode=event.mode,
        model=event.model or "",
        department=event.department_id,
        parent=event.parent,
        requested_at=recorded.recorded_at,
        first_offset=recorded.offset,
        last_offset=recorded.offset,
    )


def task_type_of(event: RunRequested) -> str:
    """What kind of task this is (see `Experience`)."""
    if event.parent is not None:
        return "team_member" if event.expert_id else event.mode
    if event.skill:
        return f"skill:{event.skill}"
    return {BOARD_MODE: "board", TEAM_MODE: "team"}.get(event.mode, event.mode)


def _counted(row: Experience, event: Counted) -> Experience:
    match event:
        case ModelAnswered():
            spent = _spent(row, event.cost_usd)
            fallbacks = row.fallbacks + (event.tier != "main")
            return msgspec.structs.replace(
                row, model=event.answer.model or row.model, fallbacks=fallbacks, cost_nano_usd=spent
            )
        case ModelAttemptFailed():
            return msgspec.structs.replace(
                row,
                attempts_failed=row.attempts_failed + 1,
                cost_nano_usd=_spent(row, event.cost_usd),
            )
        case ToolReturned():
            return _with_tool(row, event)
        case MessageAnswered():
            return msgspec.structs.replace(row, fallbacks=row.fallbacks + event.fallback)
        case ConfirmationRequested():
            return msgspec.structs.replace(row, confirmations_asked=row.confirmations_asked + 1)
        case ConfirmationAnswered():
            return msgspec.structs.replace(row, confirmations_answered=row.confirmations_answered + 1)
        case HumanAsked():
            return msgspec.structs.replace(row, questions_asked=row.questions_asked + 1)
        case HumanAnswered():
            return msgspec.structs.replace(row, questions_answered=row.questions_answered + 1)
        case EffectUnknown():
            return msgspec.structs.replace(row, effects_unknown=row.effects_unknown + 1)
        case _ as never:
            assert_never(never)


def _spent(row: Experience, cost_usd: float | None) -> int | None:
    return row.cost_nano_usd if cost_usd is None else (row.cost_nano_usd or 0) + nano_usd(cost_usd)


def _with_tool(row: Experience, event: ToolReturned) -> Experience:
    use = row.tools.get(event.name, ToolUse())
    ms = use.ms if len(use.ms) >= TOOL_CALLS_KEPT_MAX else (*use.ms, _bounded(event.duration_ms))
    use = ToolUse(use.calls + 1, use.errors + (event.error_class is not None), ms)
    return msgspec.structs.replace(row, tools=row.tools | {event.name: use})


def _ended(row: Experience, recorded: Recorded, event: End) -> Experience:
    """Steps, tool calls and tokens are those that the run itself has counted."""
    if isinstance(event, RunMerged):
        waited = recorded.recorded_at - row.requested_at
        return _closed(row, recorded, "success", duration_ms=int(waited.total_seconds() * 1000))
    error_class = ""
    match event:
        case RunCompleted():
            outcome: Outcome = "success"
        case RunFailed():
            outcome, error_class = "failure", event.error_class
        case RunCancelled():
            outcome = "cancelled"
        case _ as never:
            assert_never(never)
    return _closed(
        row,
        recorded,
        outcome,
        error_class=error_class,
        duration_ms=event.duration_ms,
        steps=event.steps,
        tool_calls=event.tool_calls,
        prompt_tokens=event.usage.prompt_tokens,
        completion_tokens=event.usage.completion_tokens,
    )


def _closed(
    row: Experience, recorded: Recorded, outcome: Outcome, *, duration_ms: int, **fields: Any
) -> Experience:
    duration_ms = _bounded(duration_ms)
    return msgspec.structs.replace(
        row,
        outcome=outcome,
        ended_at=recorded.recorded_at,
        duration_ms=duration_ms,
        duration_bin=bin_of(duration_ms),
        last_offset=recorded.offset,
        position=recorded.position,
        **fields,
    )


def _bounded(duration_ms: int) -> int:
    return min(max(0, duration_ms), DURATION_MS_MAX)


def _imported(recorded: Recorded, event: ConversationImported) -> Experience | None:
    outcome = outcome_of(event)
    if outcome is None:
        return None
    owner, conversation_id = owned_by(recorded)
    return Experience(
        id=imported_id(recorded.stream),
        owner=owner,
        conversation_id=conversation_id,
        partition=recorded.partition,
        task_type=IMPORTED,
        outcome=outcome,
        requested_at=recorded.recorded_at,
        ended_at=recorded.recorded_at,
        first_offset=recorded.offset,
        last_offset=recorded.offset,
        position=recorded.position,
    )


def _with_message(row: Experience, recorded: Recorded, event: MessageImported) -> Experience:
    work = work_of(event)
    tools = dict(row.tools)
    for name in work.tools:
        tools[name] = ToolUse(tools[name].calls + 1 if name in tools else 1)
    return msgspec.structs.replace(
        row,
        steps=row.steps + work.steps,
        tool_calls=row.tool_calls + len(work.tools),
        tools=tools,
        last_offset=recorded.offset,
    )


PROJECTION = Projection(
    name="experiences",
    version=1,
    row=Experience,
    ddl=DDL,
    key=("id",),
    handles=event_types(
        RunRequested,
        ConversationImported,
        MessageImported,
        ModelAnswered,
        ModelAttemptFailed,
        ToolReturned,
        MessageAnswered,
        ConfirmationRequested,
        ConfirmationAnswered,
        HumanAsked,
        HumanAnswered,
        EffectUnknown,
        RunCompleted,
        RunFailed,
        RunCancelled,
        RunMerged,
    ),
    key_of=key_of,
    apply=apply,
    begins=event_types(RunRequested),
    tallies=(SUMS, DURATIONS, TOOLS),
)
