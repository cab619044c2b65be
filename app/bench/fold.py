"""How fast projections fold the log, against reading and decoding the same events with nothing else."""

import statistics
from time import perf_counter

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, per_second, row, take_turns, thousands
from app.bench.sample import OWNER, Sampler
from app.core import events, streams
from app.log.log import Log
from app.log.sql import statement
from projections import ALL, conversations, tasks, transcript
from projections.pages import connect
from projections.projection import AnyProjection
from projections.runner import ProjectionRunner

RUNS_PER_CONVERSATION = 10
CONVERSATIONS = 360
QUICK_CONVERSATIONS = 5
PAGE_EVENTS = 1_000
FIRST = (conversations.PROJECTION, transcript.PROJECTION, tasks.PROJECTION)
"""What every conversation is shown from."""


async def measure(ground: Ground) -> list[Row]:
    """Two rows: the views of every conversation, and all of them; each at once, from nothing to the end of the log."""
    async with ground.log() as (dsn, log):
        ground.say("projections: appending runs")
        count = await _fill(log, QUICK_CONVERSATIONS if ground.quick else CONVERSATIONS)

        async def read() -> float:
            return _read_and_decode(dsn, count)

        async def fold_first() -> float:
            return _fold_all(dsn, count, FIRST)

        async def fold() -> float:
            return _fold_all(dsn, count, ALL)

        await take_turns(1, read, fold_first, fold)
        ground.say("projections: measuring")
        turns = await take_turns(ground.rounds, read, fold_first, fold)
        bases = [base for base, _, _ in turns]
        named = ", ".join(projection.name for projection in FIRST)
        return [
            _row(f"projections, {named}", count, bases, [ours for _, ours, _ in turns]),
            _row(f"projections, all {len(ALL)}", count, bases, [ours for _, _, ours in turns]),
        ]


def _row(name: str, count: int, bases: list[float], spent: list[float]) -> Row:
    return row(
        name,
        f"{thousands(count)} events of runs folded into tables, over reading and decoding them",
        [base / ours for base, ours in zip(bases, spent, strict=True)],
        goal=Goal("≥", 0.6),
        figures={
            "projections": per_second(count / statistics.median(spent)),
            "read and decode": per_second(count / statistics.median(bases)),
        },
    )


async def _fill(log: Log, conversations: int) -> int:
    """Conversations as they are in use: their runs interleave in the log."""
    sampler = Sampler()
    count = 0
    for _ in range(RUNS_PER_CONVERSATION):
        for number in range(conversations):
            run = sampler.run(count)
            await log.append(streams.conversation(OWNER, f"projections-{number}"), run)
            count += len(run)
    return count


def _read_and_decode(dsn: str, count: int) -> float:
    """Seconds for psycopg pages of 1 000 in binary, each payload decoded to its event."""
    started = perf_counter()
    position = found = 0
    query = statement("read_all").encode()
    with connect(dsn) as connection:
        names: list[str] | None = None
        while True:
            cursor = connection.execute(query, (0, position, PAGE_EVENTS), binary=True)
            names = names or [column.name for column in cursor.description or ()]
            kind, payload, at = names.index("type"), names.index("payload"), names.index("position")
            page = cursor.fetchall()
            if not page:
                break
            for values in page:
                events.decode(values[kind], values[payload])
            found += len(page)
            position = page[-1][at]
    spent = perf_counter() - started
    if found != count:
        raise RuntimeError(f"{found} events in the log instead of {count}")
    return spent


def _fold_all(dsn: str, count: int, projections: tuple[AnyProjection, ...]) -> float:
    """Seconds for `ProjectionRunner.run_to_end` on empty tables."""
    with connect(dsn) as connection:
        for projection in projections:
            for table, _ in projection.tables:
                connection.execute(f"DROP TABLE IF EXISTS {table}".encode())
            connection.execute(b"DELETE FROM projection_checkpoints WHERE name = $1", (projection.name,))
    started = perf_counter()
    statuses = ProjectionRunner(dsn, projections).run_to_end()
    spent = perf_counter() - started
    for status in statuses:
        if status.stopped is not None or status.position != count:
            raise RuntimeError(
                f"projection {status.name} is at {status.position} of {count}: {status.stopped}"
            )
    return spent
