"""The tools of a process, called with a time-out, and every way of failing put into words for the model."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from app.core.events import ToolRef
from app.core.intents import ToolResult
from app.core.messages import ToolCall, storable
from app.tools.tool import InvalidArguments, Tool, ToolContext, ToolError

RESULT_BYTES_MAX = 16 * 1024
SHOWN_CHARS_MAX = 200

logger = structlog.get_logger(__name__)


class ToolBox:
    """Raises `ValueError` for two tools of one name.

    `arrival`: waits for a tool that is not there yet, if there is a chance that it comes.
    """

    def __init__(
        self, tools: Iterable[Tool], *, arrival: Callable[[str], Awaitable[None]] | None = None
    ) -> None:
        self._tools: dict[str, Tool] = {}
        self._offered: dict[str, set[str]] = {}
        self._arrival = arrival
        for tool in tools:
            if tool.name in self._tools:
                raise ValueError(f"there are two tools named {tool.name!r}; rename one")
            self._tools[tool.name] = tool

    def offer(self, source: str, tools: Sequence[Tool]) -> None:
        """Take these in place of what `source` offered before. A name that is taken already is left as it is."""
        for name in self._offered.pop(source, ()):
            del self._tools[name]
        new = {tool.name: tool for tool in tools}
        for name in new.keys() & self._tools.keys():
            logger.warning("tool_name_taken", tool=name, source=source)
            del new[name]
        self._tools |= new
        self._offered[source] = set(new)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tools)

    @property
    def live_names(self) -> Collection[str]:
        """The names, also those that come later."""
        return self._tools.keys()

    def refs(self, names: Sequence[str] | None = None) -> tuple[ToolRef, ...]:
        """What a run records of these tools, or of all. Raises `KeyError` for an unknown name."""
        return tuple(self._tools[name].ref() for name in (self._tools if names is None else names))

    def shown(self, call: ToolCall) -> tuple[str, str]:
        """What a person is asked to agree to: the command exactly as it would be carried out, and why it is asked."""
        tool = self._tools.get(call.name)
        command = f"{call.name} {call.arguments}"
        if tool is None:
            return command, ""
        if tool.command is not None:
            with suppress(InvalidArguments, ToolError):
                command = tool.command(decoded(call))
        return command, tool.reason

    async def call(
        self, call: ToolCall, context: ToolContext, *, timeout_seconds: float | None = None
    ) -> ToolResult:
        """Never raises: what goes wrong is a result with `error_class` `unknown_tool`, `invalid_arguments`, `timeout`
        or `failed`. Results are cut at 16 KiB. `timeout_seconds` beats the tool's own."""
        tool = self._tools.get(call.name)
        if tool is None and self._arrival is not None:
            await self._arrival(call.name)
            tool = self._tools.get(call.name)
        if tool is None:
            return unknown_tool(call, self.names)
        limit_seconds = tool.timeout_seconds if timeout_seconds is None else timeout_seconds
        limit = asyncio.timeout(limit_seconds)
        try:
            async with limit:
                content = await tool.call(decoded(call), context)
        except InvalidArguments as error:
            return _failed(call, "invalid_arguments", str(error))
        except ToolError as error:
            return _failed(call, "failed", str(error))
        except TimeoutError:
            if limit.expired():
                return _failed(
                    call, "timeout", f"{call.name} gave no result within {limit_seconds:g} seconds."
                )
            return self._broken(call)
        except Exception:
            return self._broken(call)
        return ToolResult(call.id, call.name, cut(storable(content)))

    def _broken(self, call: ToolCall) -> ToolResult:
        logger.exception("tool_failed", tool=call.name)
        return _failed(
            call, "failed", f"{call.name} failed for a reason of its own; it may work with other arguments."
        )


def unknown_tool(call: ToolCall, known: Iterable[str]) -> ToolResult:
    """The result of a call of a tool that is not there."""
    names = ", ".join(known) or "none"
    return _failed(call, "unknown_tool", f"There is no tool {shown(call.name)!r}. Tools are: {names}.")


def decoded(call: ToolCall) -> dict[str, Any]:
    """The arguments as a model wrote them; nothing at all means none. Raises `InvalidArguments`."""
    try:
        return msgspec.json.decode(call.arguments.strip() or "{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidArguments(
            f"The arguments of {call.name} have to be one JSON object, these are not ({error}): {shown(call.arguments)}"
        ) from None


def cut(content: str) -> str:
    """The content within 16 KiB of UTF-8, and a note where something is missing."""
    encoded = content.encode()
    if len(encoded) <= RESULT_BYTES_MAX:
        return content
    kept = encoded[:RESULT_BYTES_MAX].decode("utf-8", "ignore")
    return (
        f"{kept}\n[Cut: {len(encoded)} bytes, the first {RESULT_BYTES_MAX} are shown. Ask for less at once.]"
    )


def shown(value: str) -> str:
    """The value as it may stand in a message."""
    return value if len(value) <= SHOWN_CHARS_MAX else value[:SHOWN_CHARS_MAX] + "…"


def _failed(call: ToolCall, error_class: str, message: str) -> ToolResult:
    return ToolResult(call.id, call.name, cut(storable(message)), error_class)
