"""A client that has missed 1 000 events: from connecting to having the last of them."""

import asyncio
import statistics
from time import perf_counter

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, milliseconds, quantile, row, take_turns
from app.bench.process import Server, plain_sockets, service
from app.bench.replay import fill
from app.bench.sample import OWNER
from app.bench.sockets import Client
from app.core import streams
from app.log.connections import Connection, connect
from app.log.sql import statement

MISSED_EVENTS = 1_000
SEEN_EVENTS = 2_000
SAMPLES = 100
QUICK_SAMPLES = 5
GOAL_MS = 150.0
CONVERSATION = "reconnect"
WAIT_SECONDS_MAX = 30.0


async def measure(ground: Ground) -> list[Row]:
    """One row. The goal is about the milliseconds; the ratio says how much of them is ours."""
    async with ground.log() as (dsn, log):
        await fill(log, streams.conversation(OWNER, CONVERSATION), SEEN_EVENTS + MISSED_EVENTS)
        connection = await connect(dsn, name="minutebook-bench-pages")
        try:
            async with service(ground, dsn) as ours, plain_sockets(ground, dsn) as plain:
                return await _take(ground, connection, ours, plain)
        finally:
            await connection.close()


async def _take(ground: Ground, connection: Connection, ours: Server, plain: Server) -> list[Row]:
    samples = QUICK_SAMPLES if ground.quick else SAMPLES

    async def bare() -> float:
        return await _bare(connection, plain)

    async def resumed() -> float:
        return await _resumed(ours)

    await take_turns(3, bare, resumed)
    ground.say("reconnect: measuring")
    rounds = [await take_turns(samples, bare, resumed) for _ in range(ground.rounds)]
    everything = [seconds for round_ in rounds for _, seconds in round_]
    bare_all = [seconds for round_ in rounds for seconds, _ in round_]
    p99_ms = quantile(everything, 0.99) * 1_000
    ratios = [
        quantile([theirs for _, theirs in round_], 0.99) / quantile([base for base, _ in round_], 0.99)
        for round_ in rounds
    ]
    return [
        row(
            "reconnect, 1 000 missed",
            "p99 from connecting to the last missed event, over a bare fetch of them and a plain socket's round trip",
            ratios,
            goal=Goal("<", GOAL_MS, "ms (p99)"),
            judged=p99_ms,
            figures={
                "service p50": milliseconds(statistics.median(everything)),
                "p99": f"{p99_ms:.2f} ms",
                "bare p50": milliseconds(statistics.median(bare_all)),
                "p99 ": milliseconds(quantile(bare_all, 0.99)),
            },
        )
    ]


async def _bare(connection: Connection, plain: Server) -> float:
    answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    started = perf_counter()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        client = await Client.open(plain.host, plain.port, "/echo", lambda frame, at: answered.set_result(at))
        client.send(b"hello")
        await answered
        stream = streams.conversation(OWNER, CONVERSATION)
        page = await connection.fetch(statement("read_stream"), stream, SEEN_EVENTS, MISSED_EVENTS)
    spent = perf_counter() - started
    client.close()
    if len(page) != MISSED_EVENTS:
        raise RuntimeError(f"{len(page)} events instead of {MISSED_EVENTS}")
    return spent


async def _resumed(ours: Server) -> float:
    complete: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    last = f':{SEEN_EVENTS + MISSED_EVENTS}"'.encode()

    def on_text(frame: bytes, at: float) -> None:
        if frame.startswith(b'{"type":"events"') and last in frame[:80] and not complete.done():
            complete.set_result(at)

    started = perf_counter()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        path = f"/api/v1/conversations/{CONVERSATION}/feed?after={SEEN_EVENTS}"
        client = await Client.open(ours.host, ours.port, path, on_text)
        at = await complete
    client.close()
    return at - started
