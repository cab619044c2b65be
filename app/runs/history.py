"""What a model is shown of a conversation: a fold of its stream, the same at every replay.

Answers stand behind the message that they answer, also where several messages came before the first answer.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    ConversationDeleted,
    MessageAnswered,
    MessageImported,
    MessageInterrupted,
    MessageReceived,
)
from app.core.messages import ChatMessage, ToolCall
from app.log.read import LogReader

PAGE_EVENTS = 200
MESSAGE_TYPES = frozenset(
    {
        "message.received",
        "message.answered",
        "message.interrupted",
        "message.imported",
        "conversation.deleted",
    }
)


async def read_history(
    reader: LogReader, stream: str, *, task_id: UUID, until: int, max_history: int
) -> tuple[ChatMessage, ...]:
    """The newest `max_history` messages up to offset `until`, without the task's own. Raises `LogUnavailable`.

    Reads backwards, and no further than it needs: the cost does not grow with the conversation.
    """
    found: list[Recorded] = []
    before = until + 1
    while before > 1 and len(found) <= max_history:
        page = await reader.stream_backwards(stream, before=before, limit=PAGE_EVENTS)
        found += [recorded for recorded in page if recorded.type in MESSAGE_TYPES]
        if not page or any(recorded.type == "conversation.deleted" for recorded in page):
            break
        before = page[-1].offset
    return history(reversed(found), task_id=task_id, max_history=max_history)


def history(recorded: Iterable[Recorded], *, task_id: UUID, max_history: int) -> tuple[ChatMessage, ...]:
    """Fold of events in the order of the log: what was said before the task's own message, and the answers to that."""
    turns: dict[UUID | int, list[ChatMessage]] = {}
    later: list[UUID] = []  # tasks of messages behind the task's own
    own_seen = False
    for one in recorded:
        match one.event():
            case ConversationDeleted():
                turns, later, own_seen = {}, [], False
            case MessageReceived(content=content):
                own_seen |= one.task_id == task_id
                if not own_seen:
                    turns[one.task_id or one.offset] = [ChatMessage("user", content)]
                elif one.task_id is not None:
                    later.append(one.task_id)
            case MessageAnswered(content=content) | MessageInterrupted(content=content):
                if content and one.task_id not in later:
                    turns.setdefault(one.task_id or one.offset, []).append(ChatMessage("assistant", content))
            case MessageImported(message=message):
                if not own_seen and (imported := from_openai(bytes(message))) is not None:
                    turns[one.offset] = [imported]
            case _:
                pass
    messages = [message for turn in turns.values() for message in turn]
    return consistent(messages[max(0, len(messages) - max_history) :])


def consistent(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Without what providers refuse: a start that is not the user's, calls without results, results without calls."""
    kept: list[ChatMessage] = []
    index = next((n for n, message in enumerate(messages) if message.role == "user"), len(messages))
    while index < len(messages):
        message = messages[index]
        index += 1
        if message.tool_calls:
            results = index
            while results < len(messages) and messages[results].role == "tool":
                results += 1
            told = messages[index:results]
            if {call.id for call in message.tool_calls} == {other.tool_call_id for other in told}:
                kept += [message, *told]
            elif message.content:
                kept.append(ChatMessage(message.role, message.content, message.name))
            index = results
        elif message.role != "tool":
            kept.append(message)
    return tuple(kept)


def from_openai(message: bytes) -> ChatMessage | None:
    """A message in the OpenAI shape, as far as a model needs it; None for prompts of the system it came from."""
    fields = cast("dict[str, Any]", msgspec.json.decode(message))
    role = fields.get("role")
    if role not in ("user", "assistant", "tool"):
        return None
    calls = tuple(
        ToolCall(str(call.get("id", "")), str(function.get("name", "")), str(function.get("arguments", "{}")))
        for call in cast("list[dict[str, Any]]", fields.get("tool_calls") or [])
        if (function := cast("dict[str, Any] | None", call.get("function"))) is not None
    )
    content = _text_of(fields.get("content"))
    if role == "tool":
        content = content or ""
    elif not content and not calls:
        return None
    return ChatMessage(
        role, content, fields.get("name"), fields.get("tool_call_id"), fields.get("refusal"), tool_calls=calls
    )


def _text_of(content: object) -> str | None:
    if isinstance(content, list):
        parts = cast("list[dict[str, Any]]", content)
        return "\n".join(str(part["text"]) for part in parts if "text" in part) or None
    return content if isinstance(content, str) else None
