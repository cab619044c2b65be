"""Durable appends by 1, 64 and 512 writers, against what the table takes when somebody writes to it directly."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from itertools import count
from time import perf_counter

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, milliseconds, per_second, quantile, row, take_turns
from app.bench.raw import RawWriter
from app.bench.sample import OWNER, Sampler
from app.core import events
from app.core.envelope import NewEvent, user_actor
from app.log.connections import connect
from app.log.ids import new_id
from app.log.log import Log
from app.log.queue import BATCH_EVENTS_MAX

WRITERS = (1, 64, 512)
SECONDS = 0.5
QUICK_SECONDS = 0.1
TURNS = 4
"""In a round, of so many seconds each: what else a machine does comes and goes in seconds, and should hit both."""

LATENCY_SAMPLES = 300
QUICK_LATENCY_SAMPLES = 20
MESSAGES = 2_048
WAIT_SECONDS_MAX = 60.0
MADE_A_SECOND = 100_000
"""More than anybody appends here; what is short of it is made while the clock runs."""


class LogWriters:
    """Writers with a stream each, of which everyone awaits its append before the next."""

    def __init__(self, log: Log, messages: list[events.MessageReceived]) -> None:
        self._log = log
        self._messages = messages
        self._actor = user_actor(OWNER)
        self._made: list[NewEvent] = []
        self._numbers = count()

    def make(self, events: int) -> None:
        """Have so many at hand. Making them does not count, as it does not for the raw rows."""
        self._made.extend(self._new() for _ in range(events - len(self._made)))

    def _new(self) -> NewEvent:
        return NewEvent(new_id(), self._messages[next(self._numbers) % len(self._messages)], self._actor)

    async def one(self, stream: int = 0) -> None:
        made = self._made
        await self._log.append(f"conversation/{OWNER}/{stream}", (made.pop() if made else self._new(),))

    async def rate(self, seconds: float, writers: int) -> float:
        """Acknowledged appends a second."""
        self.make(int(seconds * MADE_A_SECOND))
        started = perf_counter()

        async def write(stream: int) -> int:
            count = 0
            while perf_counter() - started < seconds:
                await self.one(stream)
                count += 1
            return count

        async with asyncio.timeout(WAIT_SECONDS_MAX):
            written = await asyncio.gather(*(write(stream) for stream in range(writers)))
        return sum(written) / (perf_counter() - started)


async def measure(ground: Ground) -> list[Row]:
    """How long one writer waits for its acknowledgement, and a rate for each number of writers."""
    sampler = Sampler()
    messages = [sampler.message() for _ in range(MESSAGES)]
    async with ground.log() as (dsn, log):
        connection = await connect(dsn, name="minutebook-bench-raw")
        try:
            raw, ours = RawWriter(connection, messages), LogWriters(log, messages)
            rows = await _acknowledgement(ground, raw, ours)
            for writers in WRITERS:
                ground.say(f"append: {writers} writers")
                rows += await _rates(ground, raw, ours, writers)
            return rows
        finally:
            await connection.close()


async def _rates(ground: Ground, raw: RawWriter, ours: LogWriters, writers: int) -> list[Row]:
    """Against statements of 1 000 rows; where batches are full, also against statements of as many as a batch."""
    seconds, turns = (QUICK_SECONDS, 1) if ground.quick else (SECONDS, TURNS)
    full = writers == max(WRITERS)
    sides = [
        lambda: ours.rate(seconds, writers),
        lambda: raw.rate(seconds, writers),
        lambda: raw.rate(seconds, writers, rows_at_once=BATCH_EVENTS_MAX),
    ][: 3 if full else 2]
    await raw.rate(seconds / 5, writers)
    await ours.rate(seconds / 5, writers)
    rounds = [
        tuple(map(statistics.mean, zip(*await take_turns(turns, *sides), strict=True)))
        for _ in range(ground.rounds)
    ]
    name = f"append, {writers} writer{'s' if writers > 1 else ''}"
    wholes = ("1 000-row INSERTs", f"INSERTs of {BATCH_EVENTS_MAX} rows, the log's longest batch")
    found: list[Row] = []
    for side, whole in enumerate(wholes[: len(sides) - 1], start=1):
        figures = {
            "log": per_second(statistics.median(rates[0] for rates in rounds)),
            "raw": per_second(statistics.median(rates[side] for rates in rounds)),
        }
        found.append(
            row(
                name if side == 1 else f"{name}, same batches",
                f"durable one-event appends a second, over rows a second of raw {whole}, of the same rows",
                [rates[0] / rates[side] for rates in rounds],
                goal=Goal("≥", 0.9) if full and side == 1 else None,
                figures=figures,
            )
        )
    return found


async def _acknowledgement(ground: Ground, raw: RawWriter, ours: LogWriters) -> list[Row]:
    """One writer and an idle server: every sample is taken right after its counterparts."""
    ground.say("append: the wait of one writer")
    samples = QUICK_LATENCY_SAMPLES if ground.quick else LATENCY_SAMPLES
    rows = iter([raw.row() for _ in range((samples * ground.rounds + 20) * 2)])
    ours.make((samples * ground.rounds + 20) * 2)
    sides: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: raw.one_in_transaction(next(rows)),
        lambda: raw.one(next(rows)),
        ours.one,
    )

    def timed(side: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            started = perf_counter()
            await side()
            return perf_counter() - started

        return once

    timed_sides = [timed(side) for side in sides]
    await take_turns(20, *timed_sides)
    medians: list[list[float]] = []
    for _ in range(ground.rounds):
        taken = await take_turns(samples, *timed_sides)
        medians.append([quantile([sample[side] for sample in taken], 0.5) for side in range(len(sides))])
    waits = [
        milliseconds(statistics.median(round_[side] for round_ in medians)) for side in range(len(sides))
    ]
    figures = {"log": waits[2], "raw transaction": waits[0], "raw autocommit": waits[1]}
    return [
        row(
            "acknowledgement, 1 writer",
            "p50 of a durable append over p50 of a raw single-row transaction",
            [ours_ / transaction for transaction, _, ours_ in medians],
            goal=Goal("≤", 1.1),
            figures=figures,
        ),
        row(
            "acknowledgement, 1 writer",
            "p50 of a durable append over p50 of a raw single-row INSERT with autocommit",
            [ours_ / autocommit for _, autocommit, ours_ in medians],
            figures=figures,
        ),
    ]
