"""What a model is shown of a conversation: a fold of its stream, the same at every replay.

    … summarised … │ to be summarised now │ the newest messages, shown as they are │ the task's own │ later ones
                   └ offset of the last summary                                      └ not part of it

Answers stand behind the message that they answer, also where several messages came before the first answer.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    HistorySummarized,
    MessageAdded,
    MessageAnswered,
    MessageImported,
    MessageInterrupted,
    MessageReceived,
    RunMerged,
)
from app.core.messages import ChatMessage, ToolCall
from app.log.read import LogReader

PAGE_EVENTS = 200
READ_FACTOR = 4
"""How many times `max_history` messages are looked at, at most."""
MESSAGE_TYPES = frozenset(
    {"message.received", "message.answered", "message.interrupted", "message.imported", "message.added"}
)
PROMPTS = ("system", "developer")
BEGUN = "[The conversation begins with what you say.]"
TYPES = MESSAGE_TYPES | {"conversation.deleted", "history.summarized", "run.merged", "run.requested"}


class History(msgspec.Struct, frozen=True):
    """`messages` are shown to the model. `summary` stands for what was said before `unsummarized`; this stands between
    the two, ends at offset `unsummarized_until`, and is empty where there is nothing to summarise."""

    summary: str = ""
    unsummarized: tuple[ChatMessage, ...] = ()
    unsummarized_until: int = 0
    messages: tuple[ChatMessage, ...] = ()


class _Said(NamedTuple):
    """`added`: a client's own message, which is always shown."""

    offset: int
    message: ChatMessage
    added: bool = False


class _Window(NamedTuple):
    """The events that count, oldest first. `whole`: what stands before them does not count, whatever it is."""

    events: tuple[Recorded, ...]
    summary: HistorySummarized | None
    whole: bool


async def read_history(
    reader: LogReader, stream: str, *, task_id: UUID, until: int, max_history: int
) -> History:
    """The conversation up to offset `until`, without the task's own message. Raises `LogUnavailable`.

    Reads backwards to the last summary, and never more than four times `max_history` messages before the task's own:
    the cost does not grow with the conversation.
    """
    found: list[Recorded] = []
    before = until + 1
    while before > 1:
        page = await reader.stream_backwards(stream, before=before, limit=PAGE_EVENTS)
        found += [recorded for recorded in page if recorded.type in TYPES]
        if not page or _window(found, task_id, max_history).whole:
            break
        before = page[-1].offset
    return history(reversed(found), task_id=task_id, max_history=max_history)


def history(recorded: Iterable[Recorded], *, task_id: UUID, max_history: int) -> History:
    """Fold of events in the order of the log: what was said before the task's own message, and the answers to that.

    Where more than `max_history` messages stand after the last summary, all but the newest `max_history // 2` are to
    be summarised, or a few more, so that what is left begins with a message of the user's.
    """
    newest_first = [one for one in recorded if one.type in TYPES][::-1]
    window = _window(newest_first, task_id, max_history)
    summary = window.summary.content if window.summary is not None else ""
    said = _in_turns(window.events, task_id)
    cut = _cut(said, max_history // 2) if len(said) > max_history else 0
    older, newer = said[:cut], said[cut:]
    return History(
        summary,
        tuple(one.message for one in older),
        max((one.offset for one in older), default=0),
        _shown(newer[max(0, len(newer) - max_history) :]),
    )


def _shown(said: Sequence[_Said]) -> tuple[ChatMessage, ...]:
    """As providers take it: the user speaks first. What a client has added in front of that is shown all the same."""
    first = next((n for n, one in enumerate(said) if one.message.role == "user"), len(said))
    added = [one.message for one in said[:first] if one.added]
    prompts = [message for message in added if message.role in PROMPTS]
    others = [message for message in added if message.role not in PROMPTS]
    begun = [ChatMessage("user", BEGUN)] if others else []
    return (*prompts, *consistent([*begun, *others, *(one.message for one in said[first:])]))


def _window(newest_first: Sequence[Recorded], task_id: UUID, max_history: int) -> _Window:
    """Back to a deletion, to where the newest summary ends that does not cover the task's own message, or to the
    limit."""
    events: list[Recorded] = []
    summaries: list[HistorySummarized] = []
    own: int | None = None
    summary: HistorySummarized | None = None
    before_own = 0
    whole = False
    for one in newest_first:
        if one.type == "conversation.deleted" or (summary is not None and one.offset <= summary.until):
            whole = True
            break
        if own is None and one.task_id == task_id and one.type in ("run.requested", "message.received"):
            own = one.offset
        elif isinstance(
            event := one.event() if one.type == "history.summarized" else None, HistorySummarized
        ):
            summaries.append(event)
        elif own is not None and one.type in MESSAGE_TYPES and one.task_id != task_id:
            if before_own == max_history * READ_FACTOR:
                whole = True
                break
            before_own += 1
        if own is not None and summary is None:
            summary = next((other for other in summaries if other.until < own), None)
        events.append(one)
    return _Window(tuple(reversed(events)), summary, whole)


def _in_turns(events: Iterable[Recorded], task_id: UUID) -> list[_Said]:
    turns: dict[UUID | int, list[_Said]] = {}
    later: set[UUID] = set()  # tasks of messages behind the task's own
    own_seen = False
    for one in events:
        own_seen |= one.task_id == task_id
        if one.type == "run.requested":
            continue
        match one.event():
            case MessageReceived(content=content) if not own_seen:
                turns[one.task_id or one.offset] = [_Said(one.offset, ChatMessage("user", content))]
            case MessageReceived() if one.task_id is not None and one.task_id != task_id:
                later.add(one.task_id)
            case MessageAnswered(content=content) | MessageInterrupted(content=content):
                if content and one.task_id not in later and one.task_id != task_id:
                    answer = _Said(one.offset, ChatMessage("assistant", content))
                    turns.setdefault(one.task_id or one.offset, []).append(answer)
            case MessageImported(message=message) if not own_seen:
                if (imported := from_openai(bytes(message))) is not None:
                    turns[one.offset] = [_Said(one.offset, imported)]
            case MessageAdded(message=message) if not own_seen:
                _add(turns, one.offset, added(bytes(message)))
            case RunMerged(into=into) if one.task_id is not None:
                _merge(turns, one.task_id, UUID(into))
            case _:
                pass
    return [said for turn in turns.values() for said in turn]


def _merge(turns: dict[UUID | int, list[_Said]], task_id: UUID, into: UUID) -> None:
    """A message that another task answers stands before that answer, behind that task's own message."""
    if task_id in turns and into in turns:
        heard = turns.pop(task_id)
        answers = next((n for n, one in enumerate(turns[into]) if one.message.role == "assistant"), None)
        at = len(turns[into]) if answers is None else answers
        turns[into][at:at] = heard


def _add(turns: dict[UUID | int, list[_Said]], offset: int, message: ChatMessage | None) -> None:
    """A client's own message stands where it was added; the result of a tool behind its call."""
    if message is None:
        return
    said = _Said(offset, message, added=True)
    if message.role == "tool":
        for turn in reversed(turns.values()):
            for at, other in reversed(list(enumerate(turn))):
                if any(call.id == message.tool_call_id for call in other.message.tool_calls):
                    behind = at + 1
                    while behind < len(turn) and turn[behind].message.role == "tool":
                        behind += 1
                    turn.insert(behind, said)
                    return
    turns[offset] = [said]


def _cut(said: Sequence[_Said], keep: int) -> int:
    """Where to part the messages so that at most `keep` are left, or else as few as can be; 0: nowhere.

    What is left begins with the user's message, and everything before it has smaller offsets than everything in it.
    """
    highest = list(accumulate((one.offset for one in said), max))
    lowest = list(accumulate((one.offset for one in reversed(said)), min))[::-1]
    possible = [
        n for n in range(1, len(said)) if said[n].message.role == "user" and highest[n - 1] < lowest[n]
    ]
    enough = [n for n in possible if n >= len(said) - keep]
    return enough[0] if enough else possible[-1] if possible else 0


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


def added(message: bytes) -> ChatMessage | None:
    """A client's own message as a model is shown it: prompts too, parts that are no text by their type in brackets,
    and the old form of tools as text."""
    fields = cast("dict[str, Any]", msgspec.json.decode(message))
    text = _text_of(fields.get("content"), others=True) or ""
    match fields["role"]:
        case "system" | "developer" as role:
            return ChatMessage(role, text) if text else None
        case "user":
            return ChatMessage("user", text) if text else None
        case "function":
            return ChatMessage("user", f"[Result of the function {fields.get('name')}]\n{text}")
        case "tool":
            return ChatMessage("tool", text, fields.get("name"), fields.get("tool_call_id"))
        case _:
            return _of_assistant(fields, text)


def _of_assistant(fields: dict[str, Any], text: str) -> ChatMessage | None:
    calls: list[ToolCall] = []
    for call in cast("list[dict[str, Any]]", fields.get("tool_calls") or []):
        if (function := cast("dict[str, Any] | None", call.get("function"))) is not None:
            calls.append(ToolCall(call["id"], function["name"], function["arguments"]))
        elif (custom := cast("dict[str, Any] | None", call.get("custom"))) is not None:
            arguments = msgspec.json.encode({"input": custom["input"]}).decode()
            calls.append(ToolCall(call["id"], custom["name"], arguments))
    text = text or str(fields.get("refusal") or "")
    if (old := cast("dict[str, Any] | None", fields.get("function_call"))) is not None:
        called = f"[Called the function {old['name']} with {old['arguments']}]"
        text = f"{text}\n{called}".strip()
    return ChatMessage("assistant", text or None, tool_calls=tuple(calls)) if text or calls else None


def _text_of(content: object, *, others: bool = False) -> str | None:
    """`others`: parts that are no text are named in brackets."""
    if isinstance(content, list):
        parts = cast("list[dict[str, Any]]", content)
        texts = [part.get("text", f"[{part.get('type')}]" if others else None) for part in parts]
        return "\n".join(str(text) for text in texts if text is not None) or None
    return content if isinstance(content, str) else None
