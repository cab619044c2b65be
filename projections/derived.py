"""Tables that a projection keeps beside its own, from how its rows change: sums over them, and what they were.

They are written in the transaction of the rows, so they have the projection's checkpoint, are built, swapped in and
checked with it, and hold whatever pages the log is cut into: a row adds what it is now less what it was before.
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

    added: dict[str, dict[Key, list[Sums]]] = {}
    past: dict[Key, dict[int, Any]] = {}
    erased: dict[Key, None] = {}

    def note(self, tallies: tuple[Tally, ...], before: Any | None, after: Any | None) -> None:
        """A row has changed, in one step or several: what it was in between takes back what it added."""
        if after is before:
            return
        for tally in tallies:
            plus = NOTHING if after is None else tally.adds(after)
            minus = NOTHING if before is None else tally.adds(before)
            if plus == minus:
                continue
            found = self.added.setdefault(tally.name, {})
            for key, values in plus.items():
                found.setdefault(key, []).append(values)
            for key, values in minus.items():
                found.setdefault(key, []).append(tuple(-value for value in values))

    def sums(self, tally: Tally) -> dict[Key, Sums]:
        """What is added under each key that something changes for."""
        found = self.added.get(tally.name, {})
        # Added up at the end, column by column: many rows of a page are counted under the same few keys.
        totals = {key: tuple(map(sum, zip(*parts, strict=True))) for key, parts in found.items()}
        return {key: total for key, total in totals.items() if any(total)}

    def remember(
        self, history: History, key: Key, before: Any, after: Any | None, recorded: Recorded
    ) -> None:
        """The row `before` this event, if it is to be kept."""
        if after is None:
            self.past.pop(key, None)
            self.erased[key] = None
        elif history.at(before) // history.every != recorded.offset // history.every:
            self.past.setdefault(key, {})[recorded.offset - 1] = before


def history_ddl(table: str, name: str, key: tuple[str, ...]) -> str:
    """The table of a history beside `table`, with key columns of the same types."""
    columns = ", ".join((*key, "until"))
    return (
        f"CREATE TABLE IF NOT EXISTS {name} AS SELECT {', '.join(key)}, 0::bigint AS until, NULL::json AS row "  # noqa: S608
        f"FROM {table} WITH NO DATA;\n"
        f"ALTER TABLE {name} ADD PRIMARY KEY ({columns}), ALTER COLUMN row SET NOT NULL;"
    )
