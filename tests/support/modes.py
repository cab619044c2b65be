"""Modes driven by hand: what a model and tools say goes in, what the mode asks for comes out. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from app.core.events import Note
from app.core.intents import (
    CallModel,
    CallTool,
    Heard,
    Intent,
    Listen,
    Mode,
    ModelFailure,
    Noted,
    Outcome,
    RunAborted,
    TakeMinute,
    ToolResult,
)
from app.core.messages import ModelAnswer, ModelRequest, ToolCall, ToolSpec


class Played(msgspec.Struct):
    """What came of it. `answer` None: it was aborted, and `error` says how."""

    asked: list[tuple[Intent, ...]] = []
    outcomes: list[tuple[Outcome, ...]] = []
    answer: str | None = None
    error: RunAborted | None = None

    def all(self, kind: type[Any]) -> list[Any]:
        return [intent for intents in self.asked for intent in intents if isinstance(intent, kind)]

    @property
    def requests(self) -> list[ModelRequest]:
        return [intent.request for intent in self.all(CallModel)]

    @property
    def calls(self) -> list[ToolCall]:
        return [intent.call for intent in self.all(CallTool)]

    @property
    def notes(self) -> list[Note]:
        return [intent.note for intent in self.all(TakeMinute)]

    @property
    def shape(self) -> list[str]:
        """The tuples in short: `model`, `tool`, `note`, `listen`, joined with `+` where they are at once."""
        names: dict[type[Any], str] = {
            CallModel: "model",
            CallTool: "tool",
            TakeMinute: "note",
            Listen: "listen",
        }
        return ["+".join(names[type(intent)] for intent in intents) for intents in self.asked]


def said(text: str, *calls: ToolCall) -> ModelAnswer:
    return ModelAnswer("m", text, tool_calls=calls)


def failed(message: str = "The model is away.") -> ModelFailure:
    return ModelFailure("unreachable", message)


def spec(name: str, *parameters: str, type: str = "string") -> ToolSpec:
    """A tool with these parameters, all of them required."""
    properties = {parameter: {"type": type} for parameter in parameters}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return ToolSpec(name, f"Does {name}.", schema)


def echo(call: ToolCall) -> ToolResult:
    return ToolResult(call.id, call.name, f"{call.name} says so")


def drive(
    mode: Mode,
    answers: Sequence[ModelAnswer | ModelFailure],
    *,
    tool: Callable[[ToolCall], ToolResult] = echo,
    heard: Mapping[int, tuple[str, ...]] | None = None,
) -> Played:
    """Sends the mode these answers in their order until it ends; `heard` is by how often it has listened before.

    An answer too few is an error of the test (`IndexError`); so is one that is not asked for.
    """
    played = Played()
    left, listened = list(answers), 0
    try:
        intents = next(mode)
        while True:
            played.asked.append(intents)
            outcomes: list[Outcome] = []
            for intent in intents:
                match intent:
                    case CallModel():
                        outcomes.append(left.pop(0))
                    case CallTool(call):
                        outcomes.append(tool(call))
                    case TakeMinute():
                        outcomes.append(Noted())
                    case Listen():
                        assert len(intents) == 1, "to listen stands alone"
                        outcomes.append(Heard((heard or {}).get(listened, ())))
                        listened += 1
            played.outcomes.append(tuple(outcomes))
            intents = mode.send(tuple(outcomes))
    except StopIteration as stop:
        played.answer = stop.value
    except RunAborted as error:
        played.error = error
    assert not left, f"{len(left)} answers were not asked for"
    return played


def texts(request: ModelRequest) -> list[str]:
    return [message.content or "" for message in request.messages]
