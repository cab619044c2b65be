"""What a benchmark finds out: ratios of pairs that were measured one right after the other."""

import math
import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import msgspec

Figure = TypeVar("Figure")


class Goal(msgspec.Struct, frozen=True):
    """What is asked of a row: of its ratio, or where `unit` is set, of the figure that the row names itself."""

    relation: Literal["≥", "≤", "<"]
    limit: float
    unit: str = ""

    def met_by(self, value: float) -> bool:
        match self.relation:
            case "≥":
                return value >= self.limit
            case "≤":
                return value <= self.limit
            case "<":
                return value < self.limit

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g}{' ' + self.unit if self.unit else ''}"


class Row(msgspec.Struct, frozen=True):
    """One line of the table. `ratio` is the median over the rounds, `low` and `high` their least and greatest."""

    name: str
    what: str
    ratio: float
    low: float
    high: float
    rounds: int
    goal: str = ""
    met: bool | None = None
    figures: dict[str, str] = {}


def row(
    name: str,
    what: str,
    ratios: Sequence[float],
    *,
    goal: Goal | None = None,
    judged: float | None = None,
    figures: dict[str, str] | None = None,
) -> Row:
    """A row from the ratios of the rounds. `judged`: the goal is about this figure, not about the ratio."""
    ratio = statistics.median(ratios)
    return Row(
        name,
        what,
        ratio,
        min(ratios),
        max(ratios),
        len(ratios),
        str(goal) if goal else "",
        goal.met_by(ratio if judged is None else judged) if goal else None,
        figures or {},
    )


def quantile(values: Sequence[float], fraction: float) -> float:
    """The value that at least this fraction of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(round(len(ordered) * fraction, 6)) - 1)]


async def take_turns(rounds: int, *sides: Callable[[], Awaitable[Figure]]) -> list[tuple[Figure, ...]]:
    """Each round runs every side once; who goes first changes, so that drift hits all of them alike."""
    found: list[tuple[Figure, ...]] = []
    for number in range(rounds):
        results: dict[int, Figure] = {}
        for step in range(len(sides)):
            side = (number + step) % len(sides)
            results[side] = await sides[side]()
        found.append(tuple(results[side] for side in range(len(sides))))
    return found


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1_000:.2f} ms"


def per_second(rate: float) -> str:
    return f"{thousands(round(rate))}/s"


def thousands(count: int) -> str:
    """For example `100 000`."""
    return f"{count:,}".replace(",", " ")
