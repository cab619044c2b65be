"""What an event of a board or team is to people: a card with a name and data, the same live and after a reload.

The names are those of the frames of the wire contract (section 4), and `expert_silent`.
"""

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from app.core import events as ev
from app.core.steps import StepCard


class Expert(msgspec.Struct, frozen=True, gc=False):
    """An expert as people see them. `color` is `#rrggbb`."""

    id: str
    name: str
    avatar: str = ""
    color: str = ""
    is_moderator: bool = False
    persona: str = ""


Cast = tuple[Expert, ...]
"""Those who take part; the moderator or lead comes first."""

Taking = ev.BoardStarted | ev.ExpertSpoke | ev.ExpertSilent | ev.RoundSummarized | ev.InterventionMinuted
Teaming = (
    ev.TeamFormed
    | ev.PlanUpdated
    | ev.ContractDefined
    | ev.NoticeGiven
    | ev.ResultReviewed
    | ev.RiskFlagged
    | ev.TeamSynthesized
    | ev.TeamDissolved
)
Phasing = ev.PhaseStarted | ev.PhaseCompleted | ev.PhaseFailed | ev.Replanned


def cast_of(cards: Iterable[ev.ExpertCard]) -> Cast:
    """What of them is shown: not what they are told."""
    return tuple(
        Expert(card.id, card.name, card.avatar, card.color, card.is_moderator, card.persona) for card in cards
    )


def expert_of(cast: Cast, known_as: str) -> Expert:
    """By id, else by name; whoever is not in the cast is called by that."""
    found = next((one for one in cast if one.id == known_as), None)
    found = found or next((one for one in cast if one.name == known_as), None)
    return found or Expert(known_as, known_as)


def of_expert(cast: Cast, known_as: str) -> dict[str, Any]:
    """`expert_id`, `expert_name`, `expert_avatar` and `expert_color`."""
    one = expert_of(cast, known_as)
    return {
        "expert_id": one.id,
        "expert_name": one.name,
        "expert_avatar": one.avatar,
        "expert_color": one.color,
    }


def meeting_card(event: ev.MeetingNote, cast: Cast, task_id: str) -> StepCard:
    """The card of a note; its data are plain JSON values. `task_id` is also the id of the board or team."""
    match event:
        case (
            ev.BoardStarted()
            | ev.ExpertSpoke()
            | ev.ExpertSilent()
            | ev.RoundSummarized()
            | ev.InterventionMinuted()
        ):
            name, data = _of_board(event, cast, task_id)
        case ev.BoardConcluded():
            name, data = "board_concluded", _conclusion(event, task_id)
        case ev.PhaseStarted() | ev.PhaseCompleted() | ev.PhaseFailed() | ev.Replanned():
            name, data = _of_phase(event, cast)
        case _:
            name, data = _of_team(event, cast, task_id)
    return StepCard(name, data, event.step)


def plan_phases(phases: Iterable[ev.TeamPhase], cast: Cast) -> list[dict[str, Any]]:
    """A plan as clients know it: every phase with its owner's name and its state."""
    return [
        {
            "id": phase.id,
            "name": phase.name,
            "task": phase.task,
            "owner": phase.owner,
            "owner_name": expert_of(cast, phase.owner).name,
            "depends_on": list(phase.depends_on),
            "status": phase.status,
        }
        for phase in phases
    ]


def _of_board(event: Taking, cast: Cast, task_id: str) -> tuple[str, dict[str, Any]]:
    match event:
        case ev.BoardStarted(topic=topic, max_rounds=rounds):
            experts = msgspec.to_builtins(cast_of(event.experts))
            return "board_started", {
                "team_id": task_id,
                "topic": topic,
                "experts": list(experts),
                "max_rounds": rounds,
            }
        case ev.ExpertSpoke():
            said = {"content": event.content, "round": event.round, "role": event.role}
            by = of_expert(cast, event.expert_id)
            return "expert_speech", {**by, **said, "interrupted": event.interrupted}
        case ev.ExpertSilent():
            why = {"round": event.round, "error_class": event.error_class, "message": event.message}
            return "expert_silent", {**of_expert(cast, event.expert_id), **why}
        case ev.RoundSummarized():
            one = expert_of(cast, event.expert_id)
            return "round_summary", {
                "moderator_id": one.id,
                "moderator_name": one.name,
                "moderator_avatar": one.avatar,
                "moderator_color": one.color,
                "content": event.content,
                "round": event.round,
                "consensus": event.consensus,
            }
        case ev.InterventionMinuted():
            return "user_intervention", {"content": event.content, "round": event.round}
        case _ as never:
            assert_never(never)


def _conclusion(event: ev.BoardConcluded, task_id: str) -> dict[str, Any]:
    """`dissent_points` are sentences, as clients know them; `dissent` says who holds which."""
    return {
        "team_id": task_id,
        "summary": event.summary,
        "decision_advice": event.decision_advice,
        "total_rounds": event.total_rounds,
        "consensus_points": list(event.consensus_points),
        "dissent_points": [
            f"{one.point} ({', '.join(one.who)})" if one.who else one.point for one in event.dissent_points
        ],
        "dissent": [{"point": one.point, "who": list(one.who)} for one in event.dissent_points],
        "votes": [msgspec.to_builtins(vote) for vote in event.votes],
        "stopped_by": event.stopped_by,
    }


def _of_team(event: Teaming, cast: Cast, task_id: str) -> tuple[str, dict[str, Any]]:
    match event:
        case ev.TeamFormed():
            lead = expert_of(cast_of(event.experts), event.lead)
            experts = [msgspec.to_builtins(one) for one in cast_of(event.experts)]
            formed = {"team_id": task_id, "status": "formed", "task": event.task, "experts": experts}
            return "team_formed", {
                **formed,
                "plan_phases": [],
                "lead_expert": lead.name,
                "lead_expert_id": lead.id,
            }
        case ev.PlanUpdated():
            return "plan_update", {"plan_phases": plan_phases(event.phases, cast)}
        case ev.ContractDefined():
            return "collaboration_contract_defined", {
                "provider": event.provider,
                "provider_name": expert_of(cast, event.provider).name,
                "consumer": event.consumer,
                "consumer_name": expert_of(cast, event.consumer).name,
                "deliverable": event.deliverable,
                "phase_id": event.phase_id,
            }
        case ev.NoticeGiven():
            names = [expert_of(cast, one).name for one in event.to]
            to = {"to": list(event.to), "to_names": names}
            return "collaboration_notice", {"content": event.content, **to, "phase_id": event.phase_id}
        case ev.ResultReviewed():
            return "review_result", {
                "phase_id": event.phase_id,
                "reviewer": event.reviewer,
                "reviewer_name": expert_of(cast, event.reviewer).name,
                "accepted": event.accepted,
                "comment": event.comment,
            }
        case ev.RiskFlagged():
            data = {"risk": event.risk, "severity": event.severity, "phase_id": event.phase_id}
            return "risk_flagged", data
        case ev.TeamSynthesized():
            return "team_synthesis", {"content": event.content}
        case ev.TeamDissolved():
            return "team_dissolved", {"team_id": task_id, "reason": event.reason}
        case _ as never:
            assert_never(never)


def _of_phase(event: Phasing, cast: Cast) -> tuple[str, dict[str, Any]]:
    if isinstance(event, ev.Replanned):
        data = {"phase_id": event.phase_id, "action": event.action, "reason": event.reason}
        return "replanning", data
    phase = {"phase_id": event.phase_id, "name": event.name, **of_expert(cast, event.expert_id)}
    match event:
        case ev.PhaseStarted():
            return "phase_started", {**phase, "attempt": event.attempt, "child": event.child}
        case ev.PhaseCompleted():
            return "phase_completed", {**phase, "content": event.content}
        case ev.PhaseFailed():
            return "phase_failed", {**phase, "error_class": event.error_class, "message": event.message}
        case _ as never:
            assert_never(never)
