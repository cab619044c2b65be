"""Experiences and metrics as the wire has them (wire contract, section 8): times in seconds, costs in US dollars."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from projections.experiences_reads import ToldExperience
from projections.metrics import Durations, Figures, Group, Metrics, Moment, ToolFigures
from projections.usage import NANO

Outcome = Literal["success", "failure", "cancelled"]


class ShownToolUse(msgspec.Struct, frozen=True):
    """`seconds`: of all timed calls together."""

    calls: int
    errors: int
    seconds: float


class ShownExperience(msgspec.Struct, frozen=True):
    """What an ended task leaves. `goal` is what was asked for (at most 200 characters), `result` what was answered,
    `problem` why it failed. `duration_seconds` is without waiting for people, null of an imported conversation;
    `cost_usd` is null where no price is known. The events are those of the conversation from `first_offset` to
    `last_offset`; the last one stands at `position` in the log."""

    id: UUID
    task_type: str
    goal: str
    outcome: Outcome
    duration_seconds: float | None
    created_at: datetime
    requested_at: datetime
    owner: str
    agent: str
    skill: str
    mode: str
    model: str
    department: str
    result: str
    problem: str
    error_class: str
    parent: str | None
    steps: int
    tool_calls: int
    tools: dict[str, ShownToolUse]
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_usd: float | None
    fallbacks: int
    attempts_failed: int
    confirmations_asked: int
    confirmations_answered: int
    questions_asked: int
    questions_answered: int
    effects_unknown: int
    conversation_id: str
    first_offset: int
    last_offset: int
    position: int


class ExperiencePage(msgspec.Struct, frozen=True):
    """Newest first. `next_cursor` is that of the next page; null: this is the last one."""

    experiences: list[ShownExperience]
    next_cursor: str | None


class ShownFigures(msgspec.Struct, frozen=True):
    """Sums over ended runs. `success_rate` is of those that ended by themselves (0-1), `mean_seconds` of those that
    were timed (imported conversations are not); null where there were none."""

    runs: int
    succeeded: int
    failed: int
    cancelled: int
    success_rate: float | None
    mean_seconds: float | None
    steps: int
    tool_calls: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_usd: float
    fallbacks: int
    attempts_failed: int
    confirmations_asked: int
    confirmations_answered: int
    questions_asked: int
    questions_answered: int
    effects_unknown: int


class ShownDurations(msgspec.Struct, frozen=True):
    """Nearest-rank percentiles over `timed` runs, exact; of groups and of tools (over calls) to 2 %. A group that is
    asked about alone (`agent=…`) has exact ones."""

    timed: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float


class ShownGroup(ShownFigures, frozen=True, kw_only=True):
    """The runs with this value; its durations only where `by` asks for them."""

    value: str
    durations: ShownDurations | None


class ShownTool(msgspec.Struct, frozen=True):
    """`error_rate` is 0-1. `mean_seconds` and `durations` (with `by=tool`) are those of timed calls."""

    tool: str
    runs: int
    calls: int
    errors: int
    error_rate: float
    mean_seconds: float | None
    durations: ShownDurations | None


class ShownError(msgspec.Struct, frozen=True):
    error_class: str
    runs: int


class ShownMoment(msgspec.Struct, frozen=True):
    """What ended in the hour or day (`bucket`) that begins at `start`."""

    start: datetime
    runs: int
    succeeded: int
    failed: int
    cancelled: int
    total_tokens: int
    cost_usd: float


class ShownMetrics(msgspec.Struct, frozen=True):
    """Of what ended at or behind `since` and before `until`. `bucket` is that of the timeline, in `zone`.

    Under a group (`agent=…`) there are no groups, errors and tools.
    """

    period: str | None
    since: datetime
    until: datetime
    zone: str
    bucket: Literal["hour", "day"]
    owner: str | None
    figures: ShownFigures
    durations: ShownDurations | None
    groups: dict[str, list[ShownGroup]]
    errors: list[ShownError]
    tools: list[ShownTool]
    timeline: list[ShownMoment]


def shown_experience(one: ToldExperience) -> ShownExperience:
    return ShownExperience(
        id=one.id,
        task_type=one.task_type,
        goal=one.goal,
        outcome=one.outcome,
        duration_seconds=None if one.duration_ms is None else one.duration_ms / 1000,
        created_at=one.ended_at,
        requested_at=one.requested_at,
        owner=one.owner,
        agent=one.agent,
        skill=one.skill,
        mode=one.mode,
        model=one.model,
        department=one.department,
        result=one.result,
        problem=one.problem,
        error_class=one.error_class,
        parent=one.parent,
        steps=one.steps,
        tool_calls=one.tool_calls,
        tools={
            name: ShownToolUse(use.calls, use.errors, sum(use.ms) / 1000) for name, use in one.tools.items()
        },
        prompt_tokens=one.prompt_tokens,
        completion_tokens=one.completion_tokens,
        total_tokens=one.prompt_tokens + one.completion_tokens,
        cost_usd=None if one.cost_nano_usd is None else one.cost_nano_usd / NANO,
        fallbacks=one.fallbacks,
        attempts_failed=one.attempts_failed,
        confirmations_asked=one.confirmations_asked,
        confirmations_answered=one.confirmations_answered,
        questions_asked=one.questions_asked,
        questions_answered=one.questions_answered,
        effects_unknown=one.effects_unknown,
        conversation_id=one.conversation_id,
        first_offset=one.first_offset,
        last_offset=one.last_offset,
        position=one.position,
    )


def shown_metrics(
    found: Metrics, *, period: str | None, zone: str, owner: str | None, bucket: Literal["hour", "day"]
) -> ShownMetrics:
    return ShownMetrics(
        period,
        found.since,
        found.until,
        zone,
        bucket,
        owner,
        ShownFigures(**_figures(found.figures)),
        _durations(found.durations),
        {dimension: [_group(one) for one in groups] for dimension, groups in found.groups.items()},
        [
            ShownError(name, runs)
            for name, runs in sorted(found.errors.items(), key=lambda one: (-one[1], one[0]))
        ],
        [_tool(one) for one in found.tools],
        [_moment(one) for one in found.timeline],
    )


def _figures(found: Figures) -> dict[str, Any]:
    sums = msgspec.structs.asdict(found)
    timed, duration_ms, cost = sums.pop("timed"), sums.pop("duration_ms"), sums.pop("cost_nano_usd")
    return {
        **sums,
        "success_rate": found.success_rate,
        "mean_seconds": duration_ms / timed / 1000 if timed else None,
        "total_tokens": found.prompt_tokens + found.completion_tokens,
        "cost_usd": cost / NANO,
    }


def _durations(found: Durations | None) -> ShownDurations | None:
    if found is None:
        return None
    return ShownDurations(found.timed, found.p50_ms / 1000, found.p95_ms / 1000, found.p99_ms / 1000)


def _group(found: Group) -> ShownGroup:
    return ShownGroup(**_figures(found.figures), value=found.value, durations=_durations(found.durations))


def _tool(found: ToolFigures) -> ShownTool:
    return ShownTool(
        found.tool,
        found.runs,
        found.calls,
        found.errors,
        found.errors / found.calls if found.calls else 0.0,
        found.ms / found.timed / 1000 if found.timed else None,
        _durations(found.durations),
    )


def _moment(found: Moment) -> ShownMoment:
    outcomes = (found.runs, found.succeeded, found.failed, found.cancelled)
    return ShownMoment(found.start, *outcomes, found.tokens, found.cost_nano_usd / NANO)
