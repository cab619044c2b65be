"""The frames of boards and teams (wire contract, section 4), as their clients may rely on them.

Each is `{type, data, timestamp, task_id, offset?}`; what is in `data` stands here by the frame's name.
"""

from typing import Any

import msgspec

from app.core.meeting_cards import Expert


class Speaker(msgspec.Struct, frozen=True):
    """An expert, as every frame about one names them. The colour is `#rrggbb`."""

    expert_id: str
    expert_name: str
    expert_avatar: str
    expert_color: str


class PlanPhase(msgspec.Struct, frozen=True):
    """A phase of a team's plan."""

    id: str
    name: str
    task: str
    owner: str
    owner_name: str
    depends_on: list[str]
    status: str


class BoardStarted(msgspec.Struct, frozen=True):
    """A board begins."""

    team_id: str
    topic: str
    experts: list[Expert]
    max_rounds: int


class SpeechChunk(Speaker, frozen=True):
    """Live text of a speech or of the synthesis. With `reset` it begins anew."""

    content: str
    round: int
    reset: bool


class Speech(Speaker, frozen=True):
    """What an expert has said."""

    content: str
    round: int
    role: str
    interrupted: bool


class RoundSummary(msgspec.Struct, frozen=True):
    """The moderator sums up a round."""

    moderator_id: str
    moderator_name: str
    moderator_avatar: str
    moderator_color: str
    content: str
    round: int
    consensus: bool


class Intervention(msgspec.Struct, frozen=True):
    """A person's word to the board."""

    content: str
    round: int


class Holding(msgspec.Struct, frozen=True):
    """A point on which not all agree, and who holds it."""

    point: str
    who: list[str]


class BoardConcluded(msgspec.Struct, frozen=True):
    """What the board has come to."""

    team_id: str
    summary: str
    decision_advice: str
    total_rounds: int
    consensus_points: list[str]
    dissent_points: list[str]
    dissent: list[Holding]
    votes: list[dict[str, Any]]
    stopped_by: str


class TeamFormed(msgspec.Struct, frozen=True):
    """A team begins; its plan comes with `plan_update`."""

    team_id: str
    status: str
    task: str
    experts: list[Expert]
    plan_phases: list[PlanPhase]
    lead_expert: str
    lead_expert_id: str


class PlanUpdate(msgspec.Struct, frozen=True):
    """The plan as it is now."""

    plan_phases: list[PlanPhase]


class PlanStep(Speaker, frozen=True):
    """A phase has changed."""

    phase_id: str
    name: str
    task: str
    depends_on: list[str]
    status: str


class PhaseStarted(Speaker, frozen=True):
    """A member begins; `child` is the task of their run."""

    phase_id: str
    name: str
    attempt: int
    child: str


class PhaseCompleted(Speaker, frozen=True):
    """A phase is done."""

    phase_id: str
    name: str
    content: str


class PhaseFailed(Speaker, frozen=True):
    """A phase came to nothing."""

    phase_id: str
    name: str
    error_class: str
    message: str


class Replanning(msgspec.Struct, frozen=True):
    """The plan is changed, and why."""

    phase_id: str
    action: str
    reason: str


class MemberStep(Speaker, frozen=True):
    """What a member does: `kind` names the step, `data` is what is in it."""

    content: str
    step: int
    kind: str
    data: dict[str, Any]
    child: str


class MemberChunk(Speaker, frozen=True):
    """Live text of a member. With `reset` it begins anew."""

    content: str
    reset: bool
    child: str


class MemberReset(Speaker, frozen=True):
    """The live text so far was no result."""

    child: str


class MemberResult(Speaker, frozen=True):
    """What a member has come to."""

    content: str
    child: str


class Contract(msgspec.Struct, frozen=True):
    """One member owes another a deliverable."""

    provider: str
    provider_name: str
    consumer: str
    consumer_name: str
    deliverable: str
    phase_id: str


class Notice(msgspec.Struct, frozen=True):
    """A word to members."""

    content: str
    to: list[str]
    to_names: list[str]
    phase_id: str


class Review(msgspec.Struct, frozen=True):
    """The lead has looked at a phase's result."""

    phase_id: str
    reviewer: str
    reviewer_name: str
    accepted: bool
    comment: str


class Risk(msgspec.Struct, frozen=True):
    """Something may go wrong."""

    risk: str
    severity: str
    phase_id: str


class Synthesis(msgspec.Struct, frozen=True):
    """The team's answer."""

    content: str


class Dissolved(msgspec.Struct, frozen=True):
    """The team is no more; this comes always."""

    team_id: str
    reason: str


class Acknowledged(msgspec.Struct, frozen=True):
    """A message was taken as a word to the board or team."""

    content: str
    message_id: str | None


MEETING_DATA: dict[str, type[msgspec.Struct]] = {
    "board_started": BoardStarted,
    "expert_speech_chunk": SpeechChunk,
    "expert_speech": Speech,
    "round_summary": RoundSummary,
    "user_intervention": Intervention,
    "board_concluded": BoardConcluded,
    "team_formed": TeamFormed,
    "plan_update": PlanUpdate,
    "plan_step": PlanStep,
    "phase_started": PhaseStarted,
    "phase_completed": PhaseCompleted,
    "phase_failed": PhaseFailed,
    "replanning": Replanning,
    "expert_step": MemberStep,
    "expert_result_chunk": MemberChunk,
    "expert_result_chunk_reset": MemberReset,
    "expert_result": MemberResult,
    "collaboration_contract_defined": Contract,
    "collaboration_notice": Notice,
    "review_result": Review,
    "risk_flagged": Risk,
    "team_synthesis_chunk": SpeechChunk,
    "team_synthesis": Synthesis,
    "team_dissolved": Dissolved,
    "team_intervention_ack": Acknowledged,
}
"""What is in `data`; each of `app.api.meeting_wire.FRAMES` is here."""
