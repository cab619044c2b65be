"""How the feed looks on the wire: envelopes, cursors and frames. Payloads go out as stored, without being parsed."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from app.api.queries import InvalidQuery
from app.core.envelope import Recorded
from app.log.subscribe import Delta, Filter

CURSOR_CHARS_MAX = 40
SHARED_EVENTS_MAX = 8
FLAGS = {"true": True, "1": True, "false": False, "0": False}


class FeedEvent(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
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


_encoder = msgspec.json.Encoder()


def parse_cursor(text: str | None) -> Cursor:
    """No cursor means from the beginning. Raises `InvalidQuery`."""
    if not text:
        return Cursor(0)
    epoch, colon, offset = text.rpartition(":")
    if len(text) > CURSOR_CHARS_MAX or not (offset.isascii() and offset.isdigit()) or len(offset) > 18:
        raise InvalidQuery("cursor_of_feed", name="after", given=text[:CURSOR_CHARS_MAX])
    return Cursor(int(offset), epoch if colon else None)


def format_cursor(epoch: str, offset: int) -> str:
    return f"{epoch}:{offset}"


def parse_filter(types: str | None, task_id: str | None, *, name: str = "task_id") -> Filter:
    """`types` is a list with commas; `name` is the parameter that names the task. Raises `InvalidQuery`."""
    try:
        task = None if task_id is None else UUID(task_id)
    except ValueError:
        raise InvalidQuery("not_a_uuid", name=name, given=str(task_id)[:60]) from None
    return Filter(frozenset(filter(None, (part.strip() for part in (types or "").split(",")))), task)


def parse_count(name: str, text: str | None, limit: int) -> int:
    """A number from 1 to `limit`; without one it is `limit`. Raises `InvalidQuery`."""
    if text is None:
        return limit
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= limit):
        raise InvalidQuery("not_a_count", name=name, given=text[:CURSOR_CHARS_MAX], limit=limit)
    return int(text)


def parse_flag(name: str, text: str | None) -> bool:
    """`true` or `false`, which it is without one. Raises `InvalidQuery`."""
    if text is None:
        return False
    if text.lower() not in FLAGS:
        raise InvalidQuery("not_a_flag", name=name, given=text[:CURSOR_CHARS_MAX])
    return FLAGS[text.lower()]


def _feed_event(recorded: Recorded) -> FeedEvent:
    return FeedEvent(
        recorded.offset,
        recorded.position,
        recorded.id,
        recorded.type,
        recorded.recorded_at,
        recorded.actor,
        msgspec.Raw(recorded.payload),
        recorded.schema_version,
        recorded.task_id,
        recorded.causation_id,
        recorded.correlation_id,
    )


def encode_events(page: Iterable[Recorded]) -> bytes:
    """Envelopes as a JSON array. All at once: one by one and joined took four times as long."""
    return _encoder.encode([_feed_event(one) for one in page])


def event_lines(page: Iterable[Recorded]) -> bytes:
    """Envelopes as NDJSON, each with its line break."""
    return _encoder.encode_lines([_feed_event(one) for one in page])


def sse_events(page: Iterable[Recorded], epoch: str) -> bytes:
    """Envelopes as server-sent events, with their cursors as ids."""
    encode, known = _encoder.encode, epoch.encode()
    return b"".join(
        [
            b"event: %b\nid: %b:%d\ndata: %b\n\n"
            % (one.type.encode(), known, one.offset, encode(_feed_event(one)))
            for one in page
        ]
    )


def events_frame(page: Iterable[Recorded], cursor: str) -> bytes:
    """Several events in one frame of the feed's socket."""
    return b'{"type":"events","cursor":"%s","events":%s}' % (cursor.encode(), encode_events(page))


class SharedFrame:
    """The frame that was made last, for the other sockets that are to get the same one.

    Sockets at the end of a stream are woken one behind the other and given the very same events.
    """

    __slots__ = ("_cursor", "_epoch", "_frame", "_page")

    def __init__(self) -> None:
        self._page: list[Recorded] = []
        self._epoch: str = ""
        self._cursor = 0
        self._frame = b""

    def of(self, page: list[Recorded], epoch: str, cursor: int) -> bytes:
        """As `events_frame`."""
        if cursor != self._cursor or epoch != self._epoch or page != self._page:
            frame = events_frame(page, format_cursor(epoch, cursor))
            if len(page) > SHARED_EVENTS_MAX:
                return frame
            self._page, self._epoch, self._cursor = page, epoch, cursor
            self._frame = frame
        return self._frame


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
