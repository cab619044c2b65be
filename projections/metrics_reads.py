"""The queries behind `metrics.py`, all of one answer in one transaction."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from psycopg import AsyncConnection

from projections.experience_sums import (
    ALL,
    DIMENSIONS,
    ERROR,
    FIGURES,
    TOOL,
    TOOL_FIGURES,
    Dimension,
    Grain,
    bin_of,
    middle_of,
)
from projections.experiences import ToolUse
from projections.metrics import (
    GROUPS_MAX,
    HOUR,
    PERCENTILES,
    QUARTER,
    Bucket,
    Cut,
    Durations,
    Figures,
    Group,
    Metrics,
    Moment,
    Scope,
    ToolFigures,
    bucket_of,
    cut,
    parts_of,
)
from projections.reads import ReadPool, read_consistently

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]
_tools = msgspec.json.Decoder(dict[str, ToolUse])


async def metrics(
    pool: ReadPool, scope: Scope, *, by: Dimension | Literal["tool"] | None = None, zone: str = "UTC"
) -> Metrics:
    """As far as the view is. `by`: the groups of this dimension have durations too. `zone` (IANA) is where the
    timeline's days begin. Raises `ViewsUnavailable`."""

    async def read(connection: Connection) -> Metrics:
        return await _Reading(connection, scope).metrics(by, zone)

    return await read_consistently(pool, read)


_OWN = "FILTER (WHERE parent IS NULL)"
_OF_ROWS = {
    "runs": f"count(*) {_OWN}",
    "succeeded": "count(*) FILTER (WHERE parent IS NULL AND outcome = 'success')",
    "failed": "count(*) FILTER (WHERE parent IS NULL AND outcome = 'failure')",
    "cancelled": "count(*) FILTER (WHERE parent IS NULL AND outcome = 'cancelled')",
    "timed": f"count(duration_ms) {_OWN}",
    "duration_ms": f"sum(duration_ms) {_OWN}",
}
_ROW_SUMS = ", ".join(f"coalesce({_OF_ROWS.get(name, f'sum({name})')}, 0) AS {name}" for name in FIGURES)
_TOTALS = ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in FIGURES)
_KINDS = " ".join(f"WHEN grouping({column}) = 0 THEN '{column}'" for column in (*DIMENSIONS, "error_class"))


class _Sql(NamedTuple):
    text: str
    arguments: tuple[object, ...] = ()

    def __and__(self, other: "_Sql") -> "_Sql":
        return _Sql(f"{self.text} AND {other.text}", (*self.arguments, *other.arguments))


def _any(column: str, ranges: Sequence[tuple[datetime, datetime]]) -> _Sql:
    """Within one of these ranges."""
    texts = [f"({column} >= %s AND {column} < %s)" for _ in ranges]
    return _Sql(f"({' OR '.join(texts) or 'false'})", tuple(at for part in ranges for at in part))


def _cells(cut_at: Cut, part: Grain) -> list[_Sql]:
    """The sums of the days and of the parts around them."""
    both: tuple[tuple[Grain, tuple[tuple[datetime, datetime], ...]], ...] = (
        ("day", cut_at.days),
        (part, cut_at.parts),
    )
    return [_Sql("grain = %s", (grain,)) & _any("start", ranges) for grain, ranges in both if ranges]


class _Reading:
    """The queries of one answer, in one transaction."""

    def __init__(self, connection: Connection, scope: Scope) -> None:
        self._connection = connection
        self._scope = scope
        whole = Cut(parts_of((scope.since, scope.until)), (), ())
        by_rows = scope.owner is not None
        self._quarters = whole if by_rows else cut(scope.since, scope.until, QUARTER)
        self._hours = whole if by_rows else cut(scope.since, scope.until, HOUR)

    async def metrics(self, by: str | None, zone: str) -> Metrics:
        sums = await self._sums()
        whole = sums.get((ALL, ""), Figures())
        durations = await self._durations(ALL)
        grouped = await self._durations(by) if by in DIMENSIONS and self._scope.group is None else {}
        timed = await self._tool_durations() if by == TOOL else {}
        groups: dict[str, list[Group]] = {dimension: [] for dimension in DIMENSIONS}
        for (dimension, value), figures in sums.items():
            if dimension in groups and figures != Figures():
                found = grouped.get(value) if dimension == by else None
                groups[dimension].append(Group(value, figures, found))
        for found in groups.values():
            found.sort(key=lambda group: (-group.figures.runs, group.value))
            del found[GROUPS_MAX:]
        return Metrics(
            self._scope.since,
            self._scope.until,
            whole,
            durations.get(""),
            {} if self._scope.group is not None else groups,
            {value: one.failed for (kind, value), one in sums.items() if kind == ERROR and one.failed},
            await self._tools(timed),
            await self._timeline(zone),
        )

    async def _fetch(self, query: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(query.encode(), arguments)).fetchall()

    def _rows_where(self, cut_at: Cut) -> _Sql:
        where = _Sql("outcome IS NOT NULL") & _any("ended_at", cut_at.rows)
        return where & self._whose()

    def _whose(self) -> _Sql:
        """The rows that are asked about, whenever they ended."""
        where = _Sql("true")
        if self._scope.owner is not None:
            where &= _Sql("owner = %s", (self._scope.owner,))
        if self._scope.group is not None:
            dimension, value = self._scope.group
            where &= _Sql(f"{dimension} = %s", (value,))
        if self._scope.position is not None:
            where &= _Sql("position <= %s", (self._scope.position,))
        return where

    def _cells_where(self) -> list[_Sql]:
        """Of the sums by quarters and days."""
        return _cells(self._quarters, "quarter")

    def _bins_where(self) -> list[_Sql]:
        """Of the durations by hours and days."""
        return _cells(self._hours, "hour")

    def _group(self) -> _Sql:
        """The cells of the group that is asked about."""
        return _Sql("dimension = %s AND value = %s", self._scope.group or (ALL, ""))

    async def _sums(self) -> dict[tuple[str, str], Figures]:
        one = self._scope.group is not None
        sets = "()" if one else ", ".join(("()", *(f"({column})" for column in (*DIMENSIONS, "error_class"))))
        kind = f"CASE {_KINDS} ELSE '{ALL}' END" if not one else f"'{ALL}'"
        value = f"coalesce({', '.join((*DIMENSIONS, 'error_class'))}, '')" if not one else "''"
        rows = self._rows_where(self._quarters)
        parts = [
            f"SELECT {kind} AS dimension, {value} AS value, {_ROW_SUMS} FROM experiences WHERE {rows.text} "  # noqa: S608
            f"GROUP BY GROUPING SETS ({sets})"
        ]
        arguments = [*rows.arguments]
        for cells in self._cells_where():
            where = cells & (self._group() if one else _Sql("true"))
            named = f"'{ALL}' AS dimension, '' AS value" if one else "dimension, value"
            parts.append(f"SELECT {named}, {', '.join(FIGURES)} FROM experience_sums WHERE {where.text}")  # noqa: S608
            arguments += where.arguments
        query = f"SELECT dimension, value, {_TOTALS} FROM ({' UNION ALL '.join(parts)}) p GROUP BY 1, 2"  # noqa: S608
        found: dict[tuple[str, str], Figures] = {}
        for dimension, value, *figures in await self._fetch(query, arguments):
            if dimension == "error_class" and not value:
                continue  # those that did not fail
            key = (ERROR if dimension == "error_class" else dimension, value)
            found[key] = _plus(found.get(key), Figures(*figures))
        return found

    async def _durations(self, dimension: str) -> dict[str, Durations]:
        """By the dimension's value; of all runs, or of the group that is asked about, under `""`."""
        whole = dimension == ALL
        rows = self._rows_where(self._hours) & _Sql("parent IS NULL AND duration_bin IS NOT NULL")
        value = "''" if whole else dimension
        timed = f"SELECT {value} AS value, duration_bin AS bin, 1 AS runs FROM experiences WHERE {rows.text}"  # noqa: S608
        parts = [timed]
        arguments = [*rows.arguments]
        for cells in self._bins_where():
            where = cells & (self._group() if whole else _Sql("dimension = %s", (dimension,)))
            value = "''" if whole else "value"
            parts.append(f"SELECT {value}, bin, runs FROM experience_durations WHERE {where.text}")  # noqa: S608
            arguments += where.arguments
        query = f"SELECT value, bin, sum(runs::integer) FROM ({' UNION ALL '.join(parts)}) p GROUP BY 1, 2"  # noqa: S608
        bins: dict[str, list[tuple[int, int]]] = {}
        for value, number, runs in await self._fetch(query, arguments):
            bins.setdefault(value, []).append((number, runs))
        found: dict[str, Durations] = {}
        for value, unsorted in bins.items():
            counts = sorted(unsorted)
            timed = sum(runs for _, runs in counts)
            ranks = [_rank(counts, timed, percentile) for percentile in PERCENTILES]
            if whole:
                found[value] = Durations(timed, *[await self._exact(*rank) for rank in ranks])
            else:  # to be exact for each of many groups would take as many searches
                found[value] = Durations(timed, *[middle_of(number) for number, _ in ranks])
        return found

    async def _exact(self, number: int, behind: int) -> int:
        """The duration that has so many others before it in its bin."""
        where = _Sql(
            "outcome IS NOT NULL AND parent IS NULL AND duration_bin = %s AND ended_at >= %s AND ended_at < %s",
            (number, self._scope.since, self._scope.until),
        )
        where &= self._whose()
        query = (
            f"SELECT duration_ms FROM experiences WHERE {where.text} ORDER BY duration_ms OFFSET %s LIMIT 1"  # noqa: S608
        )
        ((duration_ms,),) = await self._fetch(query, (*where.arguments, behind))
        return int(duration_ms)

    async def _tool_durations(self) -> dict[str, Durations]:
        """To the width of a bin (1.6 % either way): calls have no rows of their own."""
        bins: dict[str, dict[int, int]] = {}
        for cells in self._bins_where():
            where = cells & _Sql("dimension = %s", (TOOL,))
            query = f"SELECT value, bin, sum(runs)::bigint FROM experience_durations WHERE {where.text} GROUP BY 1, 2"  # noqa: S608
            for tool, number, calls in await self._fetch(query, where.arguments):
                counts = bins.setdefault(tool, {})
                counts[number] = counts.get(number, 0) + calls
        for tools in await self._tools_of_rows(self._hours):
            for tool, use in tools.items():
                counts = bins.setdefault(tool, {})
                for ms in use.ms:
                    counts[bin_of(ms)] = counts.get(bin_of(ms), 0) + 1
        found: dict[str, Durations] = {}
        for tool, counts in bins.items():
            timed = sum(counts.values())
            ranks = [_rank(sorted(counts.items()), timed, percentile) for percentile in PERCENTILES]
            if timed:
                found[tool] = Durations(timed, *[middle_of(number) for number, _ in ranks])
        return found

    async def _tools_of_rows(self, cut_at: Cut) -> list[dict[str, ToolUse]]:
        rows = self._rows_where(cut_at) & _Sql("tools::text <> '{}'")
        query = f"SELECT tools::text FROM experiences WHERE {rows.text}"  # noqa: S608
        return [_tools.decode(text) for (text,) in await self._fetch(query, rows.arguments)]

    async def _tools(self, durations: dict[str, Durations]) -> list[ToolFigures]:
        """Those that were called most first. Not kept by group, so none are told of one."""
        if self._scope.group is not None:
            return []
        found: dict[str, list[int]] = {}
        for where in self._cells_where():
            sums = ", ".join(f"sum({name})::bigint" for name in TOOL_FIGURES)
            query = f"SELECT tool, {sums} FROM experience_tools WHERE {where.text} GROUP BY 1"  # noqa: S608
            for tool, *figures in await self._fetch(query, where.arguments):
                _add(found.setdefault(tool, [0] * len(TOOL_FIGURES)), figures)
        for tools in await self._tools_of_rows(self._quarters):
            for tool, use in tools.items():
                figures = (1, use.calls, use.errors, len(use.ms), sum(use.ms))
                _add(found.setdefault(tool, [0] * len(TOOL_FIGURES)), figures)
        told = [ToolFigures(tool, *figures, durations=durations.get(tool)) for tool, figures in found.items()]
        return sorted(told, key=lambda one: (-one.calls, one.tool))[:GROUPS_MAX]

    async def _timeline(self, zone: str) -> list[Moment]:
        """Every hour or day of the range, also those in which nothing ended."""
        scope = self._scope
        bucket = bucket_of(scope)
        named = (*FIGURES[:4], "prompt_tokens", "completion_tokens", "cost_nano_usd")
        of_rows = ", ".join(f"{_OF_ROWS.get(name, f'sum({name})')} AS {name}" for name in named)
        rows = self._rows_where(self._quarters)
        parts = [
            f"SELECT date_trunc('{bucket}', ended_at, %s) AS start, {of_rows} FROM experiences "  # noqa: S608
            f"WHERE {rows.text} GROUP BY 1"
        ]
        arguments: list[object] = [zone, *rows.arguments]
        middle = parts_of(*self._quarters.parts, *self._quarters.days)
        if middle:  # days of a zone are no days of the sums, so everything is read by quarters
            where = (
                _Sql("grain = 'quarter'") & _any("start", ((middle[0][0], middle[-1][1]),)) & self._group()
            )
            parts.append(
                f"SELECT date_trunc('{bucket}', start, %s), {', '.join(named)} FROM experience_sums WHERE {where.text}"  # noqa: S608
            )
            arguments += [zone, *where.arguments]
        summed = "coalesce(sum(runs), 0)::bigint, coalesce(sum(succeeded), 0)::bigint, "
        summed += "coalesce(sum(failed), 0)::bigint, coalesce(sum(cancelled), 0)::bigint, "
        summed += "coalesce(sum(prompt_tokens + completion_tokens), 0)::bigint, coalesce(sum(cost_nano_usd), 0)::bigint"
        query = f"SELECT start, {summed} FROM ({' UNION ALL '.join(parts)}) p GROUP BY 1 ORDER BY 1"  # noqa: S608
        known = {row[0]: Moment(*row) for row in await self._fetch(query, arguments)}
        range_of = (scope.since, zone, scope.until)
        arguments = [zone, *range_of, zone] if bucket == "day" else [*range_of]
        starts = await self._fetch(_STARTS[bucket], arguments)
        return [
            known.get(start, Moment(start, 0, 0, 0, 0, 0, 0)) for (start,) in starts if start < scope.until
        ]


# Days are counted on local time, so that one of 23 or 25 hours is one day; hours go on whatever a clock shows.
_STARTS: dict[Bucket, str] = {
    "day": "SELECT at AT TIME ZONE %s FROM generate_series("
    "date_trunc('day', %s::timestamptz AT TIME ZONE %s), %s::timestamptz AT TIME ZONE %s, '1 day') at ORDER BY at",
    "hour": "SELECT at FROM generate_series("
    "date_trunc('hour', %s::timestamptz, %s), %s::timestamptz, '1 hour') at ORDER BY at",
}


def _rank(counts: Sequence[tuple[int, int]], total: int, percentile: int) -> tuple[int, int]:
    """The bin of the nearest rank (the ⌈p/100 · n⌉-th smallest), and how many of its bin are before it."""
    behind = math.ceil(percentile * total / 100) - 1
    for number, runs in counts:
        if behind < runs:
            return number, behind
        behind -= runs
    return (counts[-1][0], counts[-1][1] - 1) if counts else (0, 0)


def _add(found: list[int], values: Sequence[int]) -> None:
    for index, value in enumerate(values):
        found[index] += value


def _plus(one: Figures | None, other: Figures) -> Figures:
    if one is None:
        return other
    sums = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Figures(*[mine + theirs for mine, theirs in sums])
