"""Tables that a projection keeps beside its own, from how its rows change: sums over them, and what they were.

They are written in the transaction of the rows, so they have the projection's checkpoint, are built, swapped in and
checked with it, and hold whatever pages the log is cut into: each event's change counts by itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from app.core.envelope import Recorded

Key: TypeAlias = tuple[Any, ...]
Sums: TypeAlias = tuple[int, ...]
NOTHING: Mapping[Key, Sums] = {}


class Tally(msgspec.Struct, frozen=True, eq=False):
    """Sums over a projection's rows. `adds(row)` says what a row adds to which sums; the table's columns are `key` and
    `sums` (bigint). A row that changes takes back what it added before; one that is deleted with its scope (`forgets`)
    does not: what has happened stays counted.
    """

    name: str
    ddl: str
    key: tuple[str, ...]
    sums: tuple[str, ...]
    adds: Callable[[Any], Mapping[Key, Sums]]


class History(msgspec.Struct, frozen=True, eq=False):
    """What a projection's rows were: a row as it stood when an event of a later stretch of `every` offsets changed it.

    Columns: those of the projection's key, `until` (the last offset at which it was so) and `row` (JSON). `at` gives
    the offset of a row's last change. A row that is deleted takes its history along.
    """

    name: str
    every: int
    at: Callable[[Any], int]


class Derived(msgspec.Struct):
    """What a page adds: to sums by tally, to the history by key and `until`. `erased` histories go first."""

    sums: dict[str, dict[Key, list[int]]] = {}
    past: dict[Key, dict[int, Any]] = {}
    erased: dict[Key, None] = {}

    def note(self, tallies: tuple[Tally, ...], before: Any | None, after: Any | None) -> None:
        """A row has changed."""
        for tally in tallies:
            plus = NOTHING if after is None else tally.adds(after)
            minus = NOTHING if before is None else tally.adds(before)
            if plus == minus:
                continue
            found = self.sums.setdefault(tally.name, {})
            for key, values in plus.items():
                _add(found.setdefault(key, [0] * len(values)), values, 1)
            for key, values in minus.items():
                _add(found.setdefault(key, [0] * len(values)), values, -1)

    def remember(
        self, history: History, key: Key, before: Any, after: Any | None, recorded: Recorded
    ) -> None:
        """The row `before` this event, if it is to be kept."""
        if after is None:
            self.past.pop(key, None)
            self.erased[key] = None
        elif history.at(before) // history.every != recorded.offset // history.every:
            self.past.setdefault(key, {})[recorded.offset - 1] = before


def _add(found: list[int], values: Sums, sign: int) -> None:
    for index, value in enumerate(values):
        found[index] += sign * value


def history_ddl(table: str, name: str, key: tuple[str, ...]) -> str:
    """The table of a history beside `table`, with key columns of the same types."""
    columns = ", ".join((*key, "until"))
    return (
        f"CREATE TABLE IF NOT EXISTS {name} AS SELECT {', '.join(key)}, 0::bigint AS until, NULL::json AS row "  # noqa: S608
        f"FROM {table} WITH NO DATA;\n"
        f"ALTER TABLE {name} ADD PRIMARY KEY ({columns}), ALTER COLUMN row SET NOT NULL;"
    )
