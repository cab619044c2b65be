"""How far a task is: `progress`, `progress_message`, and what of its metadata says so. It never goes back.

    mode                       progress                                   message
    react, skill_react         model calls of those that it may make      the tool that was called last
    reflexion                  as above; nearly whole once accepted       also what was wrong with the attempt
    rewoo                      steps of its plan that were begun          the tool
    plan_exec, team_collab     phases that are over                       the phase
    board                      rounds that were summed up                 round/rounds
    direct_chat, operation     nothing before the end                     the tool

A task that waits for a person says for what.
"""

from typing import assert_never

import msgspec

from app.core.events import (
    AttemptCritiqued,
    BoardStarted,
    ExpertSpoke,
    ModelAnswered,
    PhaseChanged,
    PhaseCompleted,
    PhaseFailed,
    PhaseStarted,
    PlanDrafted,
    PlanUpdated,
    RoundSummarized,
    RunRequested,
    ToolCalled,
)
from projections.tasks_reads import Task, TaskMetadata

OPEN_PROGRESS_MAX = 0.95
MESSAGE_CHARS_MAX = 200
BY_STEPS = frozenset({"react", "skill_react", "reflexion", "rewoo"})
"""Modes whose model calls say how far they are."""

Advance = (
    ModelAnswered
    | ToolCalled
    | PhaseChanged
    | PlanDrafted
    | AttemptCritiqued
    | BoardStarted
    | ExpertSpoke
    | RoundSummarized
    | PlanUpdated
    | PhaseStarted
    | PhaseCompleted
    | PhaseFailed
)
"""Events that say how far a task is."""


def phases_of(requested: RunRequested) -> dict[str, str]:
    """The phases that a run of `plan_exec` is to go through."""
    return {phase.name: "pending" for phase in requested.phases}


def advanced(row: Task, event: Advance) -> Task:  # noqa: C901 (a case for each event)
    """The task after this event. What its model calls cost is not counted here."""
    metadata, message, share = row.metadata, row.progress_message, 0.0
    match event:
        case ModelAnswered():
            metadata, share = _answered(metadata, event)
            message = message if metadata.waits_for else metadata.phase
        case ToolCalled():
            metadata, message = _begun(metadata), event.name
        case PhaseChanged():
            metadata, message = _entered(metadata, event), event.phase
        case PlanDrafted():
            # The last step is the answer.
            metadata = msgspec.structs.replace(metadata, plan_steps=len(event.steps) + 1, plan_steps_begun=0)
        case AttemptCritiqued():
            share = OPEN_PROGRESS_MAX if event.accepted else 0.0
            message = message if event.accepted else told(event.critique)
        case BoardStarted():
            metadata = msgspec.structs.replace(metadata, rounds=event.max_rounds)
        case ExpertSpoke():
            message = f"{event.round}/{metadata.rounds}" if event.round else message
        case RoundSummarized():
            metadata = msgspec.structs.replace(metadata, rounds_held=event.round)
        case PlanUpdated():
            metadata = msgspec.structs.replace(metadata, phases={one.id: one.status for one in event.phases})
        case PhaseStarted():
            metadata, message = _with_phase(metadata, event.phase_id, "running"), event.name
        case PhaseCompleted():
            metadata = _with_phase(metadata, event.phase_id, "completed")
        case PhaseFailed():
            metadata = _with_phase(metadata, event.phase_id, "failed")
        case _ as never:
            assert_never(never)
    progress = max(row.progress, min(OPEN_PROGRESS_MAX, max(share, _share(metadata))))
    return msgspec.structs.replace(row, metadata=metadata, progress=progress, progress_message=message)


def told(text: str) -> str | None:
    """The text as a message about progress: one line, at most 200 characters."""
    line = " ".join(text[: 4 * MESSAGE_CHARS_MAX].split())
    return (line if len(line) <= MESSAGE_CHARS_MAX else line[: MESSAGE_CHARS_MAX - 1] + "…") or None


def _answered(metadata: TaskMetadata, event: ModelAnswered) -> tuple[TaskMetadata, float]:
    metadata = msgspec.structs.replace(
        metadata,
        model=event.answer.model,
        steps=metadata.steps + 1,
        tool_calls=metadata.tool_calls + len(event.answer.tool_calls),
    )
    by_steps = metadata.mode in BY_STEPS and not metadata.plan_steps
    return _begun(metadata), metadata.steps / max(1, metadata.max_steps) if by_steps else 0.0


def _begun(metadata: TaskMetadata) -> TaskMetadata:
    """A step of the plan, where there is one: each is one call, of a tool or a model."""
    if not metadata.plan_steps:
        return metadata
    return msgspec.structs.replace(metadata, plan_steps_begun=metadata.plan_steps_begun + 1)


def _entered(metadata: TaskMetadata, event: PhaseChanged) -> TaskMetadata:
    if event.previous is not None:
        metadata = _with_phase(metadata, event.previous, "completed")
    return msgspec.structs.replace(_with_phase(metadata, event.phase, "running"), phase=event.phase)


def _with_phase(metadata: TaskMetadata, phase_id: str, status: str) -> TaskMetadata:
    return msgspec.structs.replace(metadata, phases={**metadata.phases, phase_id: status})


def _share(metadata: TaskMetadata) -> float:
    if metadata.rounds:
        return metadata.rounds_held / metadata.rounds
    if metadata.plan_steps:
        return metadata.plan_steps_begun / metadata.plan_steps
    done = sum(status == "completed" for status in metadata.phases.values())
    return done / max(1, len(metadata.phases))
