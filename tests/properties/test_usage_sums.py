"""Whatever was used when: what the view says of an hour, a day and a month is what a plain computation says."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core import events as ev
from app.core.messages import ModelAnswer, Usage
from app.core.quotas import Tally, Used
from projections import usage
from projections.runner import ProjectionRunner
from tests.support.projected import Book, reads, requested, task, write

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# Many near the ends of hours, days and months, where it matters.
_edges = st.sampled_from([0, 60, 12 * 60, 12 * 60 + 1, 24 * 60, 13 * 24 * 60, 40 * 24 * 60])
_minutes = st.integers(0, 50 * 24 * 60) | st.builds(
    lambda edge, by: max(0, edge + by), _edges, st.integers(-2, 2)
)
_uses = st.tuples(
    st.sampled_from(["request", "answer", "attempt"]),
    st.booleans(),
    _minutes,
    st.integers(0, 5_000),
    st.integers(0, 9_999).map(lambda hundredths: hundredths / 10_000),
)


def event_of(kind: str, bound: bool, tokens: int, cost: float, department: str) -> ev.Event:
    charged = {"charged_to": department if bound else "", "bound": bound}
    match kind:
        case "request":
            return requested(**charged)
        case "answer":
            answer = ModelAnswer("m", "", usage=Usage(tokens, 1))
            return ev.ModelAnswered(1, "k", answer, cost_usd=cost, **charged)
        case _:
            return ev.ModelAttemptFailed(
                1, "k", 1, "main", "m", "e", "", 0, Usage(tokens, 1), cost, **charged
            )


def plain(uses: list[tuple[str, bool, int, int, float]], at: datetime, prefix: int) -> Used:
    """Times as text: the hour is its first 13 characters, the day 10, the month 7."""
    since = at.isoformat()[:prefix]
    counted = [
        (kind, tokens, cost)
        for kind, bound, minutes, tokens, cost in uses
        if bound and (NOON - timedelta(minutes=minutes)).isoformat()[:prefix] >= since
    ]
    calls = [(tokens, cost) for kind, tokens, cost in counted if kind != "request"]
    cost_usd = float(sum((Decimal(str(cost)) for _, cost in calls), Decimal(0)))
    return Used(len(counted) - len(calls), sum(tokens + 1 for tokens, _ in calls), cost_usd)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uses=st.lists(_uses, max_size=30), before=_minutes)
def test_sums_are_those_of_a_plain_computation(
    dsn: str, uses: list[tuple[str, bool, int, int, float]], before: int
) -> None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT position FROM partitions").fetchone()
    assert row is not None
    book, name = Book(after=row[0]), f"n{row[0]}"
    for kind, bound, minutes, tokens, cost in uses:
        event = event_of(kind, bound, tokens, cost, name)
        recorded = book.add(event, task(1), f"conversation/{name}/c{row[0]}")
        book.recorded[-1] = msgspec.structs.replace(recorded, recorded_at=NOON - timedelta(minutes=minutes))
    write(dsn, book.recorded)
    ProjectionRunner(dsn, [usage.BY_DEPARTMENT, usage.BY_USER], page_events=7).run_to_end()
    at = NOON - timedelta(minutes=before)

    async def tallies() -> list[Tally]:
        async with reads(dsn) as pool:
            return [
                await usage.tally(pool, "department", name, at=at),
                await usage.tally(pool, "user", name, at=at),
            ]

    expected = Tally(at, plain(uses, at, 13), plain(uses, at, 10), plain(uses, at, 7))
    assert asyncio.run(tallies()) == [expected, expected]
