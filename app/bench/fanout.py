"""One append, delivered to 1, 100 and 1 000 sockets on the same stream, against plain sockets on the same web server.

Three servers take turns, message by message, each with as many sockets:

    service   a frame ─► durable append ─► feed sockets of the conversation
    plain     a frame ─► all sockets, from memory: no commit, so nothing would survive
    commit    a frame ─► one raw row in a transaction ─► all sockets, from memory
"""

import asyncio
import statistics
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

import msgspec

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, milliseconds, quantile, row, take_turns
from app.bench.process import Server, plain_sockets, service_with_append
from app.bench.replay import fill
from app.bench.sample import OWNER, Sampler
from app.bench.sockets import Client
from app.core import streams

SOCKETS = (1, 100, 1_000)
QUICK_SOCKETS = (1, 10, 50)
MESSAGES = {1: 200, 100: 50, 1_000: 30}
QUICK_MESSAGES = 3
WARM_UP_MESSAGES = 2
SOCKETS_OPENED_AT_ONCE = 20
CONVERSATION = "fanout"
CONTENT_CHARS = 120
WAIT_SECONDS_MAX = 60.0


class Delivery(msgspec.Struct, frozen=True):
    """Seconds from the sender's start to each socket's receipt; of these, how long the server's commit took."""

    waits: list[float]
    commit: float


class Crowd:
    """Sockets that all get the frames of one sender."""

    def __init__(self, sockets: int, frame_prefix: bytes) -> None:
        self._sockets = sockets
        self._frame_prefix = frame_prefix
        self._clients: list[Client] = []
        self._sender: Client | None = None
        self._greetings = 0
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits: list[float] = []
        self._commit: float | None = None
        self._started = 0.0
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.frame_bytes = 0

    async def open(self, server: Server, watch: str, send: str) -> None:
        """Returns when all sockets are open and the server has said something on each: they are registered."""
        for start in range(0, self._sockets, SOCKETS_OPENED_AT_ONCE):
            opening = range(min(SOCKETS_OPENED_AT_ONCE, self._sockets - start))
            self._clients += await asyncio.gather(
                *(Client.open(server.host, server.port, watch, self._on_text) for _ in opening)
            )
        self._sender = await Client.open(server.host, server.port, send, self._on_committed)
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await self._greeted

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if self._sender is not None:
            self._sender.close()

    async def deliver(self, text: bytes) -> Delivery:
        """Send one frame, and wait until everybody has it. Raises `TimeoutError` after 60 s."""
        if self._sender is None:
            raise RuntimeError("open the crowd first")
        self._waits, self._commit = [], None
        self._complete = asyncio.get_running_loop().create_future()
        self._started = perf_counter()
        self._sender.send(text)
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await self._complete
        return Delivery(self._waits, self._commit or 0.0)

    def _on_text(self, frame: bytes, at: float) -> None:
        if not frame.startswith(self._frame_prefix):
            self._greetings += 1
            if self._greetings == self._sockets:
                self._greeted.set_result(None)
            return
        self.frame_bytes = len(frame)
        self._waits.append(at - self._started)
        self._check()

    def _on_committed(self, frame: bytes, at: float) -> None:
        self._commit = float(frame)
        self._check()

    def _check(self) -> None:
        if len(self._waits) == self._sockets and self._commit is not None and not self._complete.done():
            self._complete.set_result(None)


async def measure(ground: Ground) -> list[Row]:
    """Three rows for each number of sockets: whole, and without the append, against plain sockets; whole against plain
    sockets behind a commit."""
    rows: list[Row] = []
    async with ground.log() as (dsn, log):
        await fill(log, streams.conversation(OWNER, CONVERSATION), 1)
        async with service_with_append(ground, dsn) as ours, plain_sockets(ground, dsn) as plain:
            for sockets in QUICK_SOCKETS if ground.quick else SOCKETS:
                ground.say(f"fanout: {sockets} sockets")
                head = await log.reader.head(streams.conversation(OWNER, CONVERSATION))
                async with _crowds(ours, plain, sockets, head) as crowds:
                    rows += await _take(ground, sockets, crowds)
    return rows


@asynccontextmanager
async def _crowds(ours: Server, plain: Server, sockets: int, head: int) -> AsyncGenerator[Sequence[Crowd]]:
    feed, bare, committed = (Crowd(sockets, prefix) for prefix in (b'{"type":"events"', b"{", b"{"))
    crowds = (feed, bare, committed)
    try:
        watch = f"/api/v1/conversations/{CONVERSATION}/feed?after={head}"
        await feed.open(ours, watch, f"/bench/send/{CONVERSATION}")
        await bare.open(plain, "/watch?group=bare", "/send?group=bare")
        await committed.open(plain, "/watch?group=commit", "/send?group=commit&commit=true")
        yield crowds
    finally:
        for crowd in crowds:
            crowd.close()


async def _take(ground: Ground, sockets: int, crowds: Sequence[Crowd]) -> list[Row]:
    feed, bare, committed = crowds
    sampler = Sampler()
    await feed.deliver(sampler.text(CONTENT_CHARS).encode())
    # The same number of bytes on the wire as a feed frame of one event.
    frame = b'{"text":"%s"}' % (b"x" * (feed.frame_bytes - 11))
    sides = (
        lambda: feed.deliver(sampler.text(CONTENT_CHARS).encode()),
        lambda: bare.deliver(frame),
        lambda: committed.deliver(frame),
    )
    await take_turns(WARM_UP_MESSAGES, *sides)
    messages = QUICK_MESSAGES if ground.quick else MESSAGES[sockets]
    rounds = [await take_turns(messages, *sides) for _ in range(ground.rounds)]
    return _rows(sockets, rounds)


def _rows(sockets: int, rounds: Sequence[Sequence[Sequence[Delivery]]]) -> list[Row]:
    def of(side: int, fraction: float, *, behind_commit: bool = False) -> list[float]:
        return [
            quantile(
                [wait - taken[side].commit * behind_commit for taken in round_ for wait in taken[side].waits],
                fraction,
            )
            for round_ in rounds
        ]

    def shown(side: int, *, behind_commit: bool = False) -> str:
        middle, late = (
            milliseconds(statistics.median(of(side, fraction, behind_commit=behind_commit)))
            for fraction in (0.5, 0.99)
        )
        return f"{middle}, {late}"

    ours, bare, committed = (of(side, 0.99) for side in range(3))
    name = f"fan-out, {sockets} socket{'s' if sockets > 1 else ''}"

    def over(base: list[float], waits: list[float], suffix: str, what: str, figures: dict[str, str]) -> Row:
        ratios = [wait / plain for wait, plain in zip(waits, base, strict=True)]
        return row(name + suffix, what, ratios, goal=Goal("≤", 2), figures=figures)

    return [
        over(
            bare,
            ours,
            "",
            "p99 from the sender's start to a socket's receipt, durable append included, over plain sockets",
            {"service p50, p99": shown(0), "plain": shown(1)},
        ),
        over(
            bare,
            of(0, 0.99, behind_commit=True),
            ", behind the append",
            "the same less what that message's durable append took, over plain sockets",
            {"service p50, p99": shown(0, behind_commit=True), "plain": shown(1)},
        ),
        over(
            committed,
            ours,
            ", both durable",
            "p99 as in the first, over plain sockets that first commit one raw row",
            {"service p50, p99": shown(0), "plain behind a commit": shown(2)},
        ),
    ]
