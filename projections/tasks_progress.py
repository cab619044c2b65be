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

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from app.core.events import (
    AttemptCritiqued,
    BoardStarted,
    Event,
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


def phases_of(requested: RunRequested) -> dict[str, str]:
    """The phases that a run of `plan_exec` is to go through."""
    return {phase.name: "pending" for phase in requested.phases}


class Progress(NamedTuple):
    """`share`: how far the task is. Of a case, how far by itself, besides what the metadata say."""

    metadata: TaskMetadata
    message: str | None
    share: float = 0.0


def advance(row: Task, metadata: TaskMetadata, event: Event) -> Progress:
    """Where the task is after this event. What its model calls cost is in `metadata` already."""
    metadata, message, share = STEPS[type(event)](metadata, row.progress_message, event)
    share = max(share, _share(metadata))
    return Progress(metadata, message, max(row.progress, min(OPEN_PROGRESS_MAX, share)))


def told(text: str) -> str | None:
    """The text as a message about progress: one line, at most 200 characters."""
    line = " ".join(text[: 4 * MESSAGE_CHARS_MAX].split())
    return (line if len(line) <= MESSAGE_CHARS_MAX else line[: MESSAGE_CHARS_MAX - 1] + "…") or None


def _answered(metadata: TaskMetadata, message: str | None, event: ModelAnswered) -> Progress:
    steps = metadata.steps + 1
    metadata = msgspec.structs.replace(
        metadata,
        model=event.answer.model,
        steps=steps,
        tool_calls=metadata.tool_calls + len(event.answer.tool_calls),
        plan_steps_begun=_begun(metadata),
    )
    by_steps = metadata.mode in BY_STEPS and not metadata.plan_steps
    share = steps / max(1, metadata.max_steps) if by_steps else 0.0
    return Progress(metadata, message if metadata.waits_for else metadata.phase, share)


def _called(metadata: TaskMetadata, message: str | None, event: ToolCalled) -> Progress:
    begun = _begun(metadata)
    if begun != metadata.plan_steps_begun:
        metadata = msgspec.structs.replace(metadata, plan_steps_begun=begun)
    return Progress(metadata, event.name)


def _begun(metadata: TaskMetadata) -> int:
    """Steps of the plan, where there is one, after one more call: each is one call, of a tool or a model."""
    return metadata.plan_steps_begun + (metadata.plan_steps > 0)


def _entered(metadata: TaskMetadata, message: str | None, event: PhaseChanged) -> Progress:
    if event.previous is not None:
        metadata = _with_phase(metadata, event.previous, "completed")
    metadata = _with_phase(metadata, event.phase, "running")
    return Progress(msgspec.structs.replace(metadata, phase=event.phase), event.phase)


def _planned(metadata: TaskMetadata, message: str | None, event: PlanDrafted) -> Progress:
    steps = len(event.steps) + 1  # the last step is the answer
    return Progress(msgspec.structs.replace(metadata, plan_steps=steps, plan_steps_begun=0), message)


def _critiqued(metadata: TaskMetadata, message: str | None, event: AttemptCritiqued) -> Progress:
    if event.accepted:
        return Progress(metadata, message, OPEN_PROGRESS_MAX)
    return Progress(metadata, told(event.critique))


def _met(metadata: TaskMetadata, message: str | None, event: BoardStarted) -> Progress:
    return Progress(msgspec.structs.replace(metadata, rounds=event.max_rounds), message)


def _spoken(metadata: TaskMetadata, message: str | None, event: ExpertSpoke) -> Progress:
    return Progress(metadata, f"{event.round}/{metadata.rounds}" if event.round else message)


def _summarized(metadata: TaskMetadata, message: str | None, event: RoundSummarized) -> Progress:
    return Progress(msgspec.structs.replace(metadata, rounds_held=event.round), message)


def _updated(metadata: TaskMetadata, message: str | None, event: PlanUpdated) -> Progress:
    phases = {one.id: one.status for one in event.phases}
    return Progress(msgspec.structs.replace(metadata, phases=phases), message)


def _started(metadata: TaskMetadata, message: str | None, event: PhaseStarted) -> Progress:
    return Progress(_with_phase(metadata, event.phase_id, "running"), event.name)


def _completed(metadata: TaskMetadata, message: str | None, event: PhaseCompleted) -> Progress:
    return Progress(_with_phase(metadata, event.phase_id, "completed"), message)


def _failed(metadata: TaskMetadata, message: str | None, event: PhaseFailed) -> Progress:
    return Progress(_with_phase(metadata, event.phase_id, "failed"), message)


STEPS: dict[type[Event], Callable[[TaskMetadata, str | None, Any], Progress]] = {
    ModelAnswered: _answered,
    ToolCalled: _called,
    PhaseChanged: _entered,
    PlanDrafted: _planned,
    AttemptCritiqued: _critiqued,
    BoardStarted: _met,
    ExpertSpoke: _spoken,
    RoundSummarized: _summarized,
    PlanUpdated: _updated,
    PhaseStarted: _started,
    PhaseCompleted: _completed,
    PhaseFailed: _failed,
}
"""Events that say how far a task is: what its metadata and its message about progress are after them."""


def _with_phase(metadata: TaskMetadata, phase_id: str, status: str) -> TaskMetadata:
    return msgspec.structs.replace(metadata, phases={**metadata.phases, phase_id: status})


def _share(metadata: TaskMetadata) -> float:
    if metadata.rounds:
        return metadata.rounds_held / metadata.rounds
    if metadata.plan_steps:
        return metadata.plan_steps_begun / metadata.plan_steps
    states = list(metadata.phases.values())
    return states.count("completed") / len(states) if states else 0.0
