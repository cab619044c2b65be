"""Whatever lead, members and people say: a team that is sent the same again asks for the same, ends, and dissolves."""

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from app.agents.team import AWAITS_MAX, REPLANS_MAX, WAKES_MAX, team_collab
from app.core.events import RunLimits
from app.core.intents import (
    AwaitRun,
    CallModel,
    Heard,
    Intent,
    Listen,
    ModelFailure,
    Noted,
    Outcome,
    RunEnded,
    RunStart,
    Started,
    StartRun,
    TakeMinute,
    TellRun,
)
from app.core.meeting_events import PhaseCompleted, PhaseFailed, PhaseStarted, PlanUpdated, TeamDissolved
from app.core.messages import ModelAnswer, storable
from app.core.team_lead import PLANS_MAX, SYNTHESES_MAX
from app.core.team_plan import PHASES_MAX
from app.core.team_state import RUNNING_MAX
from tests.properties.test_modes_replay import check_listening, check_request, strings
from tests.support.replays import check_replay, played
from tests.support.teams import EXPERTS, plan_of

CHILDREN_MAX = AWAITS_MAX - WAKES_MAX
WORDS_A_TIME = 2
# A phase is begun, tried and given up in a few notes of its own; contracts, risks, words and what is told come on top.
TUPLES_MAX = 40 * CHILDREN_MAX + (AWAITS_MAX + 200) * (WORDS_A_TIME * (RUNNING_MAX + 1) + 4)

garbage = st.text(max_size=20).map(storable)
ids = st.sampled_from(["a", "b", "c", "d", "e", "A"])
owners = st.sampled_from(["Ada", "bob", "CY LI", "zoe", ""])
rough_phases = st.tuples(ids, owners, st.lists(ids, max_size=2).map(" ".join))
contracts = st.lists(
    st.fixed_dictionaries(
        {"provider": owners, "consumer": owners, "deliverable": st.just("a list"), "phase": ids}
    ),
    max_size=3,
)
risks = st.lists(
    st.one_of(garbage, st.fixed_dictionaries({"risk": garbage, "severity": garbage})), max_size=2
)


@st.composite
def good_plans(draw: st.DrawFn) -> str:
    """Plans that can be carried out, with ids from one of two families: a new plan may take up an old id."""
    family, size = draw(st.sampled_from(["p", "q"])), draw(st.integers(1, PHASES_MAX))
    rows = [
        (
            f"{family}{n}",
            draw(owners),
            " ".join(f"{family}{i}" for i in draw(st.lists(st.integers(0, n - 1), max_size=3))) if n else "",
        )
        for n in range(size)
    ]
    agreed = [{**one, "phase": f"{family}0"} for one in draw(contracts)]
    return plan_of(*rows, contracts=agreed, risks=draw(risks))


plans = st.one_of(
    good_plans(), good_plans(), st.lists(rough_phases, max_size=5).map(lambda rows: plan_of(*rows)), garbage
)
reviews = st.sampled_from(
    [
        '{"accepted": true}',
        '{"accepted": true, "risks": ["x"]}',
        '{"accepted": false, "comment": "no"}',
        "hm",
        "",
    ]
)
syntheses = st.one_of(garbage, st.just("The whole answer."))
SAYS = {"plan": plans, "review": reviews, "synthesis": syntheses}
failures = st.sampled_from(
    [
        ModelFailure("timeout", "Too slow."),
        ModelFailure("interrupted", "Cut short.", "half a"),
        ModelFailure("interrupted", "Cut short."),
        ModelFailure("budget_exceeded", "Used up."),
    ]
)
results = st.one_of(
    st.tuples(st.one_of(garbage, st.just("a result")), st.none()),
    st.tuples(garbage, st.sampled_from([None, None, "failed", "cancelled", "budget_exceeded"])),
)
words = st.one_of(st.just(()), st.just(()), st.lists(garbage, max_size=WORDS_A_TIME).map(tuple))
starts = st.builds(
    RunStart,
    st.text(min_size=1, max_size=20).map(storable),
    garbage,
    limits=st.builds(RunLimits, tokens_max=st.sampled_from([None, 1, 1000])),
    locale=st.sampled_from(["en", "zh"]),
    sources=st.sampled_from([(), ("a.csv",)]),
    experts=st.sampled_from([EXPERTS, EXPERTS[:1], EXPERTS[:2]]),
)


class World:
    """Everybody around the team, at random. `talks`: how likely people say something while it waits, in tenths."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.talks = data.draw(st.sampled_from([0, 1, 10]))
        self.fails = data.draw(st.sampled_from([0, 1, 5, 10]))
        self.calls_fail = data.draw(st.sampled_from([0, 0, 1]))
        self.running: list[str] = []
        self.started = 0

    def outcome_of(self, intent: Intent) -> Outcome:
        match intent:
            case CallModel(purpose=purpose):
                if self.draw_tenths() < self.calls_fail:
                    return self.data.draw(failures)
                return ModelAnswer("m", self.data.draw(SAYS[purpose]))
            case TakeMinute():
                return Noted()
            case TellRun(to):
                assert to in self.running
                return Noted()
            case Listen():
                return Heard(self.data.draw(words) if self.talks else ())
            case StartRun():
                self.started += 1
                if self.draw_tenths() < self.fails and self.data.draw(st.booleans()):
                    return Noted()  # it could not be started
                self.running.append(f"c{self.started}")
                return Started(self.running[-1])
            case AwaitRun(children, or_word):
                assert list(children) == self.running or set(children) == set(self.running)
                if or_word and self.draw_tenths() < self.talks:
                    return RunEnded()
                child = self.data.draw(st.sampled_from(children))
                self.running.remove(child)
                if self.draw_tenths() >= self.fails:
                    return RunEnded(child, "a result")
                return RunEnded(child, *self.data.draw(results))
            case _:
                raise AssertionError(f"a team does not ask for {intent}")

    def draw_tenths(self) -> int:
        return self.data.draw(st.integers(0, 9))


@settings(max_examples=60, deadline=None)
@given(start=starts, data=st.data())
def test_a_replay_of_any_prefix_asks_for_the_same_and_every_team_ends_dissolved(
    start: RunStart, data: st.DataObject
) -> None:
    world = World(data)
    pairs, end = played(team_collab(start), world.outcome_of, TUPLES_MAX)
    assert end[0] == "answered"
    check_replay(lambda: team_collab(start), pairs, end, data.draw(st.integers(0, len(pairs))))

    intents = [intent for asked, _ in pairs for intent in asked]
    check_limits(intents, world)
    check_notes([intent.note for intent in intents if isinstance(intent, TakeMinute)])
    check_listening([asked for asked, _ in pairs])
    for call in (intent for intent in intents if isinstance(intent, CallModel)):
        assert call.speaker == start.experts[0].id
        check_request(call.request)
    event(f"{world.started > PHASES_MAX=}")


def check_limits(intents: list[Intent], world: World) -> None:
    calls = [intent.purpose for intent in intents if isinstance(intent, CallModel)]
    assert calls.count("plan") <= PLANS_MAX + REPLANS_MAX
    assert calls.count("review") <= world.started <= CHILDREN_MAX
    assert calls.count("synthesis") <= SYNTHESES_MAX
    awaits = [intent for intent in intents if isinstance(intent, AwaitRun)]
    assert len(awaits) <= AWAITS_MAX
    assert all(0 < len(intent.children) <= RUNNING_MAX for intent in awaits)


def check_notes(notes: list[object]) -> None:
    """The plan is always one that can be carried out, each phase in it ends, and the team is dissolved at the end."""
    assert isinstance(notes[-1], TeamDissolved)
    assert sum(isinstance(note, TeamDissolved) for note in notes) == 1
    known: set[str] = set()
    done: set[str] = set()
    latest: tuple[str, ...] = ()
    needs: dict[str, tuple[str, ...]] = {}
    for note in notes:
        match note:
            case PlanUpdated(phases):
                latest = tuple(phase.id for phase in phases)
                assert len(set(latest)) == len(latest)
                known |= set(latest)
                needs = {phase.id: phase.depends_on for phase in phases}
            case PhaseStarted(phase_id):
                assert phase_id in latest
                assert done.issuperset(needs[phase_id]), "it was begun without what it needs"
            case PhaseCompleted(phase_id):
                assert phase_id not in done
                done.add(phase_id)
            case _:
                pass
        assert not any("\0" in text for text in strings(msgspec.to_builtins(note)))
    ended = {note.phase_id for note in notes if isinstance(note, PhaseCompleted | PhaseFailed)}
    assert set(latest) <= ended <= known
