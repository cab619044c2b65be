"""Metrics of ended runs over any range of time, exactly: sums of days and parts of days in the middle, rows at the
edges (`experience_sums.py`; read by `metrics_reads.py`). One owner's are summed from the rows alone.

Under a group (`agent = x`) figures, durations and timeline are that group's; nothing else is kept of it.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from projections.experience_sums import Dimension

QUARTER, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
HOURLY_RANGE_MAX = timedelta(hours=48)
"""Timelines of longer ranges are by day."""
PERCENTILES = (50, 95, 99)
GROUPS_MAX = 200
"""Of one dimension, those with the most runs."""
Bucket = Literal["hour", "day"]


class Figures(msgspec.Struct, frozen=True):
    """Sums over ended runs. `runs` and their outcomes and durations are of tasks that people gave; what these started
    (operations, members of teams) adds its steps, tool calls, tokens and cost. `timed` runs took `duration_ms`
    altogether; imported conversations are not timed. Cost is in billionths of a US dollar."""

    runs: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    timed: int = 0
    duration_ms: int = 0
    steps: int = 0
    tool_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano_usd: int = 0
    fallbacks: int = 0
    attempts_failed: int = 0
    confirmations_asked: int = 0
    confirmations_answered: int = 0
    questions_asked: int = 0
    questions_answered: int = 0
    effects_unknown: int = 0

    @property
    def success_rate(self) -> float | None:
        """Of the runs that ended by themselves (1.0: all succeeded); a cancelled one is neither. None: none did."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


class Durations(msgspec.Struct, frozen=True):
    """Nearest-rank percentiles, in milliseconds: the smallest duration that at least so many of the runs did not
    exceed. Exact of the whole that is asked about; of its groups and of tools to the width of a bin (1.6 % either way).
    """

    timed: int
    p50_ms: int
    p95_ms: int
    p99_ms: int


class Group(msgspec.Struct, frozen=True):
    value: str
    figures: Figures
    durations: Durations | None = None


class ToolFigures(msgspec.Struct, frozen=True):
    """`timed` calls took `ms` altogether; those of imported conversations are not timed."""

    tool: str
    runs: int
    calls: int
    errors: int
    timed: int
    ms: int
    durations: Durations | None = None


class Moment(msgspec.Struct, frozen=True):
    """A bar of the timeline: what ended in the hour or day that begins at `start`."""

    start: datetime
    runs: int
    succeeded: int
    failed: int
    cancelled: int
    tokens: int
    cost_nano_usd: int


class Metrics(msgspec.Struct, frozen=True):
    """`groups` by dimension; `errors`: failed runs by error class. Groups and tools have durations only where asked."""

    since: datetime
    until: datetime
    figures: Figures
    durations: Durations | None
    groups: dict[str, list[Group]]
    errors: dict[str, int]
    tools: list[ToolFigures]
    timeline: list[Moment]


class Scope(NamedTuple):
    """What is asked about: ended at or behind `since` and before `until`; of one owner; of one group; up to a position
    of the log, which `until` must not be behind (where the log has one partition)."""

    since: datetime
    until: datetime
    owner: str | None = None
    group: tuple[Dimension, str] | None = None
    position: int | None = None


class Cut(NamedTuple):
    """A range cut at days and parts of them: `days` in the middle, `parts` around them, rows for the rest."""

    rows: tuple[tuple[datetime, datetime], ...]
    parts: tuple[tuple[datetime, datetime], ...]
    days: tuple[tuple[datetime, datetime], ...]


def cut(since: datetime, until: datetime, part: timedelta) -> Cut:
    """`part` is a quarter of an hour, or an hour. What is empty is left out."""
    first, last = _up(since, part), _down(until, part)
    if first >= last:
        return Cut(parts_of((since, until)), (), ())
    begin, end = _up(first, DAY), _down(last, DAY)
    if begin >= end:
        return Cut(parts_of((since, first), (last, until)), parts_of((first, last)), ())
    return Cut(
        parts_of((since, first), (last, until)), parts_of((first, begin), (end, last)), ((begin, end),)
    )


def parts_of(*parts: tuple[datetime, datetime]) -> tuple[tuple[datetime, datetime], ...]:
    """Those that are not empty, in their order."""
    return tuple(sorted(part for part in parts if part[0] < part[1]))


def _down(at: datetime, step: timedelta) -> datetime:
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (at - midnight) // step * step


def _up(at: datetime, step: timedelta) -> datetime:
    down = _down(at, step)
    return down if down == at else down + step


def bucket_of(scope: Scope) -> Bucket:
    """What a bar of the timeline is."""
    return "hour" if scope.until - scope.since <= HOURLY_RANGE_MAX else "day"
