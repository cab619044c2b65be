"""Metrics over a million experiences: how long an answer takes, and against the same figures summed from the rows.

The rows are made by a generator, and their sums by the rule of `projections/experience_sums.py` in SQL: what is
measured is how they are read.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from time import perf_counter

import asyncpg

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, milliseconds, quantile, row, take_turns, thousands
from app.log.connections import connect
from projections.experience_sums import ALL, DIMENSIONS, FIGURES, Dimension, bin_of
from projections.metrics import Metrics, Scope
from projections.metrics_reads import metrics
from projections.reads import ReadPool, read_one, read_pool
from projections.runner import ProjectionRunner

MANY, QUICK_MANY = 1_000_000, 10_000
KINDS, QUICK_KINDS = 10_000, 1_000
"""Different runs; each stands many times in the range, at other times."""
READS, QUICK_READS = 15, 2
GOAL_MS = 50.0
FILL_SECONDS_MAX = 900.0
RANGE = timedelta(days=30)
UNTIL = datetime(2026, 7, 1, 9, 41, 7, 123456, tzinfo=UTC)
"""Nothing is cut where sums are."""
AGENTS, MODELS, SKILLS, DEPARTMENTS = 6, 4, 8, 5

_KINDS_TABLE = """
CREATE TEMPORARY TABLE kinds (n integer, agent text, skill text, mode text, model text, department text,
    outcome text, duration_ms bigint, duration_bin integer, steps bigint, tokens bigint)
"""
_ROWS = """
INSERT INTO experiences (id, owner, conversation_id, partition, task_type, agent, skill, mode, model, department,
    outcome, error_class, requested_at, ended_at, duration_ms, duration_bin, steps, tool_calls, prompt_tokens,
    completion_tokens, cost_nano_usd, fallbacks, attempts_failed, confirmations_asked, confirmations_answered,
    questions_asked, questions_answered, effects_unknown, tools, first_offset, last_offset, position)
SELECT gen_random_uuid(), 'owner-' || k.n % 500, 'c', 0, k.mode, k.agent, k.skill, k.mode, k.model, k.department,
    k.outcome, CASE WHEN k.outcome = 'failure' THEN 'timeout' ELSE '' END, at, at, k.duration_ms, k.duration_bin,
    k.steps, 1, k.tokens, k.tokens / 3, k.tokens * 100, 0, 0, 0, 0, 0, 0, 0, '{}', 1, 9, 0
FROM kinds k CROSS JOIN generate_series(0, $3::int - 1) copy
CROSS JOIN LATERAL (
    SELECT $1::timestamptz + ($2::interval / $3::int) * copy + random() * ($2::interval / $3::int) AS at
) moment
"""
_GROUPS = ", ".join(f"('{dimension}', {dimension})" for dimension in DIMENSIONS)
_DAY = "('day', date_trunc('day', ended_at, 'UTC'))"
_QUARTER = "('quarter', date_bin('15 minutes', ended_at, '2020-01-01Z'))"
_HOUR = "('hour', date_trunc('hour', ended_at, 'UTC'))"
_OWN = {
    "runs": "count(*)",
    "succeeded": "count(*) FILTER (WHERE outcome = 'success')",
    "failed": "count(*) FILTER (WHERE outcome = 'failure')",
    "cancelled": "count(*) FILTER (WHERE outcome = 'cancelled')",
    "timed": "count(*)",
}
_FIGURES = ", ".join(_OWN.get(name, f"sum({name})") for name in FIGURES)
_SUMS = f"""
INSERT INTO experience_sums (grain, start, dimension, value, partition, {", ".join(FIGURES)})
SELECT grain, start, dimension, value, 0, {_FIGURES} FROM experiences
CROSS JOIN LATERAL (VALUES {_QUARTER}, {_DAY}) s (grain, start)
CROSS JOIN LATERAL (VALUES ('{ALL}', ''), {_GROUPS}) g (dimension, value)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""  # noqa: S608 (constants)
_DURATIONS = f"""
INSERT INTO experience_durations (grain, start, dimension, value, bin, partition, runs)
SELECT grain, start, dimension, value, duration_bin, 0, count(*) FROM experiences
CROSS JOIN LATERAL (VALUES {_HOUR}, {_DAY}) s (grain, start)
CROSS JOIN LATERAL (VALUES ('{ALL}', ''), {_GROUPS}) g (dimension, value)
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608
_PLAIN = f"""
SELECT {_FIGURES}, percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms)
FROM experiences WHERE ended_at >= %s AND ended_at < %s AND outcome IS NOT NULL AND parent IS NULL
"""  # noqa: S608


async def measure(ground: Ground) -> list[Row]:
    """A row for each question that a dashboard asks."""
    many, kinds, reads = (QUICK_MANY, QUICK_KINDS, QUICK_READS) if ground.quick else (MANY, KINDS, READS)
    rows: list[Row] = []
    async with ground.database() as dsn:
        ProjectionRunner(dsn).run_to_end()
        ground.say(f"metrics: making {thousands(many)} experiences")
        await _fill(dsn, kinds, many // kinds)
        async with read_pool(dsn) as pool:
            await _agree(pool)
            for name, scope, by in _questions():
                ground.say(f"metrics: measuring {name}")
                rows.append(await _question(ground, pool, name, scope, by, many, reads))
    return rows


def _questions() -> list[tuple[str, Scope, Dimension | None]]:
    since = UNTIL - RANGE
    return [
        ("24 hours", Scope(UNTIL - timedelta(hours=24), UNTIL), None),
        ("30 days", Scope(since, UNTIL), None),
        ("30 days, percentiles by agent", Scope(since, UNTIL), "agent"),
        ("30 days of an agent", Scope(since, UNTIL, None, ("agent", "agent-1")), None),
    ]


async def _question(
    ground: Ground, pool: ReadPool, name: str, scope: Scope, by: Dimension | None, many: int, reads: int
) -> Row:
    async def ours() -> float:
        return await _seconds(lambda: metrics(pool, scope, by=by), reads)

    async def plain() -> float:
        return await _seconds(
            lambda: read_one(pool, _PLAIN.encode(), (scope.since, scope.until)), max(1, reads // 5)
        )

    taken = await take_turns(ground.rounds, plain, ours)
    own = [ours for _, ours in taken]
    return row(
        f"metrics, {name}",
        f"an answer at {thousands(many)} experiences, over figures and percentiles alone summed from the rows",
        [ours / base for base, ours in taken],
        goal=Goal("<", GOAL_MS, "ms"),
        judged=quantile(own, 0.5) * 1000,
        figures={
            "answer": milliseconds(quantile(own, 0.5)),
            "from the rows": milliseconds(quantile([base for base, _ in taken], 0.5)),
        },
    )


async def _agree(pool: ReadPool) -> None:
    """What is measured is right. Raises `RuntimeError`."""
    scope = Scope(UNTIL - RANGE, UNTIL)
    found: Metrics = await metrics(pool, scope)
    plain = await read_one(pool, _PLAIN.encode(), (scope.since, scope.until))
    durations = found.durations
    if plain is None or durations is None or found.figures.runs != plain[0]:
        raise RuntimeError("the sums are not those of the rows")
    if [durations.p50_ms, durations.p95_ms, durations.p99_ms] != plain[-1]:
        raise RuntimeError("the percentiles are not those of the rows")


async def _seconds(read: Callable[[], Awaitable[object]], reads: int) -> float:
    """For one answer, the median."""
    seconds: list[float] = []
    for _ in range(reads):
        started = perf_counter()
        await read()
        seconds.append(perf_counter() - started)
    return quantile(seconds, 0.5)


async def _fill(dsn: str, kinds: int, copies: int) -> None:
    dice = Random(1)
    connection: asyncpg.Connection[asyncpg.Record] = await connect(dsn, name="minutebook-bench-metrics")
    try:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute(_KINDS_TABLE)
        await connection.copy_records_to_table("kinds", records=[_kind(dice, n) for n in range(kinds)])
        await connection.execute(_ROWS, UNTIL - RANGE, RANGE, copies, timeout=FILL_SECONDS_MAX)
        for statement in (_SUMS, _DURATIONS):
            await connection.execute(statement, timeout=FILL_SECONDS_MAX)
        for table in ("experiences", "experience_sums", "experience_durations"):  # as autovacuum does
            await connection.execute(f"VACUUM (ANALYZE) {table}", timeout=FILL_SECONDS_MAX)
    finally:
        await connection.close()


def _kind(dice: Random, number: int) -> tuple[object, ...]:
    """Durations from tenths of a second to minutes, most of some seconds."""
    duration_ms = round(dice.lognormvariate(8.5, 1.0))
    skill = f"skill-{number % SKILLS}" if dice.random() < 0.3 else ""
    mode = dice.choice(("react", "react", "direct_chat", "plan_exec", "skill_react"))
    outcome = dice.choices(("success", "failure", "cancelled"), (85, 10, 5))[0]
    where = (f"agent-{dice.randrange(AGENTS)}", skill, mode, f"model-{dice.randrange(MODELS)}")
    department = f"department-{dice.randrange(DEPARTMENTS)}"
    sizes = (dice.randint(1, 12), dice.randint(100, 20_000))
    return (number, *where, department, outcome, duration_ms, bin_of(duration_ms), *sizes)
