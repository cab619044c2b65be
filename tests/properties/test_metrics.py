"""Metrics are what a plain computation over all ended runs gives, for any range, zone, owner and group."""

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import events as ev
from app.core.messages import ModelAnswer, Usage
from projections import experiences
from projections.experience_sums import DIMENSIONS, Dimension, bin_of, middle_of
from projections.metrics import Durations, Figures, Metrics, Scope
from projections.metrics_reads import metrics
from projections.reads import ReadPool
from projections.runner import ProjectionRunner
from tests.support.projected import Book, reads, task, write

FIRST = datetime(2026, 3, 27, tzinfo=UTC)
ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "America/New_York", "Pacific/Chatham")
"""Two of them change their clocks within these days."""
OWNERS = ("ana", "bo")


class Run(msgspec.Struct, frozen=True):
    owner: str
    agent: str
    model: str
    outcome: str
    ended_at: datetime
    duration_ms: int
    tools: tuple[tuple[str, bool, int], ...]
    child: bool


def a_moment(dice: Random) -> datetime:
    """Often one at which sums are cut."""
    if dice.random() < 0.4:
        return FIRST + timedelta(minutes=15 * dice.randint(0, 4 * 96))
    return FIRST + timedelta(microseconds=dice.randint(0, 4 * 86_400_000_000))


def a_run(dice: Random) -> Run:
    calls = [
        (dice.choice("fg"), dice.random() < 0.3, dice.randint(0, 5_000)) for _ in range(dice.randint(0, 3))
    ]
    return Run(
        dice.choice(OWNERS),
        dice.choice(("assistant", "clerk")),
        dice.choice(("m1", "m2")),
        dice.choice(("success", "success", "failure", "cancelled")),
        a_moment(dice),
        dice.choice((dice.randint(0, 300), dice.randint(0, 10**7))),
        tuple(calls),
        dice.random() < 0.25,
    )


def recorded(runs: list[Run], *, after: int) -> Book:
    """Their events. Only the end has the time of the end."""
    book = Book(after=after)
    for run in runs:
        number = after + len(book.recorded)
        stream, task_id = f"conversation/{run.owner}/{number}", task(1_000_000 + number)
        parent = str(task(number)) if run.child else None
        request = ev.RunRequested("m", "hello", run.agent, "react", 1, parent=parent)
        book.add(request, task_id, stream)
        book.add(ev.ModelAnswered(1, "k", ModelAnswer(run.model, "hi"), cost_usd=0.001), task_id, stream)
        for name, failed, ms in run.tools:
            book.add(
                ev.ToolReturned(2, "k", "c", name, "x", "broken" if failed else None, ms), task_id, stream
            )
        totals = (2, len(run.tools), Usage(10, 3), run.duration_ms)
        end: ev.Event
        match run.outcome:
            case "success":
                end = ev.RunCompleted(*totals)
            case "failure":
                end = ev.RunFailed("broken", "it broke", *totals)
            case _:
                end = ev.RunCancelled("user:ana", "", *totals)
        ended = book.add(end, task_id, stream)
        book.recorded[-1] = msgspec.structs.replace(ended, recorded_at=run.ended_at)
    return book


def plain(runs: list[Run]) -> Figures:
    own = [run for run in runs if not run.child]
    return Figures(
        runs=len(own),
        succeeded=sum(run.outcome == "success" for run in own),
        failed=sum(run.outcome == "failure" for run in own),
        cancelled=sum(run.outcome == "cancelled" for run in own),
        timed=len(own),
        duration_ms=sum(run.duration_ms for run in own),
        steps=2 * len(runs),
        tool_calls=sum(len(run.tools) for run in runs),
        prompt_tokens=10 * len(runs),
        completion_tokens=3 * len(runs),
        cost_nano_usd=1_000_000 * len(runs),
    )


def nearest_rank(values: list[int], percentile: int) -> int:
    return sorted(values)[math.ceil(percentile * len(values) / 100) - 1]


def durations(values: list[int]) -> Durations | None:
    if not values:
        return None
    return Durations(len(values), *(nearest_rank(values, percentile) for percentile in (50, 95, 99)))


def binned(found: Durations | None) -> Durations | None:
    """As groups have them."""
    if found is None:
        return None
    percentiles = (found.p50_ms, found.p95_ms, found.p99_ms)
    return Durations(found.timed, *[middle_of(bin_of(ms)) for ms in percentiles])


def check(found: Metrics, runs: list[Run], zone: str) -> None:
    own = [run for run in runs if not run.child]
    assert found.figures == plain(runs)
    assert found.durations == durations([run.duration_ms for run in own])
    bars = defaultdict[datetime, int](int)
    for run in own:
        local = run.ended_at.astimezone(ZoneInfo(zone))
        if found.until - found.since > timedelta(hours=48):
            bars[local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)] += 1
        else:
            past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
            bars[run.ended_at - past] += 1
    assert {bar.start: bar.runs for bar in found.timeline if bar.runs} == bars
    assert [bar.start for bar in found.timeline] == sorted({bar.start for bar in found.timeline})
    if found.since < found.until:
        assert found.timeline[0].start <= found.since


@pytest.mark.parametrize("seed", range(3))
async def test_metrics_are_a_plain_sum(dsn: str, seed: int) -> None:
    dice, known = Random(seed), list[Run]()
    runner = ProjectionRunner(dsn, [experiences.PROJECTION], page_events=13)
    async with reads(dsn) as pool:
        for _ in range(3):  # late ones too: each lot ends anywhere in these days
            runs = [a_run(dice) for _ in range(dice.randint(10, 40))]
            (status,) = runner.run_to_end()
            write(dsn, recorded(runs, after=status.position).recorded)
            known += runs
            (status,) = runner.run_to_end()
            assert (status.behind, status.stopped) == (0, None)
            for _ in range(12):
                since, until = sorted((a_moment(dice), a_moment(dice)))
                await ask(pool, dice, known, Scope(since, until, dice.choice((None, *OWNERS))))


async def ask(pool: ReadPool, dice: Random, known: list[Run], scope: Scope) -> None:
    within = [
        run for run in known if scope.since <= run.ended_at < scope.until and scope.owner in (None, run.owner)
    ]
    by: Dimension | None = dice.choice((None, "agent", "model"))
    zone = dice.choice(ZONES)
    found = await metrics(pool, scope, by=by, zone=zone)
    check(found, within, zone)
    for dimension in ("agent", "model"):
        for group in found.groups[dimension]:
            of_group = [run for run in within if getattr(run, dimension) == group.value]
            assert group.figures == plain(of_group)
            times = [run.duration_ms for run in of_group if not run.child]
            assert group.durations == (binned(durations(times)) if by == dimension else None)
    failed = found.figures.failed
    assert found.errors == ({"broken": failed} if failed else {})
    assert {one.tool: (one.calls, one.errors, one.ms) for one in found.tools} == plain_tools(within)
    agent = dice.choice(("assistant", "clerk", "nobody"))
    of_agent = await metrics(pool, scope._replace(group=("agent", agent)), zone=zone)
    check(of_agent, [run for run in within if run.agent == agent], zone)


def plain_tools(runs: list[Run]) -> dict[str, tuple[int, int, int]]:
    calls = [call for run in runs for call in run.tools]
    by_name = {name: [call for call in calls if call[0] == name] for name in {call[0] for call in calls}}
    return {
        name: (len(mine), sum(call[1] for call in mine), sum(call[2] for call in mine))
        for name, mine in by_name.items()
    }


@given(duration_ms=st.integers(0, 2**53))
def test_the_middle_of_a_bin_is_within_a_sixty_fourth(duration_ms: int) -> None:
    middle = middle_of(bin_of(duration_ms))
    assert bin_of(middle) == bin_of(duration_ms)
    assert abs(middle - duration_ms) * 64 <= max(duration_ms, 0)
    assert bin_of(duration_ms) <= bin_of(duration_ms + 1)


def test_every_dimension_is_a_field_of_the_row() -> None:
    assert set(DIMENSIONS) <= set(experiences.Experience.__struct_fields__)
