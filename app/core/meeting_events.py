"""Events of boards and teams: notes that these modes put on record, and of the child runs that they start.

The rules of `app/core/events.py` hold. `step` and `key` are filled in by the driver. The id of a board or team is that
of its task.
"""

from typing import Literal

import msgspec

BOARD_MODE = "board"
TEAM_MODE = "team_collab"
MEETING_MODES = frozenset({BOARD_MODE, TEAM_MODE})
StopRule = Literal["rounds", "consensus", "budget"]
"""Why a board meeting ended: all rounds held, agreement named by the moderator, or a budget used up."""


class ExpertCard(msgspec.Struct, frozen=True, omit_defaults=True):
    """An expert as a run was given it. `color` is `#rrggbb`; `skills` are names, `skill_prompt` is what they say and
    `tools` are those that they and the deployment allow (None: all of the run's); `model` None: the default.
    """

    id: str
    name: str
    avatar: str = ""
    color: str = ""
    persona: str = ""
    rules: str = ""
    skills: tuple[str, ...] = ()
    model: str | None = None
    is_moderator: bool = False
    skill_prompt: str = ""
    tools: tuple[str, ...] | None = None


class Dissent(msgspec.Struct, frozen=True):
    """A point on which not all agree, and the names of those who hold it."""

    point: str
    who: tuple[str, ...] = ()


class Vote(msgspec.Struct, frozen=True):
    """How an expert voted, in their words, and why."""

    expert: str
    vote: str
    reason: str = ""


class TeamPhase(msgspec.Struct, frozen=True, omit_defaults=True):
    """A phase of a team's plan. `depends_on` are ids of phases; `status` is pending, running, completed or failed."""

    id: str
    name: str
    task: str
    owner: str
    depends_on: tuple[str, ...] = ()
    status: str = "pending"


class BoardStarted(msgspec.Struct, frozen=True, tag_field="type", tag="board.started", omit_defaults=True):
    topic: str
    experts: tuple[ExpertCard, ...]
    max_rounds: int
    step: int = 0
    key: str = ""


class ExpertSpoke(
    msgspec.Struct, frozen=True, tag_field="type", tag="board.expert_spoke", omit_defaults=True
):
    """A speech. `role` is `moderator` or `expert`; `interrupted`: it was cut short by a person, or by the budget."""

    expert_id: str
    content: str
    round: int
    role: str = "expert"
    interrupted: bool = False
    step: int = 0
    key: str = ""


class ExpertSilent(
    msgspec.Struct, frozen=True, tag_field="type", tag="board.expert_silent", omit_defaults=True
):
    """An expert could not speak; the meeting went on without."""

    expert_id: str
    round: int
    error_class: str
    message: str
    step: int = 0
    key: str = ""


class RoundSummarized(
    msgspec.Struct, frozen=True, tag_field="type", tag="board.round_summarized", omit_defaults=True
):
    """The moderator sums up. `consensus`: the moderator says that there is nothing left to argue about."""

    expert_id: str
    content: str
    round: int
    consensus: bool = False
    step: int = 0
    key: str = ""


class InterventionMinuted(
    msgspec.Struct, frozen=True, tag_field="type", tag="board.intervention_minuted", omit_defaults=True
):
    """A person's word to the meeting: every speaker hears it from here on."""

    content: str
    round: int
    step: int = 0
    key: str = ""


class BoardConcluded(
    msgspec.Struct, frozen=True, tag_field="type", tag="board.concluded", omit_defaults=True
):
    summary: str
    decision_advice: str
    total_rounds: int
    consensus_points: tuple[str, ...] = ()
    dissent_points: tuple[Dissent, ...] = ()
    votes: tuple[Vote, ...] = ()
    stopped_by: StopRule = "rounds"
    step: int = 0
    key: str = ""


class TeamFormed(msgspec.Struct, frozen=True, tag_field="type", tag="team.formed", omit_defaults=True):
    """`lead` is the id of an expert. The plan comes with `team.plan_updated`."""

    task: str
    experts: tuple[ExpertCard, ...]
    lead: str
    step: int = 0
    key: str = ""


class PlanUpdated(msgspec.Struct, frozen=True, tag_field="type", tag="team.plan_updated", omit_defaults=True):
    phases: tuple[TeamPhase, ...]
    step: int = 0
    key: str = ""


class PhaseStarted(
    msgspec.Struct, frozen=True, tag_field="type", tag="team.phase_started", omit_defaults=True
):
    """`child` is the task in which the expert works; `attempt` counts from 1."""

    phase_id: str
    name: str
    expert_id: str
    child: str = ""
    attempt: int = 1
    step: int = 0
    key: str = ""


class PhaseCompleted(
    msgspec.Struct, frozen=True, tag_field="type", tag="team.phase_completed", omit_defaults=True
):
    phase_id: str
    name: str
    expert_id: str
    content: str
    step: int = 0
    key: str = ""


class PhaseFailed(msgspec.Struct, frozen=True, tag_field="type", tag="team.phase_failed", omit_defaults=True):
    phase_id: str
    name: str
    expert_id: str
    error_class: str
    message: str
    step: int = 0
    key: str = ""


class Replanned(msgspec.Struct, frozen=True, tag_field="type", tag="team.replanned", omit_defaults=True):
    """What is done about a failed phase: `action` is `retry`, `reassign`, `replan` or `give_up`."""

    phase_id: str
    action: str
    reason: str
    step: int = 0
    key: str = ""


class ContractDefined(
    msgspec.Struct, frozen=True, tag_field="type", tag="team.contract_defined", omit_defaults=True
):
    """What one member delivers to another, in which form."""

    provider: str
    consumer: str
    deliverable: str
    phase_id: str = ""
    step: int = 0
    key: str = ""


class NoticeGiven(msgspec.Struct, frozen=True, tag_field="type", tag="team.notice_given", omit_defaults=True):
    """Something that members have to know: a result they wait for, or a person's word. `to` are ids of experts."""

    content: str
    to: tuple[str, ...] = ()
    phase_id: str = ""
    step: int = 0
    key: str = ""


class ResultReviewed(
    msgspec.Struct, frozen=True, tag_field="type", tag="team.result_reviewed", omit_defaults=True
):
    phase_id: str
    reviewer: str
    accepted: bool
    comment: str = ""
    step: int = 0
    key: str = ""


class RiskFlagged(msgspec.Struct, frozen=True, tag_field="type", tag="team.risk_flagged", omit_defaults=True):
    """`severity` is low, medium or high."""

    risk: str
    severity: str = "medium"
    phase_id: str = ""
    step: int = 0
    key: str = ""


class TeamSynthesized(
    msgspec.Struct, frozen=True, tag_field="type", tag="team.synthesized", omit_defaults=True
):
    content: str
    step: int = 0
    key: str = ""


class TeamDissolved(msgspec.Struct, frozen=True, tag_field="type", tag="team.dissolved", omit_defaults=True):
    """On every path: also where the run failed or was cancelled; then appended with its terminal event."""

    reason: str = "done"
    step: int = 0
    key: str = ""


class ChildStarted(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.child_started", omit_defaults=True
):
    """Intent and outcome in one: the task `child` was requested together with this event."""

    step: int
    key: str
    child: str
    expert_id: str = ""


class ChildAwaited(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.child_awaited", omit_defaults=True
):
    """Intent: wait for the first of these tasks to end, or for a person's word where `or_word`."""

    step: int
    key: str
    children: tuple[str, ...]
    or_word: bool = False


class ChildEnded(msgspec.Struct, frozen=True, tag_field="type", tag="run.child_ended", omit_defaults=True):
    """Outcome: what came of the first that ended. `child` is empty where a person has spoken instead."""

    step: int
    key: str
    child: str = ""
    content: str = ""
    error_class: str | None = None
    tokens: int = 0
    cost_usd: float | None = None


class ChildAnswered(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.child_answered", omit_defaults=True
):
    """What a child run came to; appended with its terminal event. No message of the conversation."""

    content: str


class RunTold(msgspec.Struct, frozen=True, tag_field="type", tag="run.told", omit_defaults=True):
    """Intent and outcome in one, of the parent's stream position: the running task `to` hears `content`."""

    step: int
    key: str
    to: str
    content: str


class SpeakerInterrupted(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.speaker_interrupted", omit_defaults=True
):
    """A person has cut short what the run's model is saying now; the run goes on."""

    by: str
