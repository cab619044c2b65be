"""A conversation of 100 000 events as it was at several moments, over the same read of the present.

What is measured is what a request does: find the moment (as an offset, a position, a time), then the conversation's row
and its newest messages.
"""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, milliseconds, quantile, row, take_turns, thousands
from app.bench.sample import OWNER, Sampler
from app.core import streams
from app.log.log import Log
from projections import conversations, past_reads, tasks, transcript
from projections.moments import AsOf, AtOffset, AtPosition, AtTime, find_moment
from projections.reads import ReadPool, read_pool
from projections.runner import ProjectionRunner

EVENTS = 100_000
QUICK_EVENTS = 1_500
POINTS = (0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999)
CONVERSATION = "past"
STREAM = streams.conversation(OWNER, CONVERSATION)
PAGE = 50
READS = 5
QUICK_READS = 1
MILLISECONDS_MAX = 200
VIEWS = (conversations.PROJECTION, transcript.PROJECTION, tasks.PROJECTION)


async def measure(ground: Ground) -> list[Row]:
    """A row; its goal is about the moment that is read most slowly (the median of its reads)."""
    events, reads = (QUICK_EVENTS, QUICK_READS) if ground.quick else (EVENTS, READS)
    async with ground.log() as (dsn, log):
        ground.say(f"past: appending {events} events, and folding them")
        count = await _fill(log, events)
        ProjectionRunner(dsn, VIEWS).run_to_end()
        moments = await _moments(log, count)
        async with read_pool(dsn) as pool:
            for table in ("events", *(view.name for view in VIEWS)):  # as autovacuum does within its minute
                await _analyze(pool, table)
            ground.say("past: measuring")
            taken = await take_turns(ground.rounds, _present(pool, reads), _past(pool, moments, reads))
    each = [
        [one for _, past in taken for one in past[number :: len(moments)]] for number in range(len(moments))
    ]
    slowest = max(quantile(one, 0.5) for one in each)
    return [
        row(
            "past",
            f"a conversation of {thousands(count)} events and its newest {PAGE} messages as of {len(moments)} moments, "
            "over as of now",
            [quantile(past, 0.5) / quantile(present, 0.5) for present, past in taken],
            goal=Goal("<", MILLISECONDS_MAX, "ms"),
            judged=slowest * 1_000,
            figures={
                "now": milliseconds(quantile([one for present, _ in taken for one in present], 0.5)),
                "then": milliseconds(quantile([one for _, past in taken for one in past], 0.5)),
                "the slowest moment": milliseconds(slowest),
                "the slowest read": milliseconds(max(max(one) for one in each)),
            },
        )
    ]


async def _fill(log: Log, events: int) -> int:
    sampler, count = Sampler(), 0
    while count < events:
        run = sampler.run(count)
        await log.append(STREAM, run)
        count += len(run)
    return count


async def _moments(log: Log, count: int) -> list[tuple[AsOf, int]]:
    """In each of the three ways, each with the offset that has to be found (-1: not known); mostly within a run."""
    found: list[tuple[AsOf, int]] = []
    for point in POINTS:
        offset = max(3, int(count * point))
        (recorded,) = await log.reader.stream(STREAM, after=offset - 1, limit=1)
        found += [
            (AtOffset(offset), offset),
            (AtPosition(recorded.position), offset),
            (AtTime(recorded.recorded_at), -1),  # the events of an append have one time
        ]
    return found


async def _analyze(pool: ReadPool, table: str) -> None:
    async with pool.connection() as connection:
        await connection.set_autocommit(True)
        await connection.execute(f"VACUUM (ANALYZE) {table}".encode())


def _present(pool: ReadPool, reads: int) -> Callable[[], Awaitable[list[float]]]:
    async def read() -> list[float]:
        seconds: list[float] = []
        for _ in range(reads):
            started = perf_counter()
            found = await conversations.get(pool, OWNER, CONVERSATION)
            page = await transcript.page(pool, OWNER, CONVERSATION, limit=PAGE)
            seconds.append(perf_counter() - started)
            if found is None or len(page.messages) != PAGE:
                raise RuntimeError(f"{len(page.messages)} messages instead of {PAGE}")
        return seconds

    return read


def _past(
    pool: ReadPool, moments: Sequence[tuple[AsOf, int]], reads: int
) -> Callable[[], Awaitable[list[float]]]:
    async def read() -> list[float]:
        return [await _read_then(pool, *moment) for _ in range(reads) for moment in moments]

    return read


async def _read_then(pool: ReadPool, as_of: AsOf, offset: int) -> float:
    started = perf_counter()
    moment = await find_moment(pool, OWNER, CONVERSATION, as_of)
    if moment is None:
        raise RuntimeError("there is no such conversation")
    found = await past_reads.conversation_at(pool, moment)
    page = await past_reads.page_at(pool, moment, limit=PAGE)
    seconds = perf_counter() - started
    if found is None or not page.messages or (offset > 0 and moment.offset != offset):
        raise RuntimeError(f"as of {as_of} there was nothing, at offset {moment.offset}")
    return seconds
