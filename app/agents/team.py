"""`team_collab`: a lead plans, members work on phases at once, the lead reviews and brings the results together.

    plan ──► phases that are ready, each a child run ──► the first that ends ──► review ──► completed ──┐
     ▲                    ▲                                      │                 └ not accepted: once more
     │                    └── what has become ready ─────────────┼──────────────────────────────────────┤
     └── replan ◄── reassign ◄── retry ◄───────────────────── failed                                    ▼
           └─► give up: what needs it fails too                                  synthesis ──► dissolved ──► answer

The lead is in `app/core/team_lead.py`, the plan's form in `team_plan.py`, what everybody is told in `team_prompts.py`.
Nothing but the lead's plans and reviews is read for what to do next. Model calls of members are those of child runs.
"""

from app.core.acting import shortened
from app.core.intents import ChildSpec, Mode, RunAborted, RunEnded, RunStart, await_run, start_run
from app.core.meeting_events import (
    ContractDefined,
    NoticeGiven,
    PhaseCompleted,
    PhaseFailed,
    PhaseStarted,
    PlanUpdated,
    Replanned,
    TeamDissolved,
    TeamFormed,
    TeamSynthesized,
)
from app.core.team_lead import Acts, Lead
from app.core.team_plan import PHASES_MAX, Plan, Risk
from app.core.team_prompts import delivery_told, member_prompt, phase_input, results_answer
from app.core.team_state import TeamState, Work
from app.core.texts import text

VERSION = 1
REPLANS_MAX = 2
WAKES_MAX = 100
"""How often people may wake the team while it waits; what they say then is heard at the next model call."""
ATTEMPTS_MAX = 4
"""Child runs for one phase of a plan: the first, one after a review, one retry, one by another member."""
AWAITS_MAX = WAKES_MAX + PHASES_MAX * ATTEMPTS_MAX * (1 + REPLANS_MAX)
RESULT_CHARS_MAX = 100_000
REASON_CHARS_MAX = 1_000
OWN_BUDGET = "budget_exceeded"


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
    def __init__(self, start: RunStart) -> None:
        self.start = start
        self.state = TeamState(start.input, start.sources, start.experts)
        self.lead = Lead(start, self.state)
        self.replans = 0

    def run(self) -> Mode:
        yield from self.lead.note(TeamFormed(self.start.input, self.start.experts, self.lead.card.id))
        yield from self._adopt((yield from self.lead.plan()))
        yield from self._work()
        yield from self._stop_rest()
        content = (
            "" if self.lead.budget or not self.state.completed() else (yield from self.lead.synthesise())
        )
        if content:
            yield from self.lead.note(TeamSynthesized(content))
        yield from self.lead.note(TeamDissolved())
        if content:
            return content
        results = results_answer(self.state, self.start.locale)
        return (
            f"{self.lead.text('team_budget', reason=self.lead.budget)}\n\n{results}"
            if self.lead.budget
            else results
        )

    def _adopt(self, plan: Plan) -> Acts[None]:
        """Go by this plan from here on, and put on record all that it says."""
        self.state.adopt(plan)
        yield from self.lead.note(PlanUpdated(self.state.phases))
        for name, owner in plan.unknown_owners:
            notice = self.lead.text("team_owner_unknown", name=name, owner=owner, lead=self.lead.card.name)
            yield from self.lead.note(NoticeGiven(notice, (self.lead.card.id,)))
        for one in plan.contracts:
            contract = ContractDefined(one.provider, one.consumer, one.deliverable, one.phase_id)
            yield from self.lead.note(contract)
        yield from self.lead.flag(plan.risks)

    def _work(self) -> Acts[None]:
        """Until no phase runs and none can begin, or a budget is used up."""
        wakes = 0
        for _ in range(AWAITS_MAX):
            yield from self._start_ready()
            children = {work.child: work for work in self.state.running()}
            if self.lead.budget or not children:
                return
            self.lead.listened = False
            ended = yield from await_run(tuple(children), or_word=wakes < WAKES_MAX)
            if (work := children.get(ended.child)) is not None:
                yield from self._ended(work, ended)
            elif ended.error_class == OWN_BUDGET:
                self.lead.budget = ended.content or self.lead.text("team_not_done")
            else:
                wakes += 1
                yield from self.lead.hear()

    def _start_ready(self) -> Acts[None]:
        """Set all phases going that have what they need. One that cannot be started counts as failed."""
        for _ in range(PHASES_MAX * ATTEMPTS_MAX * (1 + REPLANS_MAX)):
            if self.lead.budget or not self.state.ready():
                return
            yield from self.lead.hear()
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
        self.lead.listened = False
        work.child = yield from start_run(spec)
        started = PhaseStarted(work.id, work.name, owner.id, work.child, work.attempt)
        yield from self.lead.note(started)
        if not work.child:
            yield from self._failed(work, "not_started", self.lead.text("team_not_started"))

    def _ended(self, work: Work, ended: RunEnded) -> Acts[None]:
        work.become("running")  # without its child: it is with the lead now
        result = shortened(ended.content.strip(), RESULT_CHARS_MAX)
        if ended.error_class is not None:
            message = shortened(result, REASON_CHARS_MAX) or ended.error_class
            yield from self._failed(work, ended.error_class, message)
        elif not result:
            yield from self._failed(work, "empty_answer", self.lead.text("team_empty_result"))
        else:
            review = yield from self.lead.review(work, result)
            if review.accepted:
                work.comment = ""
                yield from self._complete(work, result)
            elif work.reworked or self.lead.budget:
                yield from self._complete(work, result, review.comment)
            else:
                work.reworked, work.comment = True, review.comment
                work.draft, work.draft_by = result, work.owner
                yield from self._again(work, "retry", review.comment)

    def _complete(self, work: Work, result: str, objection: str | None = None) -> Acts[None]:
        """`objection`: what the lead has against a result that is used all the same."""
        work.become("completed")
        work.result = result
        yield from self.lead.note(PhaseCompleted(work.id, work.name, work.owner, result))
        if objection is not None:
            work.comment = objection or "-"
            names = {"name": work.name, "lead": self.lead.card.name}
            risk = self.lead.text("team_not_accepted", comment=objection, **names).strip()
            yield from self.lead.flag((Risk(risk, "medium"),), work.id)
        for contract in self.state.contracts:
            if contract.phase_id != work.id:
                continue
            provider = self.state.card(work.owner).name
            notice = self.lead.text("team_delivered", provider=provider, deliverable=contract.deliverable)
            yield from self.lead.note(NoticeGiven(notice, (contract.consumer,), work.id))
            for other in self.state.running():
                if other.owner == contract.consumer:
                    yield from self.lead.tell(other, delivery_told(self.state, work, contract))

    def _failed(self, work: Work, error_class: str, message: str) -> Acts[None]:
        """Try again, have somebody else try, use what the lead did not accept, plan anew, or give up: in this order."""
        yield from self._fail(work, error_class, message)
        can_again = not self.lead.budget and error_class != OWN_BUDGET
        if can_again and not work.retried:
            work.retried = True
            yield from self._again(work, "retry", message)
        elif can_again and not work.reassigned and (other := self.state.another(work)) is not None:
            work.reassigned = True
            work.give_to(other)
            yield from self._again(work, "reassign", message)
            yield from self.lead.note(PlanUpdated(self.state.phases))
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
        yield from self._decide(work, action, reason)

    def _replan(self, work: Work, reason: str) -> Acts[bool]:
        """Whether the lead has planned anew what is left. It is asked at most twice in a run, each time once."""
        if self.lead.budget or self.replans == REPLANS_MAX:
            return False
        self.replans += 1
        plan = yield from self.lead.plan_anew(work, reason)
        if plan is None:
            return False
        yield from self._decide(work, "replan", reason)
        yield from self._adopt(plan)
        return True

    def _give_up(self, work: Work, reason: str) -> Acts[None]:
        yield from self._decide(work, "give_up", reason)
        for other in self.state.needing(work):
            yield from self._fail(other, "dependency", self.lead.text("team_needs_failed", name=work.name))

    def _stop_rest(self) -> Acts[None]:
        """What was not done when the work ended. Those who are at work still end with this run."""
        for work in self.state.unfinished():
            if work.draft:
                yield from self._use_draft(work)
            elif self.lead.budget:
                yield from self._fail(work, OWN_BUDGET, self.lead.budget)
            else:
                yield from self._fail(work, "limit", self.lead.text("team_not_done"))

    def _fail(self, work: Work, error_class: str, message: str) -> Acts[None]:
        work.become("failed")
        work.error = message
        yield from self.lead.note(PhaseFailed(work.id, work.name, work.owner, error_class, message))

    def _decide(self, work: Work, action: str, reason: str) -> Acts[None]:
        yield from self.lead.note(Replanned(work.id, action, shortened(reason, REASON_CHARS_MAX)))
