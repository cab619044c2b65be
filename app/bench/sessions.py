"""A page of an owner's sessions with their total number, at 100 000 sessions over the same at 1 000.

The rows are put into the tables as the projections would have written them: what is measured is how they are read.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, milliseconds, quantile, row, take_turns, thousands
from app.log.connections import connect
from projections import sessions_reads
from projections.reads import ReadPool, read_pool
from projections.runner import ProjectionRunner

FEW, MANY = 1_000, 100_000
QUICK_MANY = 2_000
READS = 40
QUICK_READS = 3
PAGE = 50
GOAL = 10.0
OTHERS = 20
"""Owners with as many sessions as the smaller one: the tables are those of a deployment, not of one user."""

_SESSIONS = """
INSERT INTO sessions (owner, conversation_id, agent_name, status, metadata, prompt_tokens, completion_tokens,
    completed, failed, cancelled, open_tasks, created_at, updated_at)
SELECT $1, gen_random_uuid()::text, 'agent-' || n % 7, CASE WHEN n % 10 = 0 THEN 'closed' ELSE 'active' END,
    '{"from":"bench"}', n, n, 1, 0, 0, '{}', at, at
FROM generate_series(1, $2::int) n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '7 s' AS at) t
"""
_CONVERSATIONS = """
INSERT INTO conversations (owner, conversation_id, title, given_title, titled, is_board, message_count,
    first_offset, head, created_at, updated_at, open_tasks)
SELECT owner, conversation_id, 'a title of a session', '', true, false, 2, 1, 6, created_at, updated_at, '{}'
FROM sessions WHERE owner = $1
"""


async def measure(ground: Ground) -> list[Row]:
    """Two rows: the first page and one far behind it, each with the total number."""
    many, reads = (QUICK_MANY, QUICK_READS) if ground.quick else (MANY, READS)
    async with ground.database() as dsn:
        ProjectionRunner(dsn).run_to_end()
        ground.say(f"sessions: writing {many} of one owner")
        await _fill(dsn, {"few": FEW, "many": many} | {f"other-{n}": FEW for n in range(OTHERS)})
        async with read_pool(dsn) as pool:
            ground.say("sessions: measuring")
            first = await take_turns(
                ground.rounds, _first_page(pool, "few", reads), _first_page(pool, "many", reads)
            )
            deep = await take_turns(
                ground.rounds,
                await _deep_page(pool, "few", FEW, reads),
                await _deep_page(pool, "many", many, reads),
            )
    return [
        row(
            f"sessions, {place}",
            f"{PAGE} of {thousands(many)} sessions of one owner with their total, over the same of {thousands(FEW)}",
            [ours / base for base, ours in taken],
            goal=Goal("≤", GOAL),
            figures={
                f"at {thousands(FEW)}": milliseconds(quantile([base for base, _ in taken], 0.5)),
                f"at {thousands(many)}": milliseconds(quantile([ours for _, ours in taken], 0.5)),
            },
        )
        for place, taken in (("the newest", first), ("far behind", deep))
    ]


async def _fill(dsn: str, owners: dict[str, int]) -> None:
    connection = await connect(dsn, name="minutebook-bench-sessions")
    try:
        for owner, count in owners.items():
            await connection.execute(_SESSIONS, owner, count)
            await connection.execute(_CONVERSATIONS, owner)
        for table in ("sessions", "conversations"):  # as autovacuum does within its minute
            await connection.execute(f"VACUUM (ANALYZE) {table}")
    finally:
        await connection.close()


def _first_page(pool: ReadPool, owner: str, reads: int) -> Callable[[], Awaitable[float]]:
    return lambda: _read(pool, owner, None, reads)


async def _deep_page(pool: ReadPool, owner: str, count: int, reads: int) -> Callable[[], Awaitable[float]]:
    """In the middle of the list."""
    before: sessions_reads.Cursor | None = None
    for _ in range(count // 2 // sessions_reads.LIST_MAX):
        page = await sessions_reads.list_by_owner(pool, owner, limit=sessions_reads.LIST_MAX, before=before)
        before = page[-1].cursor
    return lambda: _read(pool, owner, before, reads)


async def _read(pool: ReadPool, owner: str, before: sessions_reads.Cursor | None, reads: int) -> float:
    """Seconds for a page with its total, the median."""
    seconds: list[float] = []
    for _ in range(reads):
        started = perf_counter()
        page = await sessions_reads.list_by_owner(pool, owner, limit=PAGE, before=before)
        total = await sessions_reads.count_by_owner(pool, owner)
        seconds.append(perf_counter() - started)
        if len(page) != PAGE or total < FEW:
            raise RuntimeError(f"a page of {len(page)} sessions of {total}")
    return quantile(seconds, 0.5)
