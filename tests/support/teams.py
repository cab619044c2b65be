"""Teams played by hand: what the lead and the members say goes in, what the team does comes out. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from app.agents.team import team_collab
from app.core.intents import (
    AwaitRun,
    CallModel,
    ChildSpec,
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
from app.core.meeting_events import ExpertCard
from app.core.messages import ModelAnswer
from app.core.team_state import RUNNING_MAX
from tests.support.modes import Played

ACCEPT = '{"accepted": true, "comment": ""}'
EXPERTS = (
    ExpertCard("ada", "Ada", persona="You are Ada, a planner.", rules="Be brief.", is_moderator=True),
    ExpertCard("bob", "Bob", persona="You are Bob, who counts.", model="small", tools=("calculator",)),
    ExpertCard(
        "cy", "Cy Li", persona="You are Cy, who writes.", skills=("prose",), skill_prompt="Write well."
    ),
)
START = RunStart("Compare tea and coffee.", "You are the agent.", experts=EXPERTS)

Said = str | ModelAnswer | ModelFailure


class PlayedTeam(Played):
    """`children` are the child runs in the order of their start, `told` what running ones were told."""

    children: list[tuple[str, ChildSpec]] = msgspec.field(default_factory=list)
    told: list[tuple[str, str]] = msgspec.field(default_factory=list)

    def kinds(self) -> list[str]:
        return [type(note).__name__ for note in self.notes]

    def of(self, kind: type[Any]) -> list[Any]:
        return [note for note in self.notes if isinstance(note, kind)]

    def asked_for(self, purpose: str) -> list[str]:
        """The last message of each of the lead's calls for this."""
        calls = [call for call in self.all(CallModel) if call.purpose == purpose]
        return [call.request.messages[-1].content or "" for call in calls]

    def inputs(self, name: str) -> list[str]:
        """What a phase of this name was given, each time it was begun."""
        return [spec.input for _, spec in self.children if f"[Your phase: {name}]" in spec.input]


def plan_of(*phases: tuple[str, str, str], **more: object) -> str:
    """A plan; a phase is its id (also its name, in capitals), its owner, and the ids that it needs."""
    written = [
        {"id": id, "name": id.upper(), "task": f"do {id}", "owner": owner, "depends_on": needs.split()}
        for id, owner, needs in phases
    ]
    return msgspec.json.encode({"phases": written, **more}).decode()


def phase_of(spec: ChildSpec) -> str:
    """The name of the phase that a child run works on."""
    return spec.input.rpartition("[Your phase: ")[2].partition("]")[0]


def result_of(spec: ChildSpec) -> str:
    return f"result of {phase_of(spec)}"


class _World:
    """Everybody around the team. What a runner relies on is checked on the way."""

    def __init__(
        self,
        lead: dict[str, list[Said]],
        member: Callable[[ChildSpec], str | RunEnded | None],
        ends: Sequence[str],
        words: Mapping[int, tuple[str, ...]],
        heard: Mapping[int, tuple[str, ...]],
    ) -> None:
        self.lead, self.member, self.ends, self.words, self.heard = lead, member, list(ends), words, heard
        self.played = PlayedTeam()
        self.running: dict[str, ChildSpec] = {}
        self.results: dict[str, str | RunEnded] = {}
        self.waited = self.listened = 0
        self.spoken: tuple[str, ...] = ()

    def outcome_of(self, intent: Intent) -> Outcome:
        match intent:
            case CallModel(purpose=purpose):
                answer = self.lead[purpose].pop(0) if purpose in self.lead else ACCEPT
                return ModelAnswer("m", answer) if isinstance(answer, str) else answer
            case TakeMinute():
                return Noted()
            case Listen():
                self.listened += 1
                now, self.spoken = self.spoken + self.heard.get(self.listened - 1, ()), ()
                return Heard(now)
            case StartRun(spec):
                return self.start(spec)
            case TellRun(to, content):
                self.played.told.append((phase_of(self.running[to]), content))
                return Noted()
            case AwaitRun():
                return self.wait(intent)
            case _:
                raise AssertionError(f"a team does not ask for {intent}")

    def start(self, spec: ChildSpec) -> Outcome:
        child = f"c{len(self.played.children) + 1}"
        self.played.children.append((child, spec))
        if (result := self.member(spec)) is None:
            return Noted()
        self.running[child], self.results[child] = spec, result
        assert len(self.running) <= RUNNING_MAX
        return Started(child)

    def wait(self, intent: AwaitRun) -> RunEnded:
        assert set(intent.children) == set(self.running)
        self.waited += 1
        if intent.or_word and (now := self.words.get(self.waited - 1)):
            self.spoken += now
            return RunEnded()
        ending = [child for child in intent.children if phase_of(self.running[child]) in self.ends[:1]]
        self.ends = self.ends[1:] if ending else self.ends
        child = (*ending, *intent.children)[0]
        del self.running[child]
        result = self.results[child]
        if isinstance(result, str):
            return RunEnded(child, result, tokens=10)
        return msgspec.structs.replace(result, child=child)


def play(
    *,
    plans: Sequence[Said],
    reviews: Sequence[Said] | None = None,
    syntheses: Sequence[Said] = ("The synthesis.",),
    start: RunStart = START,
    member: Callable[[ChildSpec], str | RunEnded | None] = result_of,
    ends: Sequence[str] = (),
    words: Mapping[int, tuple[str, ...]] | None = None,
    heard: Mapping[int, tuple[str, ...]] | None = None,
    instead: RunEnded | None = None,
) -> PlayedTeam:
    """Plays a team to its end. Answers of the lead are given in their order, those to reviews are `ACCEPT` by default;
    too few (`IndexError`) or too many is an error of the test.

    `member` says what a child run comes to (None: it cannot be started). `ends` are names of phases in the order in
    which they end; others end in the order of their start. `words` are said while the team waits for the n-th time,
    `heard` when it listens for the n-th time. `instead` is what all waiting comes to, if not to the end of a child run.
    """
    lead = {"plan": list(plans), "synthesis": list(syntheses)}
    if reviews is not None:
        lead["review"] = list(reviews)
    world = _World(lead, member, ends, words or {}, heard or {})
    played, mode = world.played, team_collab(start)
    try:
        intents = next(mode)
        while True:
            played.asked.append(intents)
            (intent,) = intents
            waits = isinstance(intent, AwaitRun) and instead is not None
            outcome = instead if waits and instead else world.outcome_of(intent)
            played.outcomes.append((outcome,))
            intents = mode.send((outcome,))
    except StopIteration as stop:
        played.answer = stop.value
    speakers = {call.speaker for call in played.all(CallModel)}
    assert speakers == {start.experts[0].id}, "a call without its speaker has no budget of the meeting"
    assert not any(lead.values()), f"these answers were not asked for: {lead}"
    assert not world.ends, f"these phases did not end: {world.ends}"
    return played
