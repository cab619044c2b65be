"""Chat messages, tool calls and usage as values, in the shape of the OpenAI chat API.

Source of the shape: OpenAI API reference, "Chat completions", `messages`.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Role = Literal["developer", "system", "user", "assistant", "tool"]


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of a tool as a model asked for it; `arguments` is JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str = "{}"


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation as a model sees it."""

    role: Role
    content: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


class ToolSpec(msgspec.Struct, frozen=True):
    """What a model is told about a tool; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: dict[str, object]


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one or more model calls, as the provider counted them (0 where it did not say)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


class AnswerShape(msgspec.Struct, frozen=True):
    """The JSON object that an answer is to be, which the messages ask for too. Both are JSON schemas of type object:
    `small` has fewer choices, for a model that loses its way among many. Whoever asks still checks the answer.
    """

    schema: dict[str, object]
    small: dict[str, object]


class ModelRequest(msgspec.Struct, frozen=True):
    """Everything that is sent to a model for one answer. `model` None means the configured one.

    `shape` and `brief` (a few sentences are asked for) help a model to do as the messages say; a provider that has no
    use for them leaves them out. They follow from the rest, and are no part of an intent's key.
    """

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    shape: AnswerShape | UnsetType = UNSET
    brief: bool | UnsetType = UNSET


class ModelAnswer(msgspec.Struct, frozen=True):
    """One whole answer of a model. Where `tool_calls` is not empty, `text` precedes them and is thinking."""

    model: str
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish_reason: str = "stop"


def storable(content: str) -> str:
    """The text with what Postgres or UTF-8 cannot hold (U+0000, lone surrogates) replaced by U+FFFD."""
    content = content.replace("\0", "\N{REPLACEMENT CHARACTER}")
    try:
        content.encode()
    except UnicodeEncodeError:
        return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return content


def storable_json(value: Any) -> Any:
    """A JSON value with every text in it `storable`, names too."""
    match value:
        case str():
            return storable(value)
        case list():
            return [storable_json(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {storable(name): storable_json(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        case _:
            return value
