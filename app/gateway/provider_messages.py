"""Our messages as those of pydantic-ai: a pure mapping."""

from collections.abc import Sequence

from pydantic_ai import messages as wire

from app.core.messages import ChatMessage


def to_wire(messages: Sequence[ChatMessage]) -> list[wire.ModelMessage]:
    """Map a conversation. Requests that follow one another become one; a message's `name` is not sent on.

    A tool result whose call is not in the conversation is sent as a user message, since every provider refuses it.
    """
    tool_names: dict[str, str] = {}
    result: list[wire.ModelMessage] = []
    for message in messages:
        if message.role == "assistant":
            tool_names |= {call.id: call.name for call in message.tool_calls}
            parts = assistant_parts(message)
            if parts:
                result.append(wire.ModelResponse(parts=parts))
            continue
        part = request_part(message, tool_names)
        last = result[-1] if result else None
        if isinstance(last, wire.ModelRequest):
            result[-1] = wire.ModelRequest(parts=[*last.parts, part])
        else:
            result.append(wire.ModelRequest(parts=[part]))
    return result


def assistant_parts(message: ChatMessage) -> list[wire.ModelResponsePart]:
    text = message.content or message.refusal
    calls = [wire.ToolCallPart(call.name, call.arguments, call.id) for call in message.tool_calls]
    return [wire.TextPart(text), *calls] if text else [*calls]


def request_part(message: ChatMessage, tool_names: dict[str, str]) -> wire.ModelRequestPart:
    text = message.content or ""
    match message.role:
        case "system" | "developer":
            return wire.SystemPromptPart(text)
        case "tool" if message.tool_call_id in tool_names:
            return wire.ToolReturnPart(tool_names[message.tool_call_id], text, message.tool_call_id)
        case "tool":
            return wire.UserPromptPart(f"Tool result: {text}")
        case _:
            return wire.UserPromptPart(text)
