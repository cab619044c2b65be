"""What a tool is, and how one is made from a struct of arguments and a function."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

import msgspec

from app.core.events import Effect, ToolRef
from app.core.messages import ToolSpec

TIMEOUT_SECONDS = 20.0


class People(Protocol):
    """The people at the other end of the conversation, on whatever node and socket they are."""

    async def ask(self, question: str) -> str | None:
        """Their answer; None if nobody answered within the deadline. Survives a restart of the service."""
        ...


class Nobody:
    """People where there are none."""

    async def ask(self, question: str) -> str | None:
        return None


class ToolContext(msgspec.Struct, frozen=True):
    """For whom and within what a tool is called. `idempotency_key` is the same when the same call is done again."""

    owner: str
    conversation_id: str
    task_id: UUID
    idempotency_key: str
    now: Callable[[], datetime]
    people: People = Nobody()


class ToolError(Exception):
    """A tool could not do it. The text is one sentence for the model: what is wrong, the value, what to do."""


class InvalidArguments(ToolError):
    """The arguments do not fit the tool's schema. The text names the argument and what was expected."""


class Tool(msgspec.Struct, frozen=True):
    """`call` takes decoded arguments and raises `InvalidArguments` or `ToolError`. `effect`: see `app.core.events`.

    `confirm`: a person is shown `command(arguments)` and `reason`, and has to agree before the tool is called.
    `long_running`: the call answers `operation_started` at once and the work goes on as a task of its own.
    """

    spec: ToolSpec
    effect: Effect
    timeout_seconds: float
    call: Callable[[dict[str, Any], ToolContext], Awaitable[str]]
    confirm: bool = False
    long_running: bool = False
    reason: str = ""
    command: Callable[[dict[str, Any]], str] | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    def ref(self) -> ToolRef:
        """What a run records of it."""
        return ToolRef(self.spec, self.effect, self.timeout_seconds, self.confirm, self.long_running)


A = TypeVar("A", bound=msgspec.Struct)


def make_tool(
    name: str,
    description: str,
    arguments: type[A],
    call: Callable[[A, ToolContext], Awaitable[str]],
    *,
    effect: Effect,
    timeout_seconds: float = TIMEOUT_SECONDS,
    confirm: bool = False,
    long_running: bool = False,
    reason: str = "",
    command: Callable[[dict[str, Any]], str] | None = None,
) -> Tool:
    """A tool whose JSON schema and validation come from the struct `arguments`."""

    async def convert_and_call(given: dict[str, Any], context: ToolContext) -> str:
        try:
            converted = msgspec.convert(given, arguments, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidArguments(f"The arguments of {name} are not valid: {error}.") from None
        return await call(converted, context)

    spec = ToolSpec(name, description, schema_of(arguments))
    return Tool(spec, effect, timeout_seconds, convert_and_call, confirm, long_running, reason, command)


def schema_of(arguments: type[msgspec.Struct]) -> dict[str, object]:
    """The struct's JSON schema in one piece: without `$ref`, `$defs` and titles, which small models stumble over."""
    schema = msgspec.json.schema(arguments)
    definitions = cast("Mapping[str, Any]", schema.get("$defs", {}))
    return cast("dict[str, object]", _inlined(schema, definitions))


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    named = cast("dict[str, Any]", node)
    if "$ref" in named:
        return _inlined(definitions[str(named["$ref"]).rpartition("/")[2]], definitions)
    # A `title` with text is a struct's name; a property called "title" is a schema.
    return {
        key: _inlined(value, definitions)
        for key, value in named.items()
        if key != "$defs" and not (key == "title" and isinstance(value, str))
    }
