"""A board meeting held by hand: a responder speaks for the model, and people say things before certain calls."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.agents.board import board
from app.core.events import BoardConcluded, ExpertCard, Note
from app.core.intents import (
    CallModel,
    Heard,
    Listen,
    ModelFailure,
    Noted,
    Outcome,
    RunAborted,
    RunStart,
    TakeMinute,
)
from app.core.messages import ModelAnswer

NAMES = ("Mo", "Ada", "Ben", "Cyd", "Dee", "Eli")

Answered = ModelAnswer | ModelFailure
Responder = Callable[[CallModel], Answered | str]


class Held(msgspec.Struct):
    """What came of it. `answer` None: it was aborted, and `error` says how."""

    calls: list[CallModel] = []
    notes: list[Note] = []
    answer: str | None = None
    error: RunAborted | None = None

    def of(self, kind: type[Any]) -> list[Any]:
        return [note for note in self.notes if isinstance(note, kind)]

    @property
    def order(self) -> list[str]:
        """Who was asked for what: `Mo 1 speech`."""
        return [f"{call.speaker} {call.round} {call.purpose}" for call in self.calls]

    def prompts(self, purpose: str) -> list[str]:
        return [shown(call) for call in self.calls if call.purpose == purpose]


def cards(*names: str) -> tuple[ExpertCard, ...]:
    """Experts by these names, which are their ids in small letters too; the first moderates."""
    return tuple(
        ExpertCard(name.lower(), name, is_moderator=at == 0, persona=f"{name} is {name}.")
        for at, name in enumerate(names)
    )


def shown(call: CallModel) -> str:
    """All that the speaker is shown, but for the system prompt."""
    return "\n".join(message.content or "" for message in call.request.messages[1:])


def hold(start: RunStart, respond: Responder, heard: Mapping[int, tuple[str, ...]] | None = None) -> Held:
    """Holds the meeting to its end. `heard` is what people have said by how many calls there were before."""
    held, mode = Held(), board(start)
    told: set[int] = set()
    try:
        intents = next(mode)
        while True:
            (intent,) = intents
            outcome: Outcome
            match intent:
                case CallModel():
                    held.calls.append(intent)
                    answer = respond(intent)
                    outcome = ModelAnswer("m", answer) if isinstance(answer, str) else answer
                case TakeMinute(note):
                    held.notes.append(note)
                    outcome = Noted()
                case Listen():
                    at = len(held.calls)
                    outcome = Heard((heard or {}).get(at, ()) if at not in told else ())
                    told.add(at)
                case _:
                    raise AssertionError(f"a board does not ask for {intent}")
            intents = mode.send((outcome,))
    except StopIteration as stop:
        held.answer = stop.value
    except RunAborted as error:
        held.error = error
    return held


START = RunStart("Shall we move to Oslo?", experts=cards(*NAMES), rounds=3)
CONCLUSION = {
    "summary": "Oslo was weighed.",
    "decision_advice": "Move in May.",
    "consensus_points": ["It is cold."],
    "dissent_points": [{"point": "It costs too much.", "who": ["ben", " CYD "]}],
    "votes": [],
}
BUDGET = ModelFailure("budget_exceeded", "The task used its budget.")
AWAY = ModelFailure("unreachable", "The model is away.")
CONSENSUS = "We all agree.\nCONSENSUS: YES"


def speak(call: CallModel) -> str:
    """What a well-behaved model says."""
    match call.purpose:
        case "speech":
            return f"{call.speaker} speaks in {call.round}."
        case "summary":
            return f"Summary of {call.round}.\nCONSENSUS: NO"
        case _:
            absent = {} if "Cyd" in system(call) else {"dissent_points": []}
            return msgspec.json.encode({**CONCLUSION, **absent}).decode()


def system(call: CallModel) -> str:
    return call.request.messages[0].content or ""


def unless(answers: dict[str, Answered | str]) -> Responder:
    """Well-behaved, but for the calls named like in `Held.order`."""
    return lambda call: answers.get(f"{call.speaker} {call.round} {call.purpose}") or speak(call)


def concluded(held: Held) -> BoardConcluded:
    (found,) = held.of(BoardConcluded)
    return found


def with_rounds(rounds: int, *names: str) -> RunStart:
    return msgspec.structs.replace(START, rounds=rounds, experts=cards(*(names or NAMES)))
