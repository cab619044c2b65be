"""Appends that wait for the log, and the arguments of the one statement that writes a batch of them.

No array goes out as a list: asyncpg asks of every element whether it is a list itself, which took more time than all
the rest. Ids and names are array literals, payloads are one text with a separator that no JSON text can hold.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec

from app.core import events
from app.core.envelope import NewEvent, Recorded
from app.log.errors import InvalidAppend, PayloadTooLarge
from app.log.heads import Head

PAYLOAD_BYTES_MAX = 1024 * 1024
APPEND_BYTES_MAX = 64 * 1024 * 1024
APPEND_EVENTS_MAX = 256
TEXT_CHARS_MAX = 400
"""Of a stream's name, an actor, an idempotency key."""

KEY_SEPARATOR = "\x1f"
"""Between an idempotency key and the number of an event within its append."""

PAYLOAD_SEPARATOR = "\x1e"
"""No JSON text holds a control character but white space."""

_encoder = msgspec.json.Encoder()
_KINDS = {cls: kind for kind, cls in events.TYPES.items()}


class Lease(msgspec.Struct, frozen=True):
    """A worker's right to append for a run, good as long as the epoch is the newest."""

    task_id: UUID
    epoch: int


class Appended(msgspec.Struct, frozen=True, gc=False):
    """Where an append's events are. `duplicate`: an earlier append with the same idempotency key had written them."""

    first_offset: int
    last_offset: int
    last_position: int
    recorded_at: datetime
    duplicate: bool = False


class Waiting(msgspec.Struct, eq=False, gc=False):
    """One caller's append on its way: all of its events are written, or none. `deadline` is in the loop's time."""

    stream: str
    events: tuple[NewEvent, ...]
    kinds: tuple[str, ...]
    payloads: tuple[str, ...]
    size_bytes: int
    done: asyncio.Future[Appended]
    deadline: float
    expected_offset: int | None = None
    idempotency_key: str | None = None
    lease: Lease | None = None
    closes: tuple[UUID, ...] = ()

    def settle(self, result: Appended | BaseException) -> None:
        """Give the caller its result, unless it has gone away."""
        if self.done.done():
            return
        if isinstance(result, Appended):
            self.done.set_result(result)
        else:
            self.done.set_exception(result)


def encode_events(new: tuple[NewEvent, ...]) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Types, payloads and size in bytes. Raises `InvalidAppend`, `PayloadTooLarge`."""
    if len(new) == 1:
        kind, payload, size_bytes = _encode(new[0])
        return (kind,), (payload,), size_bytes
    if not 1 <= len(new) <= APPEND_EVENTS_MAX:
        raise InvalidAppend(
            f"an append takes 1-{APPEND_EVENTS_MAX} events, this one has {len(new)}; split it"
        )
    kinds, payloads, sizes_bytes = zip(*map(_encode, new), strict=True)
    total_bytes = sum(sizes_bytes)
    if total_bytes > APPEND_BYTES_MAX:
        raise InvalidAppend(
            f"an append takes at most {APPEND_BYTES_MAX} bytes, this one has {total_bytes}; split it"
        )
    return kinds, payloads, total_bytes


def _encode(event: NewEvent) -> tuple[str, str, int]:
    check_text("actor", event.actor)
    kind = _KINDS[type(event.payload)]
    try:
        payload = events.encode(event.payload)
    except (UnicodeError, msgspec.MsgspecError, TypeError) as error:
        raise InvalidAppend(f"the payload of {kind} cannot be written as JSON text: {error}") from error
    if PAYLOAD_SEPARATOR in payload:  # only where a part that was passed on unread is no JSON
        raise InvalidAppend(f"the payload of {kind} is not JSON: it holds the control character U+001E")
    size_bytes = len(payload) if payload.isascii() else len(payload.encode())
    if size_bytes > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(kind, size_bytes, PAYLOAD_BYTES_MAX)
    return kind, payload, size_bytes


@lru_cache(maxsize=16_384)
def check_text(what: str, text: str) -> None:
    """Text columns take any Unicode text but U+0000 and lone surrogates. Raises `InvalidAppend`."""
    if not 1 <= len(text) <= TEXT_CHARS_MAX:
        raise InvalidAppend(f"{what} has 1-{TEXT_CHARS_MAX} characters, this one has {len(text)}")
    if "\0" in text:
        raise InvalidAppend(f"{what} must not hold the character U+0000: {text[:40]!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidAppend(f"{what} must not hold half a surrogate pair: {text[:40]!r}") from None


def check_key(key: str) -> None:
    """An idempotency key is text as above without U+001F. Raises `InvalidAppend`."""
    check_text("idempotency_key", key)
    if KEY_SEPARATOR in key:
        raise InvalidAppend(f"idempotency_key must not hold the character U+001F: {key[:40]!r}")


class Batch(msgspec.Struct, frozen=True):
    """Appends that are written together, stream by stream, and their streams."""

    appends: list[Waiting]
    streams: list[str]


class Placement(msgspec.Struct, frozen=True):
    """Where each append of a batch goes: into stream `heads[n]`, from offset `firsts[n]` on."""

    heads: list[Head]
    firsts: list[int]

    def remember(self, appends: list[Waiting]) -> None:
        """The batch is committed."""
        for waiting, head, first in zip(appends, self.heads, self.firsts, strict=True):
            head.offset = first + len(waiting.events) - 1


def place(appends: list[Waiting], known: dict[str, Head]) -> Placement | None:
    """Count offsets on from the heads as they are known. None: an expectation does not fit, so look in the log."""
    heads: list[Head] = []
    firsts: list[int] = []
    last_stream = ""
    next_offset = 0
    seen: dict[str, int] = {}
    for waiting in appends:
        stream = waiting.stream
        head = known[stream]
        if stream != last_stream:
            next_offset = seen.get(stream, head.offset + 1)
            last_stream = stream
        expected = waiting.expected_offset
        if expected is not None and expected != next_offset - 1:
            return None
        heads.append(head)
        firsts.append(next_offset)
        next_offset += len(waiting.events)
        seen[stream] = next_offset
    return Placement(heads, firsts)


def arguments(
    partition: int, known_position: int, appends: list[Waiting], placement: Placement
) -> tuple[object, ...]:
    """The arguments of `sql/append.sql`, in its order."""
    flat = [event for waiting in appends for event in waiting.events]
    stream_ids = [head.id for head in placement.heads]
    offsets = placement.firsts
    keys = [waiting.idempotency_key for waiting in appends]
    if len(flat) == len(appends):
        kinds = [waiting.kinds[0] for waiting in appends]
        payloads = [waiting.payloads[0] for waiting in appends]
    else:
        counts = [len(waiting.events) for waiting in appends]
        stream_ids = [id_ for id_, count in zip(stream_ids, counts, strict=True) for _ in range(count)]
        offsets = [
            o for first, count in zip(offsets, counts, strict=True) for o in range(first, first + count)
        ]
        keys = [key for waiting in appends for key in stored_keys(waiting)]
        kinds = [kind for waiting in appends for kind in waiting.kinds]
        payloads = [payload for waiting in appends for payload in waiting.payloads]
    return (
        partition,
        len(flat),
        known_position,
        events.SCHEMA_VERSION,
        array_literal(stream_ids),
        array_literal(offsets),
        array_literal([event.id for event in flat]),
        array_literal(kinds),
        PAYLOAD_SEPARATOR.join(payloads),
        array_literal([event.actor for event in flat]),
        _unless_empty([event.task_id for event in flat]),
        _unless_empty([event.causation_id for event in flat]),
        _unless_empty([event.correlation_id for event in flat]),
        _unless_empty(keys),
    )


def stored_keys(waiting: Waiting) -> list[str | None]:
    """An append's key as its events hold it: the later ones with their number, so that it is known where it ends."""
    key, rest = waiting.idempotency_key, range(1, len(waiting.events))
    return [key, *(None if key is None else f"{key}{KEY_SEPARATOR}{number}" for number in rest)]


def array_literal(values: Sequence[int | UUID | str | None]) -> str:
    """Postgres's text form of an array. It is that of JSON but for the brackets and, in strings, control characters."""
    text = _encoder.encode(values)
    if b"\\" in text:
        text = b",".join(_quoted(value) for value in values)
        return f"{{{text.decode()}}}"
    return f"{{{text[1:-1].decode()}}}"


def _quoted(value: int | UUID | str | None) -> bytes:
    if value is None:
        return b"null"
    return b'"%b"' % str(value).replace("\\", "\\\\").replace('"', '\\"').encode()


def _unless_empty(values: Sequence[UUID | str | None]) -> str | None:
    return None if values.count(None) == len(values) else array_literal(values)


def guards(appends: list[Waiting]) -> tuple[str, str, str] | None:
    """The further arguments of `sql/append_guarded.sql`; None where the batch needs no guard."""
    guarded = [waiting for waiting in appends if waiting.lease is not None or waiting.closes]
    if not guarded:
        return None
    leases = list(dict.fromkeys((w.lease.task_id, w.lease.epoch) for w in guarded if w.lease is not None))
    return (
        array_literal([task_id for task_id, _ in leases]),
        array_literal([epoch for _, epoch in leases]),
        array_literal([answer_id for waiting in guarded for answer_id in waiting.closes]),
    )


def results(
    appends: list[Waiting], placement: Placement, *, base: int, recorded_at: datetime
) -> list[Appended]:
    """One result a caller, from the position before the batch."""
    found: list[Appended] = []
    position = base
    for waiting, first in zip(appends, placement.firsts, strict=True):
        count = len(waiting.events)
        position += count
        found.append(Appended(first, first + count - 1, position, recorded_at))
    return found


def recorded(waiting: Waiting, appended: Appended, partition: int) -> list[Recorded]:
    """The events of an append as the log holds them now, without reading them. Not of a duplicate: the log holds the
    events of the first append."""
    count = len(waiting.events)
    parts = zip(waiting.events, waiting.kinds, waiting.payloads, stored_keys(waiting), strict=True)
    return [
        Recorded(
            waiting.stream,
            appended.first_offset + number,
            appended.last_position - count + 1 + number,
            partition,
            event.id,
            kind,
            payload,
            events.SCHEMA_VERSION,
            event.actor,
            event.task_id,
            event.causation_id,
            event.correlation_id,
            key,
            appended.recorded_at,
        )
        for number, (event, kind, payload, key) in enumerate(parts)
    ]
