"""Whether a list of messages is one that the `openai` client takes for `messages`, unchanged."""

from typing import Any

from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

_MESSAGES: TypeAdapter[list[ChatCompletionMessageParam]] = TypeAdapter(list[ChatCompletionMessageParam])


def demand_sendable(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages, which the client's types take as they are; and as the API demands it, results stand right behind
    their calls, one for each, and nowhere else."""
    _MESSAGES.validate_python(messages, strict=True)
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting, f"a result without a call: {message}"
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting, f"calls without a result: {waiting}"
        waiting = [call["id"] for call in message.get("tool_calls", ())]
    assert not waiting, f"calls without a result: {waiting}"
    return messages
