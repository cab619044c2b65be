"""How the feed looks on the wire: envelopes, cursors and frames. Payloads go out as stored, without being parsed."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.log.subscribe import Delta, Filter

CURSOR_CHARS_MAX = 40


class FeedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event for readers. `payload` is the event itself, its `type` included."""

    offset: int
    position: int
    id: UUID
    type: str
    recorded_at: datetime
    actor: str
    payload: msgspec.Raw
    schema_version: int
    task_id: UUID | None = None
    causation_id: UUID | None = None
    correlation_id: UUID | None = None


class Cursor(msgspec.Struct, frozen=True):
    """`epoch:offset`, or an offset alone, which then is taken on trust after a restore."""

    offset: int
    epoch: str | None = None


class InvalidCursor(ValueError):
    """A cursor or filter that cannot be read; the message shows the value and the right form."""


_encoder = msgspec.json.Encoder()


def parse_cursor(text: str | None) -> Cursor:
    """No cursor means from the beginning. Raises `InvalidCursor`."""
    if not text:
        return Cursor(0)
    epoch, colon, offset = text.rpartition(":")
    if len(text) > CURSOR_CHARS_MAX or not (offset.isascii() and offset.isdigit()) or len(offset) > 18:
        raise InvalidCursor(
            f"after={text[:CURSOR_CHARS_MAX]!r} is not a cursor; send an offset (42) or an answer's cursor (epoch:42)"
        )
    return Cursor(int(offset), epoch if colon else None)


def format_cursor(epoch: str, offset: int) -> str:
    return f"{epoch}:{offset}"


def parse_filter(types: str | None, task_id: str | None) -> Filter:
    """`types` is a list with commas. Raises `InvalidCursor`."""
    try:
        task = UUID(task_id) if task_id else None
    except ValueError:
        raise InvalidCursor(f"task_id={str(task_id)[:60]!r} is not a UUID") from None
    return Filter(frozenset(filter(None, (part.strip() for part in (types or "").split(",")))), task)


def encode_event(recorded: Recorded) -> bytes:
    """One envelope as JSON."""
    return _encoder.encode(
        FeedEvent(
            recorded.offset,
            recorded.position,
            recorded.id,
            recorded.type,
            recorded.recorded_at,
            recorded.actor,
            msgspec.Raw(recorded.payload.encode()),
            recorded.schema_version,
            recorded.task_id,
            recorded.causation_id,
            recorded.correlation_id,
        )
    )


def encode_events(page: Iterable[Recorded]) -> bytes:
    """Envelopes as a JSON array."""
    return b"[" + b",".join(map(encode_event, page)) + b"]"


def events_frame(page: Iterable[Recorded], cursor: str) -> bytes:
    """Several events in one frame of the feed's socket."""
    return b'{"type":"events","cursor":"%s","events":%s}' % (cursor.encode(), encode_events(page))


class _DeltaFrame(msgspec.Struct, frozen=True, tag_field="type", tag="delta"):
    answer_id: UUID
    task_id: UUID | None
    kind: str
    text: str
    reset: bool


def delta_frame(delta: Delta) -> bytes:
    """Text of an open answer. `answer_id` is the id of the event that will close it."""
    return _encoder.encode(_DeltaFrame(delta.answer_id, delta.task_id, delta.kind, delta.text, delta.reset))


def sse(data: bytes, *, event: str | None = None, id: str | None = None) -> bytes:
    """One server-sent event, framed by hand: `data` is JSON and so has no line break. Source: HTML standard, 9.2."""
    head = (f"event: {event}\n" if event else "") + (f"id: {id}\n" if id is not None else "")
    return head.encode() + b"data: " + data + b"\n\n"


SSE_HEARTBEAT = b": heartbeat\n\n"
