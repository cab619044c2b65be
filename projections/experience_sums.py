"""Experiences added up by day (UTC) and by a part of it, for metrics over any range of time.

    since ─┬─ rows ─┬─ parts ─┬──────── days ────────┬─ parts ─┬─ rows ─┬─ until      (`metrics_reads.py` reads so)

Figures are kept by quarters of an hour, because every time zone in use is a multiple of them away from UTC; so days of
any zone are sums of quarters. Durations are kept by hours: of a quarter there would be as many bins as runs.
Each sum stands under `all` and under each dimension's value; figures of several dimensions at once are not kept.

Durations are counted in bins of 1/32 of a power of two (1.6-3.1 % wide; the scheme of HdrHistogram, G. Tene). The bin
tells in which rows an exact percentile has to be looked for.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from projections.derived import NOTHING, Key, Sums, Tally

if TYPE_CHECKING:
    from projections.experiences import Experience

Grain = Literal["quarter", "hour", "day"]
Dimension = Literal["agent", "skill", "mode", "model", "department", "task_type"]
DIMENSIONS: tuple[Dimension, ...] = ("agent", "skill", "mode", "model", "department", "task_type")
ALL, TOOL, ERROR = "all", "tool", "error"
BINS_PER_OCTAVE = 32
FIGURES = (
    "runs",
    "succeeded",
    "failed",
    "cancelled",
    "timed",
    "duration_ms",
    "steps",
    "tool_calls",
    "prompt_tokens",
    "completion_tokens",
    "cost_nano_usd",
    "fallbacks",
    "attempts_failed",
    "confirmations_asked",
    "confirmations_answered",
    "questions_asked",
    "questions_answered",
    "effects_unknown",
)
TOOL_FIGURES = ("runs", "calls", "errors", "timed", "ms")


def bin_of(duration_ms: int) -> int:
    """The bin of a duration ≥ 0. Below 64 ms each has its own."""
    if duration_ms < BINS_PER_OCTAVE:
        return duration_ms
    octave = duration_ms.bit_length() - 6  # 0 for 32..63
    return BINS_PER_OCTAVE * (octave + 1) + (duration_ms >> octave) - BINS_PER_OCTAVE


def middle_of(number: int) -> int:
    """The duration in the middle of a bin, in milliseconds: what is told where rows cannot be asked."""
    if number < BINS_PER_OCTAVE:
        return number
    octave, step = divmod(number - BINS_PER_OCTAVE, BINS_PER_OCTAVE)
    width = 1 << octave
    return (BINS_PER_OCTAVE + step) * width + (width - 1) // 2


def quarter_and_day(ended_at: datetime) -> tuple[tuple[Grain, datetime], ...]:
    """In which this is."""
    at = ended_at.astimezone(UTC).replace(second=0, microsecond=0)
    return ("quarter", at.replace(minute=at.minute - at.minute % 15)), ("day", at.replace(hour=0, minute=0))


def hour_and_day(ended_at: datetime) -> tuple[tuple[Grain, datetime], ...]:
    """In which this is."""
    at = ended_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return ("hour", at), ("day", at.replace(hour=0))


def groups_of(row: "Experience") -> list[tuple[str, str]]:
    """Under which dimensions and values a row is counted."""
    return [(ALL, ""), *((dimension, getattr(row, dimension)) for dimension in DIMENSIONS)]


def figures_of(row: "Experience") -> Sums:
    """What an ended row adds to the figures. Tasks that another one started are no runs of their own, but what they
    used counts."""
    own = row.parent is None
    return (
        int(own),
        int(own and row.outcome == "success"),
        int(own and row.outcome == "failure"),
        int(own and row.outcome == "cancelled"),
        int(own and row.duration_ms is not None),
        (row.duration_ms or 0) if own else 0,
        row.steps,
        row.tool_calls,
        row.prompt_tokens,
        row.completion_tokens,
        row.cost_nano_usd or 0,
        row.fallbacks,
        row.attempts_failed,
        row.confirmations_asked,
        row.confirmations_answered,
        row.questions_asked,
        row.questions_answered,
        row.effects_unknown,
    )


def sums_added(row: "Experience") -> Mapping[Key, Sums]:
    if row.outcome is None or row.ended_at is None:
        return NOTHING
    figures = figures_of(row)
    groups = groups_of(row)
    if row.error_class:
        groups.append((ERROR, row.error_class))
    return {
        (*start, *group, row.partition): figures
        for start in quarter_and_day(row.ended_at)
        for group in groups
    }


def duration_key(start: tuple[Grain, datetime], group: tuple[str, str], number: int, partition: int) -> Key:
    (grain, at), (dimension, value) = start, group
    return grain, dimension, at, value, number, partition


def durations_added(row: "Experience") -> Mapping[Key, Sums]:
    if row.outcome is None or row.ended_at is None:
        return NOTHING
    found: dict[Key, Sums] = {}
    both = hour_and_day(row.ended_at)
    if row.duration_bin is not None and row.parent is None:
        for start in both:
            for group in groups_of(row):
                found[duration_key(start, group, row.duration_bin, row.partition)] = (1,)
    for tool, use in row.tools.items():
        for ms in use.ms:
            for start in both:
                key = duration_key(start, (TOOL, tool), bin_of(ms), row.partition)
                found[key] = (found.get(key, (0,))[0] + 1,)
    return found


def tools_added(row: "Experience") -> Mapping[Key, Sums]:
    if row.outcome is None or row.ended_at is None or not row.tools:
        return NOTHING
    return {
        (*start, tool, row.partition): (1, use.calls, use.errors, len(use.ms), sum(use.ms))
        for start in quarter_and_day(row.ended_at)
        for tool, use in row.tools.items()
    }


def _table(name: str, columns: str, order: str, sums: tuple[str, ...]) -> str:
    added = "".join(f"    {column} bigint NOT NULL,\n" for column in sums)
    return f"""
CREATE TABLE IF NOT EXISTS {name} (
    grain text NOT NULL,
    start timestamptz NOT NULL,
{columns}    partition integer NOT NULL,
{added}    PRIMARY KEY (grain, {order}, partition)
) WITH (fillfactor = 70);
"""


_GROUP = "    dimension text NOT NULL,\n    value text NOT NULL,\n"

_TIMELINE = """
CREATE INDEX IF NOT EXISTS experience_sums_timeline ON experience_sums (dimension, value, start)
    WHERE grain = 'quarter';
"""

SUMS = Tally(
    name="experience_sums",
    ddl=_table("experience_sums", _GROUP, "start, dimension, value", FIGURES) + _TIMELINE,
    key=("grain", "start", "dimension", "value", "partition"),
    sums=FIGURES,
    adds=sums_added,
)
DURATIONS = Tally(
    name="experience_durations",
    ddl=_table(
        "experience_durations",
        _GROUP + "    bin integer NOT NULL,\n",
        "dimension, start, value, bin",
        ("runs",),
    ),
    key=("grain", "dimension", "start", "value", "bin", "partition"),
    sums=("runs",),
    adds=durations_added,
)
TOOLS = Tally(
    name="experience_tools",
    ddl=_table("experience_tools", "    tool text NOT NULL,\n", "start, tool", TOOL_FIGURES),
    key=("grain", "start", "tool", "partition"),
    sums=TOOL_FIGURES,
    adds=tools_added,
)
