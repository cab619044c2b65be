"""A conversation of the log in the OpenAI message shape, or as its events. Pure: events in, JSON out.

An imported conversation comes out as it went in, field for field. What else was said is as in `openai_messages.py`,
with the system prompts.
"""

from typing import Any
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import ConversationImported
from app.transfer.openai_messages import NO_RESULT, OpenAIMessages

__all__ = ["NO_RESULT", "EventLine", "OpenAIExport", "event_line"]

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
        self._conversation_id = self._id = conversation_id
        self._fields = msgspec.Raw(b"{}")
        self._messages = OpenAIMessages(exporting=True)
        self.empty = True

    def add(self, recorded: Recorded) -> None:
        """What is before a deletion is not exported."""
        self._messages.add(recorded)
        deleted = recorded.type == "conversation.deleted"
        self.empty &= deleted
        if deleted:
            self._id, self._fields, self.empty = self._conversation_id, msgspec.Raw(b"{}"), True
        elif recorded.type == "conversation.imported":
            event = recorded.event()
            if isinstance(event, ConversationImported):
                self._id, self._fields = event.source_id, event.fields

    def line(self) -> bytes:
        """`{"id", …, "messages"}` as one line of JSON, without a line break. Call it once, at the end."""
        fields = _raw_fields.decode(self._fields)
        return _encoder.encode({"id": self._id, **fields, "messages": self._messages.messages()})
