"""The part of the Markdown that only teams have: plan, contracts, phases, risks, notices, synthesis."""

from collections.abc import Iterator

from app.core import minutes as doc
from app.core.minutes_words import Words, inline, proof, quoted


def team_lines(team: doc.Team, words: Words) -> Iterator[str]:
    yield from _plan(team, words)
    if team.contracts:
        yield from ("", f"### {words('minutes_contracts')}", "")
    for one in team.contracts:
        names = {"provider": inline(one.provider), "consumer": inline(one.consumer)}
        agreed = words("minutes_contract", **names, deliverable=inline(one.deliverable))
        yield f"- {_of(one.phase_id)}{agreed} {proof(one.offset)}"
    if team.phases:
        yield from ("", f"### {words('minutes_phases')}")
    for phase in team.phases:
        yield from _phase(phase, words)
    if team.risks:
        yield from ("", f"### {words('minutes_risks')}", "")
    for one in team.risks:
        known = one.severity in ("low", "medium", "high")
        severity = words(f"minutes_{one.severity}") if known else inline(one.severity)
        yield f"- {_of(one.phase_id)}{inline(one.risk)} ({severity}) {proof(one.offset)}"
    if team.notices:
        yield from ("", f"### {words('minutes_notices')}", "")
    for one in team.notices:
        to = f" ({words('minutes_to', names=', '.join(map(inline, one.to)))})" if one.to else ""
        yield f"- {_of(one.phase_id)}{inline(one.content)}{to} {proof(one.offset)}"
    if team.synthesis is not None:
        heading = f"### {words('minutes_synthesis')} {proof(team.synthesis.offset)}"
        yield from ("", heading, "", *quoted(team.synthesis.content))
    elif team.answer is not None:
        named = words("minutes_answer" if team.answer.whole else "minutes_partial_answer")
        yield from ("", f"### {named} {proof(team.answer.offset)}", "", *quoted(team.answer.content))


def _plan(team: doc.Team, words: Words) -> Iterator[str]:
    """The newest, and how many there were before."""
    if not team.plans:
        return
    *earlier, plan = team.plans
    yield from ("", f"### {words('minutes_plan')} {proof(plan.offset)}", "")
    for phase in plan.phases:
        after = words("minutes_after", phases=", ".join(map(inline, phase.depends_on)))
        needs = f" ({after})" if phase.depends_on else ""
        named = f"{_of(phase.id)}**{inline(phase.name)}**, {inline(phase.owner)}{needs}"
        yield f"- {named}: {inline(phase.task)} {proof(plan.offset)}"
    if earlier:
        proofs = " ".join(proof(one.offset) for one in earlier)
        yield from ("", f"{words('minutes_plan_earlier', count=len(earlier))} {proofs}")


def _phase(phase: doc.Phase, words: Words) -> Iterator[str]:
    yield from ("", f"#### {_of(phase.id)}{inline(phase.name)}", "")
    lines: list[tuple[int, tuple[str, ...]]] = []
    for one in phase.attempts:
        offset = one.offset or one.outcome_offset or 0
        lines.append((offset, tuple(_attempt(one, words))))
    for review in phase.reviews:
        key = "minutes_accepted" if review.accepted else "minutes_rejected"
        comment = f": {inline(review.comment)}" if review.comment else ""
        judged = f"- {words(key, name=inline(review.reviewer))}{comment} {proof(review.offset)}"
        lines.append((review.offset, (judged,)))
    for remedy in phase.remedies:
        known = remedy.action in ("retry", "reassign", "replan", "give_up")
        action = words(f"minutes_remedy_{remedy.action}") if known else inline(remedy.action)
        reason = f": {inline(remedy.reason)}" if remedy.reason else ""
        lines.append((remedy.offset, (f"- {action}{reason} {proof(remedy.offset)}",)))
    for _, shown in sorted(lines, key=lambda line: line[0]):
        yield from shown


def _attempt(one: doc.Attempt, words: Words) -> Iterator[str]:
    named = words("minutes_attempt", number=one.number, name=inline(one.name))
    outcome = words(f"minutes_{one.outcome}", reason=inline(one.message) or inline(one.error_class))
    yield f"- {named}{proof(one.offset, ' ')} – {outcome}{proof(one.outcome_offset, ' ')}"
    if one.content:
        yield from ("", *(f"  {line}" for line in quoted(one.content)), "")


def _of(phase_id: str) -> str:
    return f"{inline(phase_id)}. " if phase_id else ""
