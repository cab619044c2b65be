"""A conversation of the log in the OpenAI message shape, or as its events. Pure: events in, JSON out.

An imported conversation comes out as it went in, field for field. What was said here becomes what a model was sent
and answered: the system prompt where it changes, the user's message, calls of tools with their results, the answer.
The messages of a run stand together at the place where it ended, since the API takes the results of tools only right
behind their call.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    ConversationDeleted,
    ConversationImported,
    MessageAnswered,
    MessageImported,
    MessageInterrupted,
    MessageReceived,
    ModelAnswered,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunRequested,
    ToolReturned,
)

NO_RESULT = "(no result: the run ended before the tool returned)"

_encoder = msgspec.json.Encoder()
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class EventLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """The envelope of an event as one JSON object; `payload` is the event as stored."""

    stream: str
    offset: int
    position: int
    partition: int
    id: UUID
    type: str
    recorded_at: Any
    actor: str
    schema_version: int
    payload: msgspec.Raw
    task_id: UUID | None = None
    causation_id: UUID | None = None
    correlation_id: UUID | None = None
    idempotency_key: str | None = None


def event_line(recorded: Recorded) -> bytes:
    """One envelope as JSON, without a line break."""
    return _encoder.encode(
        EventLine(
            recorded.stream,
            recorded.offset,
            recorded.position,
            recorded.partition,
            recorded.id,
            recorded.type,
            recorded.recorded_at,
            recorded.actor,
            recorded.schema_version,
            msgspec.Raw(recorded.payload.encode()),
            recorded.task_id,
            recorded.causation_id,
            recorded.correlation_id,
            recorded.idempotency_key,
        )
    )


class OpenAIExport:
    """Folds one conversation's events, in their order, into a line of an import file."""

    def __init__(self, conversation_id: str) -> None:
        self._conversation_id = conversation_id
        self._forget()

    def _forget(self) -> None:
        self._id = self._conversation_id
        self._fields = msgspec.Raw(b"{}")
        self._messages: list[msgspec.Raw] = []
        self._runs: dict[UUID, list[dict[str, Any]]] = {}
        self._system_prompt = ""
        self.empty = True

    def add(self, recorded: Recorded) -> None:
        """What is before a deletion is not exported."""
        event = recorded.event()
        run = self._runs.get(recorded.task_id) if recorded.task_id is not None else None
        self.empty &= isinstance(event, ConversationDeleted)
        match event:
            case ConversationDeleted():
                self._forget()
            case ConversationImported():
                self._id, self._fields = event.source_id, event.fields
            case MessageImported():
                self._messages.append(event.message)
            case MessageReceived():
                self._say({"role": "user", "content": event.content})
            case RunRequested() if recorded.task_id is not None:
                self._runs[recorded.task_id] = []
                self._prompt(event.system_prompt)
            case ModelAnswered() if run is not None and event.answer.tool_calls:
                run.append(_calls(event))
            case ToolReturned() if run is not None:
                run.append({"role": "tool", "tool_call_id": event.call_id, "content": event.content})
            case MessageAnswered() | MessageInterrupted():
                answer = {"role": "assistant", "content": event.content}
                if run is not None:
                    run.append(answer)
                elif event.content:
                    self._say(answer)
            case RunCompleted() | RunFailed() | RunCancelled() if recorded.task_id is not None:
                self._end(recorded.task_id)
            case _:
                pass

    def line(self) -> bytes:
        """`{"id", …, "messages"}` as one line of JSON, without a line break. Call it once, at the end."""
        for task_id in tuple(self._runs):
            self._end(task_id)
        fields = _raw_fields.decode(self._fields)
        return _encoder.encode({"id": self._id, **fields, "messages": self._messages})

    def _prompt(self, system_prompt: str) -> None:
        """In front of the message that it is for; once, as long as it stays the same."""
        if not system_prompt or system_prompt == self._system_prompt:
            return
        self._system_prompt = system_prompt
        place = (
            len(self._messages) - 1
            if self._messages and _is_user(self._messages[-1])
            else len(self._messages)
        )
        self._messages.insert(place, _raw({"role": "system", "content": system_prompt}))

    def _say(self, message: dict[str, Any]) -> None:
        self._messages.append(_raw(message))

    def _end(self, task_id: UUID) -> None:
        for message in answered_calls(self._runs.pop(task_id, [])):
            self._say(message)


def answered_calls(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A run's messages with one result right behind each call of a tool, and no other results."""
    found: list[dict[str, Any]] = []
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] in open_calls:
                open_calls.remove(message["tool_call_id"])
                found.append(message)
            continue
        found += map(_no_result, open_calls)
        open_calls = [call["id"] for call in message.get("tool_calls", ())]
        if message.get("tool_calls") or message["content"]:
            found.append(message)
    return [*found, *map(_no_result, open_calls)]


def _no_result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": NO_RESULT}


def _calls(event: ModelAnswered) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in event.answer.tool_calls
    ]
    return {"role": "assistant", "content": event.answer.text or None, "tool_calls": calls}


def _is_user(message: msgspec.Raw) -> bool:
    return msgspec.json.decode(message).get("role") == "user"


def _raw(message: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(message))
