"""How far a team has come: its phases and what came of them, who is at work, and what people have said."""

from collections.abc import Sequence

import msgspec

from app.core.events import RunLimits
from app.core.meeting_events import ExpertCard, TeamPhase
from app.core.team_plan import Contract, Plan, longest_path

RUNNING_MAX = 8
"""Phases at once."""
TIME_SHARE = 0.8
"""Of the team's time that its phases may use one after another; what is left is for reviews and the synthesis."""
TIME_PARTS_MAX = 3
"""A phase may use at least this part of that time, however many have to go one after another."""


class Work(msgspec.Struct):
    """A phase and what came of it. `child` is set while somebody is at work. `draft` is a result of `draft_by` that the
    lead did not accept; `comment` says why."""

    phase: TeamPhase
    attempt: int = 0
    child: str = ""
    result: str = ""
    error: str = ""
    draft: str = ""
    draft_by: str = ""
    comment: str = ""
    reworked: bool = False
    retried: bool = False
    reassigned: bool = False

    @property
    def id(self) -> str:
        return self.phase.id

    @property
    def name(self) -> str:
        return self.phase.name

    @property
    def owner(self) -> str:
        return self.phase.owner

    @property
    def status(self) -> str:
        return self.phase.status

    def become(self, status: str) -> None:
        self.phase = msgspec.structs.replace(self.phase, status=status)
        self.child = ""

    def give_to(self, owner: str) -> None:
        self.phase = msgspec.structs.replace(self.phase, owner=owner)


class TeamState:
    """`experts[0]` leads. `words` is what people have said, all of it, in its order."""

    def __init__(self, task: str, sources: Sequence[str], experts: Sequence[ExpertCard]) -> None:
        self.task = task
        self.sources = tuple(sources)
        self.experts = tuple(experts)
        self.works: list[Work] = []
        self.contracts: tuple[Contract, ...] = ()
        self.words: tuple[str, ...] = ()

    @property
    def lead(self) -> ExpertCard:
        return self.experts[0]

    @property
    def phases(self) -> tuple[TeamPhase, ...]:
        return tuple(work.phase for work in self.works)

    def adopt(self, plan: Plan) -> None:
        """Goes by this plan from here on. What is done or going on stays, and so do failed phases that it does not
        take up again under their id; a phase that it does take up goes on counting its attempts."""
        before = {work.id: work for work in self.works}
        ids = {phase.id for phase in plan.phases}
        kept = [work for work in self.works if work.status != "pending" and work.id not in ids]
        attempts = {id: work.attempt for id, work in before.items()}
        self.works = [*kept, *(Work(phase, attempts.get(phase.id, 0)) for phase in plan.phases)]
        known = {work.id for work in self.works}
        still = (contract for contract in self.contracts if contract.phase_id in known)
        self.contracts = tuple(dict.fromkeys((*still, *plan.contracts)))

    def going_on(self) -> tuple[TeamPhase, ...]:
        """Phases that a new plan leaves alone."""
        return tuple(work.phase for work in self.works if work.status in ("running", "completed"))

    def work(self, id: str) -> Work:
        return next(work for work in self.works if work.id == id)

    def card(self, id: str) -> ExpertCard:
        return next(expert for expert in self.experts if expert.id == id)

    def running(self) -> list[Work]:
        """Those in which a child run is at work now."""
        return [work for work in self.works if work.child]

    def ready(self) -> list[Work]:
        """Pending phases that have all they need, as many as may start now."""
        done = {work.id for work in self.works if work.status == "completed"}
        ready = [w for w in self.works if w.status == "pending" and done.issuperset(w.phase.depends_on)]
        return ready[: max(0, RUNNING_MAX - len(self.running()))]

    def unfinished(self) -> list[Work]:
        return [work for work in self.works if work.status in ("pending", "running")]

    def completed(self) -> list[Work]:
        return [work for work in self.works if work.status == "completed"]

    def needing(self, failed: Work) -> list[Work]:
        """Pending phases that cannot begin any more without this one, directly or not."""
        lost, found = {failed.id}, list[Work]()
        for _ in self.works:
            for work in self.works:
                if (
                    work.id not in lost
                    and work.status == "pending"
                    and lost.intersection(work.phase.depends_on)
                ):
                    lost.add(work.id)
                    found.append(work)
        return found

    def another(self, work: Work) -> str | None:
        """The member besides its owner with the fewest open phases; None where there is none."""
        owners = [one.owner for one in self.unfinished()]
        others = [card.id for card in self.experts if card.id != work.owner]
        return min(others, key=owners.count, default=None)

    def limits(self, team: RunLimits) -> RunLimits:
        """What the next phase may use: an equal share of tokens and cost for every open phase and the lead, and of the
        time one for each phase that goes after another."""
        share = 1 / (len(self.unfinished()) + 1)
        parts = min(TIME_PARTS_MAX, longest_path(self.phases))
        return RunLimits(
            team.max_steps,
            team.timeout_seconds * TIME_SHARE / parts,
            None if team.tokens_max is None else max(1, int(team.tokens_max * share)),
            None if team.cost_usd_max is None else team.cost_usd_max * share,
        )
