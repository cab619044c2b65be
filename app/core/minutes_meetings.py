"""What the events of boards and teams add to their minutes."""

from collections.abc import Iterable
from typing import Any

from app.core import events as ev
from app.core import minutes as doc
from app.core.envelope import Recorded


def attendees(
    recorded: Recorded, experts: Iterable[ev.ExpertCard], first: str, others: str
) -> list[doc.Attendee]:
    """Those present, the first of them in the role `first`."""
    return [
        doc.Attendee(
            offset=recorded.offset,
            at=recorded.recorded_at,
            id=card.id,
            name=card.name or card.id,
            role=others if number else first,
            avatar=card.avatar,
            color=card.color,
            persona=card.persona,
        )
        for number, card in enumerate(experts)
    ]


def called(turn: doc.Turn, expert_id: str) -> str:
    """The name of somebody present, else what they were called."""
    present = turn.present if isinstance(turn, doc.Board | doc.Team) else []
    return next((one.name for one in present if one.id == expert_id), expert_id)


def add_board(board: doc.Board, recorded: Recorded, event: ev.Event | ev.UnknownEvent) -> None:
    """Leaves the minutes as they are where the event is none of a board."""
    at: dict[str, Any] = {"offset": recorded.offset, "at": recorded.recorded_at}
    match event:
        case ev.BoardStarted(experts=experts, max_rounds=rounds):
            board.present = attendees(recorded, experts, "moderator", "expert")
            board.max_rounds = rounds
        case ev.ExpertSpoke():
            speech = doc.Speech(
                **at,
                **_speaker(board, event.expert_id, interrupted=event.interrupted),
                content=event.content,
                role=event.role,
            )
            _round(board, event.round).speeches.append(speech)
        case ev.ExpertSilent():
            interrupted = event.error_class == "interrupted"
            silence = doc.Silence(
                **at,
                **_speaker(board, event.expert_id, interrupted=interrupted),
                error_class=event.error_class,
                message=event.message,
            )
            _round(board, event.round).silences.append(silence)
        case ev.RoundSummarized():
            _round(board, event.round).summary = doc.Summing(
                **at,
                expert_id=event.expert_id,
                name=called(board, event.expert_id),
                content=event.content,
                consensus=event.consensus,
            )
        case ev.InterventionMinuted():
            word = board.interventions.pop(0) if board.interventions else None
            word = word or doc.Word(**at, by="", content=event.content)
            word.minuted_offset = recorded.offset
            _round(board, event.round).interventions.append(word)
        case ev.BoardConcluded():
            board.conclusion = doc.Conclusion(
                **at,
                summary=event.summary,
                decision_advice=event.decision_advice,
                total_rounds=event.total_rounds,
                consensus_points=event.consensus_points,
                dissent=event.dissent_points,
                votes=event.votes,
                stopped_by=event.stopped_by,
            )
        case _:
            pass


def _speaker(board: doc.Board, expert_id: str, *, interrupted: bool) -> dict[str, Any]:
    """Who speaks, and who cut them short. A speech may also be cut short by a budget: then nobody did."""
    cut = _cut(board, expert_id) if interrupted else None
    return {
        "expert_id": expert_id,
        "name": called(board, expert_id),
        "interrupted": interrupted,
        "interrupted_by": cut.by if cut is not None else "",
        "interrupted_offset": cut.offset if cut is not None else None,
    }


def _cut(board: doc.Board, expert_id: str) -> doc.Interruption | None:
    """The newest interruption, if it was of this speaker."""
    last, name = board.interruptions[-1] if board.interruptions else None, called(board, expert_id)
    if last is None or last.name not in ("", name):
        return None
    last.name = name
    return last


def _round(board: doc.Board, number: int) -> doc.Round:
    for held in reversed(board.rounds):
        if held.number == number:
            return held
    board.rounds.append(doc.Round(number=number))
    return board.rounds[-1]


def add_team(team: doc.Team, recorded: Recorded, event: ev.Event | ev.UnknownEvent) -> None:
    """Leaves the minutes as they are where the event is none of a team."""
    at: dict[str, Any] = {"offset": recorded.offset, "at": recorded.recorded_at}
    match event:
        case ev.TeamFormed(experts=experts, lead=lead):
            team.present = attendees(recorded, experts, "member", "member")
            for one in team.present:
                one.role = "lead" if one.id == lead else "member"
        case ev.PlanUpdated(phases=phases):
            team.plans.append(doc.Plan(**at, phases=tuple(_planned(team, phase) for phase in phases)))
        case ev.ContractDefined():
            contract = doc.Contract(
                **at,
                provider=called(team, event.provider),
                consumer=called(team, event.consumer),
                deliverable=event.deliverable,
                phase_id=event.phase_id,
            )
            team.contracts.append(contract)
        case ev.NoticeGiven(content=content, to=to, phase_id=phase_id):
            names = tuple(called(team, one) for one in to)
            team.notices.append(doc.Notice(**at, content=content, to=names, phase_id=phase_id))
        case ev.RiskFlagged(risk=risk, severity=severity, phase_id=phase_id):
            team.risks.append(doc.Risk(**at, risk=risk, severity=severity, phase_id=phase_id))
        case ev.TeamSynthesized(content=content):
            team.synthesis = doc.Synthesis(**at, content=content)
        case ev.TeamDissolved(reason=reason):
            team.dissolved = doc.Dissolution(**at, reason=reason)
        case _:
            _add_phase(team, recorded, event)


def _planned(team: doc.Team, phase: ev.TeamPhase) -> doc.PlannedPhase:
    return doc.PlannedPhase(
        id=phase.id,
        name=phase.name,
        task=phase.task,
        owner=called(team, phase.owner),
        depends_on=phase.depends_on,
        status=phase.status,
    )


def _add_phase(team: doc.Team, recorded: Recorded, event: ev.Event | ev.UnknownEvent) -> None:
    at: dict[str, Any] = {"offset": recorded.offset, "at": recorded.recorded_at}
    match event:
        case ev.PhaseStarted():
            phase = _phase(team, event.phase_id, event.name)
            phase.attempts.append(
                doc.Attempt(
                    **at,
                    number=event.attempt,
                    expert_id=event.expert_id,
                    name=called(team, event.expert_id),
                    task_id=event.child,
                )
            )
        case ev.PhaseCompleted() | ev.PhaseFailed():
            attempt = _open_attempt(team, event)
            attempt.outcome_offset = recorded.offset
            if isinstance(event, ev.PhaseCompleted):
                attempt.outcome, attempt.content = "completed", event.content
            else:
                attempt.outcome = "failed"
                attempt.error_class, attempt.message = event.error_class, event.message
        case ev.ResultReviewed():
            review = doc.Review(
                **at,
                reviewer=called(team, event.reviewer),
                accepted=event.accepted,
                comment=event.comment,
            )
            _phase(team, event.phase_id).reviews.append(review)
        case ev.Replanned(action=action, reason=reason):
            _phase(team, event.phase_id).remedies.append(doc.Remedy(**at, action=action, reason=reason))
        case _:
            pass


def _phase(team: doc.Team, phase_id: str, name: str = "") -> doc.Phase:
    found = next((phase for phase in team.phases if phase.id == phase_id), None)
    if found is None:
        planned = (
            phase.name for plan in reversed(team.plans) for phase in plan.phases if phase.id == phase_id
        )
        found = doc.Phase(id=phase_id, name=name or next(planned, phase_id))
        team.phases.append(found)
    found.name = name or found.name
    return found


def _open_attempt(team: doc.Team, event: ev.PhaseCompleted | ev.PhaseFailed) -> doc.Attempt:
    """The attempt that ends with this event; one that has never begun where the phase could not begin."""
    phase = _phase(team, event.phase_id, event.name)
    if not phase.attempts or phase.attempts[-1].outcome != "running":
        number = len(phase.attempts) + 1
        name = called(team, event.expert_id)
        phase.attempts.append(doc.Attempt(number=number, expert_id=event.expert_id, name=name))
    return phase.attempts[-1]
