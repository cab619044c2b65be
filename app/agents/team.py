"""`team_collab`: a lead plans, members work on phases at once, the lead reviews and brings the results together.

    plan ──► phases that are ready, each a child run ──► the first that ends ──► review ──► completed ──┐
     ▲                    ▲                                      │                 └ not accepted: once more
     │                    └── what has become ready ─────────────┼──────────────────────────────────────┤
     └── replan ◄── reassign ◄── retry ◄───────────────────── failed                                    ▼
           └─► give up: what needs it fails too                                  synthesis ──► dissolved ──► answer

The plan's form is in `app/core/team_plan.py`, what everybody is told in `team_prompts.py`. Nothing but the lead's
plans and reviews is read for what to do next. Every model call is the lead's; those of members are of child runs.
"""

from collections.abc import Generator
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from app.core.acting import add_user, hear, request, shortened, spoken
from app.core.events import Note
from app.core.intents import (
    CallModel,
    ChildSpec,
    Intent,
    Mode,
    ModelFailure,
    Outcome,
    RunAborted,
    RunEnded,
    RunStart,
    await_run,
    opening,
    start_run,
    take_minute,
    tell_run,
)
from app.core.meeting_events import (
    ContractDefined,
    NoticeGiven,
    PhaseCompleted,
    PhaseFailed,
    PhaseStarted,
    PlanUpdated,
    Replanned,
    ResultReviewed,
    RiskFlagged,
    TeamDissolved,
    TeamFormed,
    TeamPhase,
    TeamSynthesized,
)
from app.core.messages import AnswerShape, ChatMessage, ModelAnswer
from app.core.team_plan import (
    PHASES_MAX,
    InvalidPlan,
    Plan,
    Review,
    Risk,
    parse_plan,
    parse_review,
)
from app.core.team_prompts import (
    AGAIN,
    AGAIN_WITH_WORDS,
    delivery_told,
    lead_prompt,
    member_prompt,
    phase_input,
    plan_prompt,
    replan_prompt,
    results_answer,
    review_prompt,
    synthesis_prompt,
    word_told,
    words_text,
)
from app.core.team_shapes import plan_shape, review_shape
from app.core.team_state import TeamState, Work
from app.core.texts import text

VERSION = 1
PLANS_MAX = 3
"""Tries at the first plan."""
REPLANS_MAX = 2
SYNTHESES_MAX = 2
"""The second one where people have said something to the first."""
WAKES_MAX = 100
"""How often people may wake the team while it waits; what they say then is heard at the next model call."""
ATTEMPTS_MAX = 4
"""Child runs for one phase of a plan: the first, one after a review, one retry, one by another member."""
AWAITS_MAX = WAKES_MAX + PHASES_MAX * ATTEMPTS_MAX * (1 + REPLANS_MAX)
RESULT_CHARS_MAX = 100_000
REASON_CHARS_MAX = 1_000
WORD_CHARS_MAX = 4_000
BAD_PLAN_CHARS_MAX = 4_000
OWN_BUDGET = "budget_exceeded"

_T = TypeVar("_T")
Acts = Generator[tuple[Intent, ...], tuple[Outcome, ...], _T]


def team_collab(start: RunStart) -> Mode:
    """`start.experts[0]` leads. The answer is the synthesis; without one, the results under the names of their phases.

    The lead makes at most 3 calls for the plan, 2 for replans, one for every result and 2 for the synthesis; members
    work in at most 144 child runs (12 phases, 4 attempts, 3 plans), 8 at once, each within `start.limits` and its
    share of the budget. Where a budget is used up nothing more is started, nothing that runs is waited for, and the
    answer is what there is by then. Raises `RunAborted` (`no_experts`) where there is nobody; all else is an answer.
    """
    if not start.experts:
        raise RunAborted("no_experts", text("team_nobody", start.locale))
    return (yield from _Team(start).run())


class _Team:
    """One run. `budget` says which budget is used up, `listened` that nothing has happened since the last listening."""

    def __init__(self, start: RunStart) -> None:
        self.start = start
        self.state = TeamState(start.input, start.sources, start.experts)
        self.lead = start.experts[0]
        self.budget = ""
        self.replans = 0
        self.listened = False

    def run(self) -> Mode:
        yield from self._note(TeamFormed(self.start.input, self.start.experts, self.lead.id))
        yield from self._adopt((yield from self._plan()))
        yield from self._work()
        yield from self._stop_rest()
        content = "" if self.budget or not self.state.completed() else (yield from self._synthesise())
        if content:
            yield from self._note(TeamSynthesized(content))
        yield from self._note(TeamDissolved())
        if content:
            return content
        results = results_answer(self.state, self.start.locale)
        return f"{self._text('team_budget', reason=self.budget)}\n\n{results}" if self.budget else results

    def _plan(self) -> Acts[Plan]:
        """A valid plan; that of one phase by the lead where there is none after three tries or the model fails."""
        messages, reason = self._messages(plan_prompt(self.state)), ""
        for _ in range(PLANS_MAX):
            outcome = yield from self._ask(messages, "plan", plan_shape(self.start.experts))
            if isinstance(outcome, ModelFailure):
                if outcome.error_class == "interrupted":
                    continue
                reason = outcome.message
                break
            try:
                return parse_plan(outcome.text, self.start.experts)
            except InvalidPlan as error:
                written = spoken(shortened(outcome.text, BAD_PLAN_CHARS_MAX))
                messages = add_user(messages + written, AGAIN.format(error=error))
        name = self._text("team_only_phase")
        phase = TeamPhase("p1", name, shortened(self.start.input, WORD_CHARS_MAX), self.lead.id)
        missing = f"{self._text('team_no_plan', lead=self.lead.name)} {reason}".strip()
        return Plan((phase,), risks=(Risk(missing),))

    def _adopt(self, plan: Plan) -> Acts[None]:
        """Go by this plan from here on, and put on record all that it says."""
        self.state.adopt(plan)
        yield from self._note(PlanUpdated(self.state.phases))
        for name, owner in plan.unknown_owners:
            notice = self._text("team_owner_unknown", name=name, owner=owner, lead=self.lead.name)
            yield from self._note(NoticeGiven(notice, (self.lead.id,)))
        for one in plan.contracts:
            contract = ContractDefined(one.provider, one.consumer, one.deliverable, one.phase_id)
            yield from self._note(contract)
        for risk in plan.risks:
            yield from self._note(RiskFlagged(risk.risk, risk.severity))

    def _work(self) -> Acts[None]:
        """Until no phase runs and none can begin, or a budget is used up."""
        wakes = 0
        for _ in range(AWAITS_MAX):
            yield from self._start_ready()
            children = {work.child: work for work in self.state.running()}
            if self.budget or not children:
                return
            self.listened = False
            ended = yield from await_run(tuple(children), or_word=wakes < WAKES_MAX)
            if (work := children.get(ended.child)) is not None:
                yield from self._ended(work, ended)
            elif ended.error_class == OWN_BUDGET:
                self.budget = ended.content or self._text("team_not_done")
            else:
                wakes += 1
                yield from self._hear()

    def _start_ready(self) -> Acts[None]:
        """Set all phases going that have what they need. One that cannot be started counts as failed."""
        for _ in range(PHASES_MAX * ATTEMPTS_MAX * (1 + REPLANS_MAX)):
            if self.budget or not self.state.ready():
                return
            yield from self._hear()
            yield from self._start(self.state.ready()[0])

    def _start(self, work: Work) -> Acts[None]:
        owner = self.state.card(work.owner)
        work.attempt += 1
        work.become("running")
        spec = ChildSpec(
            phase_input(self.state, work),
            owner.name,
            system_prompt=member_prompt(self.state, owner),
            tools=owner.tools,
            model=owner.model or self.start.model,
            limits=self.state.limits(self.start.limits),
            expert_id=owner.id,
        )
        self.listened = False
        work.child = yield from start_run(spec)
        started = PhaseStarted(work.id, work.name, owner.id, work.child, work.attempt)
        yield from self._note(started)
        if not work.child:
            yield from self._failed(work, "not_started", self._text("team_not_started"))

    def _ended(self, work: Work, ended: RunEnded) -> Acts[None]:
        work.become("running")  # without its child: it is with the lead now
        result = shortened(ended.content.strip(), RESULT_CHARS_MAX)
        if ended.error_class is not None:
            message = shortened(result, REASON_CHARS_MAX) or ended.error_class
            yield from self._failed(work, ended.error_class, message)
        elif not result:
            yield from self._failed(work, "empty_answer", self._text("team_empty_result"))
        else:
            review = yield from self._review(work, result)
            if review.accepted:
                work.comment = ""
                yield from self._complete(work, result)
            elif work.reworked or self.budget:
                yield from self._complete(work, result, review.comment)
            else:
                work.reworked, work.comment = True, review.comment
                work.draft, work.draft_by = result, work.owner
                yield from self._again(work, "retry", review.comment)

    def _review(self, work: Work, result: str) -> Acts[Review]:
        """The lead's verdict. Without a clear one the result counts as accepted, and the note says so."""
        messages = self._messages(review_prompt(self.state, work, result), alone=True)
        outcome = yield from self._ask(messages, "review", review_shape())
        if isinstance(outcome, ModelFailure):
            reason = self._text("team_review_missing", reason=outcome.message)
            review = Review(accepted=True, comment=reason.strip(), understood=False)
        else:
            review = parse_review(outcome.text)
            if not review.understood:
                unclear = self._text("team_review_unclear", said=review.comment).strip()
                review = msgspec.structs.replace(review, comment=unclear)
        yield from self._note(ResultReviewed(work.id, self.lead.id, review.accepted, review.comment))
        for risk in review.risks:
            yield from self._note(RiskFlagged(risk.risk, risk.severity, work.id))
        return review

    def _complete(self, work: Work, result: str, objection: str | None = None) -> Acts[None]:
        """`objection`: what the lead has against a result that is used all the same."""
        work.become("completed")
        work.result = result
        yield from self._note(PhaseCompleted(work.id, work.name, work.owner, result))
        if objection is not None:
            work.comment = objection or "-"
            names = {"name": work.name, "lead": self.lead.name}
            risk = self._text("team_not_accepted", comment=objection, **names).strip()
            yield from self._note(RiskFlagged(risk, "medium", work.id))
        for contract in self.state.contracts:
            if contract.phase_id != work.id:
                continue
            provider = self.state.card(work.owner).name
            notice = self._text("team_delivered", provider=provider, deliverable=contract.deliverable)
            yield from self._note(NoticeGiven(notice, (contract.consumer,), work.id))
            for other in self.state.running():
                if other.owner == contract.consumer:
                    yield from self._tell(other, delivery_told(self.state, work, contract))

    def _failed(self, work: Work, error_class: str, message: str) -> Acts[None]:
        """Try again, have somebody else try, use what the lead did not accept, plan anew, or give up: in this order."""
        yield from self._note(PhaseFailed(work.id, work.name, work.owner, error_class, message))
        work.become("failed")
        work.error = message
        can_again = not self.budget and error_class != OWN_BUDGET
        if can_again and not work.retried:
            work.retried = True
            yield from self._again(work, "retry", message)
        elif can_again and not work.reassigned and (other := self.state.another(work)) is not None:
            work.reassigned = True
            work.give_to(other)
            yield from self._again(work, "reassign", message)
            yield from self._note(PlanUpdated(self.state.phases))
        elif work.draft:
            yield from self._use_draft(work)
        elif not (yield from self._replan(work, message)):
            yield from self._give_up(work, message)

    def _use_draft(self, work: Work) -> Acts[None]:
        """A result that the lead did not accept is better than none."""
        work.give_to(work.draft_by)
        yield from self._complete(work, work.draft, work.comment)

    def _again(self, work: Work, action: str, reason: str) -> Acts[None]:
        work.become("pending")
        yield from self._note(Replanned(work.id, action, shortened(reason, REASON_CHARS_MAX)))

    def _replan(self, work: Work, reason: str) -> Acts[bool]:
        """Whether the lead has planned anew what is left. It is asked at most twice in a run, each time once."""
        if self.budget or self.replans == REPLANS_MAX:
            return False
        self.replans += 1
        messages, kept = self._messages(replan_prompt(self.state, work, reason)), self.state.going_on()
        outcome = yield from self._ask(messages, "plan", plan_shape(self.start.experts, kept))
        if isinstance(outcome, ModelFailure):
            return False
        try:
            plan = parse_plan(outcome.text, self.start.experts, kept=self.state.going_on())
        except InvalidPlan:
            return False
        yield from self._note(Replanned(work.id, "replan", shortened(reason, REASON_CHARS_MAX)))
        yield from self._adopt(plan)
        return True

    def _give_up(self, work: Work, reason: str) -> Acts[None]:
        yield from self._note(Replanned(work.id, "give_up", shortened(reason, REASON_CHARS_MAX)))
        for other in self.state.needing(work):
            other.become("failed")
            other.error = self._text("team_needs_failed", name=work.name)
            failed = PhaseFailed(other.id, other.name, other.owner, "dependency", other.error)
            yield from self._note(failed)

    def _stop_rest(self) -> Acts[None]:
        """What was not done when the work ended. Those who are at work still end with this run."""
        for work in self.state.unfinished():
            work.become("failed")
            if work.draft:
                yield from self._use_draft(work)
                continue
            work.error = self.budget or self._text("team_not_done")
            error_class = OWN_BUDGET if self.budget else "limit"
            yield from self._note(PhaseFailed(work.id, work.name, work.owner, error_class, work.error))

    def _synthesise(self) -> Acts[str]:
        """The lead's answer, empty where there is none. Once more where people have said something meanwhile."""
        messages, content = self._messages(synthesis_prompt(self.state)), ""
        for left in reversed(range(SYNTHESES_MAX)):
            outcome = yield from self._ask(messages, "synthesis")
            if isinstance(outcome, ModelFailure) and outcome.error_class != "interrupted":
                return content
            said = outcome.partial if isinstance(outcome, ModelFailure) else outcome.text
            content = said.strip() or content
            if not left or not (yield from self._hear()):
                break
            messages = add_user(messages + spoken(content), AGAIN_WITH_WORDS)
        return content

    def _ask(
        self, messages: tuple[ChatMessage, ...], purpose: str, shape: AnswerShape | UnsetType = UNSET
    ) -> Acts[ModelAnswer | ModelFailure]:
        """A call of the lead's, told all that people have said. What has a shape is no answer for people. Remembers
        where a budget was used up."""
        yield from self._hear()
        told = add_user(messages, words_text(self.state.words))
        asked = request(told, (), self.lead.model or self.start.model)
        asked, aside = msgspec.structs.replace(asked, shape=shape), shape is not UNSET
        self.listened = False
        (outcome,) = yield (CallModel(asked, aside, self.lead.id, 0, purpose),)
        match outcome:
            case ModelFailure(error_class="budget_exceeded", message=message):
                self.budget = message or self._text("team_not_done")
                return outcome
            case ModelAnswer() | ModelFailure():
                return outcome
            case _:
                raise TypeError("a model call was sent the outcome of something else")

    def _hear(self) -> Acts[bool]:
        """Whether people have said something: it goes on record, and to those who are at work now."""
        if self.listened:
            return False
        said = yield from hear()
        self.listened = True
        running = self.state.running()
        to = tuple(dict.fromkeys((self.lead.id, *(work.owner for work in running))))
        self.state.words += said
        for word in said:
            yield from self._note(NoticeGiven(shortened(word, WORD_CHARS_MAX), to))
            for work in running:
                yield from self._tell(work, word_told(word))
        return bool(said)

    def _note(self, note: Note) -> Acts[None]:
        self.listened = False
        yield from take_minute(note)

    def _tell(self, work: Work, content: str) -> Acts[None]:
        self.listened = False
        yield from tell_run(work.child, content)

    def _messages(self, prompt: str, *, alone: bool = False) -> tuple[ChatMessage, ...]:
        """The request with this behind it, as the lead is shown it; `alone`: without the conversation before."""
        start = msgspec.structs.replace(self.start, system_prompt=lead_prompt(self.state))
        if alone:
            start = msgspec.structs.replace(start, history=(), summary="", sources=())
        return add_user(opening(start), prompt)

    def _text(self, key: str, **values: object) -> str:
        return text(key, self.start.locale, **values)
