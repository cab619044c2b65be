"""A replay of 100 000 events from the real server over WebSocket, SSE and NDJSON, against pages of the same SELECT.

The client keeps what it receives and looks into it after the clock has stopped: every offset, once, in order.
"""

import asyncio
import statistics
from collections.abc import Iterable, Iterator
from time import perf_counter

import httptools
import msgspec
from websockets.asyncio.client import connect as connect_socket

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, per_second, row, take_turns, thousands
from app.bench.process import Server, service
from app.bench.sample import OWNER, Sampler
from app.core import streams
from app.log.connections import connect
from app.log.log import Log
from app.log.sql import statement
from projections.runner import ProjectionRunner

EVENTS = 100_000
QUICK_EVENTS = 3_000
PAGE_EVENTS = 1_000
FRAME_EVENTS = 500
APPEND_EVENTS = 250
CONVERSATION = "replay"
READ_BYTES = 256 * 1024
FRAME_BYTES_MAX = 16 * 1024 * 1024
WAIT_SECONDS_MAX = 120.0


class _Offset(msgspec.Struct, frozen=True):
    offset: int


class _Frame(msgspec.Struct, frozen=True):
    type: str
    events: list[_Offset] = []


_frames = msgspec.json.Decoder(_Frame)
_offsets = msgspec.json.Decoder(_Offset)


async def fill(log: Log, stream: str, events: int) -> None:
    """Append so many messages to a stream."""
    sampler = Sampler()
    for start in range(0, events, APPEND_EVENTS):
        await log.append(stream, sampler.messages(min(APPEND_EVENTS, events - start)))


async def measure(ground: Ground) -> list[Row]:
    """A row for each of the three ways."""
    events = QUICK_EVENTS if ground.quick else EVENTS
    async with ground.log() as (dsn, log):
        ground.say(f"replay: appending {events} events")
        await fill(log, streams.conversation(OWNER, CONVERSATION), events)
        ProjectionRunner(dsn).run_to_end()  # otherwise the service would do that during the first rounds
        async with service(ground, dsn) as server:
            return await _take(ground, dsn, server, events)


async def _take(ground: Ground, dsn: str, server: Server, events: int) -> list[Row]:
    connection = await connect(dsn, name="minutebook-bench-pages")

    async def pages() -> float:
        """Every row fetched, none looked at."""
        started = perf_counter()
        after = 0
        stream = streams.conversation(OWNER, CONVERSATION)
        while page := await connection.fetch(statement("read_stream"), stream, after, PAGE_EVENTS):
            after = page[-1]["offset"]
        spent = perf_counter() - started
        _check("bare pages", range(1, after + 1), events)
        return spent

    sides = (
        pages,
        lambda: over_socket(server, events),
        lambda: over_http(server, "text/event-stream", events),
        lambda: over_http(server, "application/x-ndjson", events),
    )
    try:
        await pages()
        ground.say("replay: measuring")
        taken = await take_turns(ground.rounds, *sides)
    finally:
        await connection.close()
    bare = per_second(events / statistics.median(seconds[0] for seconds in taken))
    return [
        row(
            f"replay over {way}",
            f"{thousands(events)} events from the service over bare asyncpg pages of 1 000",
            [seconds[0] / seconds[side] for seconds in taken],
            goal=Goal("≥", 0.6),
            figures={
                "service": per_second(events / statistics.median(seconds[side] for seconds in taken)),
                "bare": bare,
            },
        )
        for side, way in enumerate(("WebSocket", "SSE", "NDJSON"), start=1)
    ]


async def over_socket(server: Server, events: int) -> float:
    """Seconds from connecting to the last event, 500 a frame."""
    url = f"ws://{server.host}:{server.port}/api/v1/conversations/{CONVERSATION}/feed?after=0&batch={FRAME_EVENTS}"
    received: list[str | bytes] = []
    last = f':{events}"'
    started = perf_counter()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        async with connect_socket(url, compression=None, max_size=FRAME_BYTES_MAX, proxy=None) as socket:
            while True:
                frame = await socket.recv()
                received.append(frame)
                if str(frame[:80]).startswith('{"type":"events"') and last in str(frame[:80]):
                    break
            spent = perf_counter() - started
    decoded = (_frames.decode(frame) for frame in received)
    _check("WebSocket", (one.offset for frame in decoded for one in frame.events), events)
    return spent


class _Body:
    """What httptools calls: keeps the body's parts."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.complete = False

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.complete = True


async def over_http(server: Server, accept: str, events: int) -> float:
    """Seconds from connecting to the last event. A live stream (SSE) is left there."""
    live = accept == "text/event-stream"
    body = _Body()
    started = perf_counter()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=4 * READ_BYTES)
        writer.write(
            f"GET /api/v1/conversations/{CONVERSATION}/events?after=0 HTTP/1.1\r\nHost: {server.host}\r\n"
            f"Accept: {accept}\r\n\r\n".encode()
        )
        parser = httptools.HttpResponseParser(body)
        last = b":%d\n" % events
        while not body.complete:
            data = await reader.read(READ_BYTES)
            if not data:
                raise RuntimeError(f"the service closed a replay as {accept} too early")
            parser.feed_data(data)
            # The last event's `id:` line stands in the last 64 KiB or so: an event is small.
            if live and any(last in part[-8_192:] for part in body.parts[-2:]):
                break
        spent = perf_counter() - started
        writer.close()
    text = b"".join(body.parts)
    _check(accept, _offsets_in(text, live=live), events)
    return spent


def _offsets_in(body: bytes, *, live: bool) -> Iterator[int]:
    for line in body.split(b"\n"):
        if live and line.startswith(b"data: "):
            yield _offsets.decode(line[6:]).offset
        elif not live and line:
            yield _offsets.decode(line).offset


def _check(way: str, offsets: Iterable[int], events: int) -> None:
    if list(offsets) != list(range(1, events + 1)):
        raise RuntimeError(f"a replay over {way} did not give the offsets 1 to {events}, each once, in order")
