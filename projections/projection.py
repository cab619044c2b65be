"""What a projection is: a row, the table it lies in, and a pure function that folds an event into it.

A projection stands in one file of this package: row type, DDL, `key_of`, `apply` and the read queries; one line in
`projections/__init__.py` makes it run. Nothing here reads or writes: `runner.py` does, with the SQL of `tables.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from app.core import streams
from app.core.envelope import Recorded
from app.core.events import Event
from projections.derived import Derived, History, Tally, history_ddl

Row = TypeVar("Row", bound=msgspec.Struct)
Key: TypeAlias = tuple[Any, ...]
Case: TypeAlias = Callable[[Any, Recorded, Any], Any]
"""`apply` for events of one type, as tables of cases hold it. A table is looked up by `type(event)`: `isinstance` of a
msgspec class that it is not takes longer than the rest of a case, and `match` asks for one after the other."""
REASON_CHARS_MAX = 500


class Projection(msgspec.Struct, Generic[Row], frozen=True, eq=False):
    """One view of the log. The row's fields are the table's columns, by name.

    `ddl` makes the table and its indexes where they do not exist. `key_of` gives the key (in the order of
    `key`) of the row that an event touches, None if it touches none. `apply` returns the new row, None to
    delete it. For an event of `begins` it must not look at the old row, which then need not be loaded. An
    event of `forgets` deletes the rows whose `scope` columns have the values of `scope_of` instead.
    `tallies` and `history` are tables kept beside it (`derived.py`).
    A change of any of these needs a new `version`: the tables are then dropped and folded anew.
    """

    name: str
    version: int
    row: type[Row]
    ddl: str
    key: tuple[str, ...]
    handles: frozenset[str]
    key_of: Callable[[Recorded, Event], Key | None]
    apply: Callable[[Row | None, Recorded, Event], Row | None]
    begins: frozenset[str] = frozenset()
    forgets: frozenset[str] = frozenset()
    scope: tuple[str, ...] = ()
    scope_of: Callable[[Recorded], Key | None] = lambda recorded: None
    tallies: tuple[Tally, ...] = ()
    history: History | None = None

    @property
    def tables(self) -> tuple[tuple[str, Key], ...]:
        """All of its tables, its own first, each with the columns of its key."""
        found: list[tuple[str, Key]] = [(self.name, self.key)]
        found += [(tally.name, tally.key) for tally in self.tallies]
        if self.history is not None:
            found.append((self.history.name, (*self.key, "until")))
        return tuple(found)

    @property
    def all_ddl(self) -> str:
        """Makes all of its tables where there are none."""
        parts = [self.ddl, *(tally.ddl for tally in self.tallies)]
        if self.history is not None:
            parts.append(history_ddl(self.name, self.history.name, self.key))
        return "\n".join(parts)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.row.__struct_fields__

    def key_of_row(self, row: Row) -> Key:
        return tuple(getattr(row, column) for column in self.key)

    def in_scope(self, row: Row, values: Key) -> bool:
        return all(getattr(row, column) == value for column, value in zip(self.scope, values, strict=True))


AnyProjection: TypeAlias = Projection[Any]


class Damaged(msgspec.Struct, frozen=True):
    """An event whose payload cannot be decoded."""

    reason: str


class Poison(msgspec.Struct, frozen=True):
    """The event that a projection cannot get past. It stays stopped there until its process is started again."""

    position: int
    type: str
    reason: str


Entry: TypeAlias = tuple[Recorded, Event | Damaged]
"""An event that somebody handles. A tuple, because there are many of them."""


class Page(msgspec.Struct, frozen=True):
    """Part of the log: what is behind position `start` up to position `end`, of which `entries` are handled. No other
    types are among them than `types`."""

    start: int
    end: int
    entries: Sequence[Entry]
    types: frozenset[str]


def halve(page: Page) -> tuple[Page, Page] | None:
    """The page in two parts; None if it has one handled event, or none."""
    if len(page.entries) < 2:
        return None
    middle = len(page.entries) // 2
    seam = page.entries[middle][0].position - 1
    first, second = page.entries[:middle], page.entries[middle:]
    return Page(page.start, seam, first, page.types), Page(seam, page.end, second, page.types)


class Touched(msgspec.Struct):
    """What of a page concerns one projection, by row, up to the first event that cannot be used.

    A scope that is forgotten stands in every row's list at its place. `needed` are rows whose stored state counts.
    """

    events: dict[Key, list[tuple[Recorded, Event]]]
    forgotten: dict[Key, None]
    needed: list[Key]
    poison: Poison | None = None


class Fold(msgspec.Struct):
    """The outcome of folding a page. `rows` holds the touched rows only; None means that the row is gone.

    The rows of `forgotten` scopes have to be deleted before `rows` are written.
    """

    rows: dict[Key, Any]
    forgotten: dict[Key, None]
    poison: Poison | None = None
    derived: Derived = msgspec.field(default_factory=lambda: Derived())


def touched_by(projection: AnyProjection, entries: Iterable[Entry]) -> Touched:
    """Which rows these events touch, and which of them have to be known for that."""
    found = Touched({}, {}, [])
    events, key_of = found.events, projection.key_of
    handles, begins, forgets = projection.handles, projection.begins, projection.forgets
    deletions: list[tuple[Recorded, Event]] = []
    for recorded, event in entries:
        kind = recorded.type
        if kind not in handles:
            continue
        if isinstance(event, Damaged):
            found.poison = poison_of(recorded, event.reason)
            break
        try:
            key = projection.scope_of(recorded) if kind in forgets else key_of(recorded, event)
        except Exception as error:
            found.poison = poison_of(recorded, describe(error))
            break
        if key is None:
            continue
        if kind in forgets:
            found.forgotten[key] = None
            deletions.append((recorded, event))
            for known in events.values():
                known.append((recorded, event))
            continue
        known = events.get(key)
        if known is None:
            events[key] = [*deletions, (recorded, event)]
            if kind not in begins:
                found.needed.append(key)
        else:
            known.append((recorded, event))
    return found


def fold(
    projection: AnyProjection, stored: dict[Key, Any], entries: Sequence[Entry], touched: Touched
) -> Fold:
    """Apply events in their order. `stored` has to hold those of the needed rows that exist.

    `stored` may hold more: rows that were seen before. Of these only the needed ones are looked at.
    """
    rows: dict[Key, Any] = {}
    apply, begins, forgets, scope_of = (
        projection.apply,
        projection.begins,
        projection.forgets,
        projection.scope_of,
    )
    tallies, history = projection.tallies, projection.history
    needed = frozenset(touched.needed)
    derived = Derived()
    for key, events in touched.events.items():
        row = stored.get(key) if key in needed else None
        counted = row  # what of this row is in the tallies
        recorded = events[0][0]
        try:
            for recorded, event in events:
                if recorded.type in forgets:
                    scope = scope_of(recorded)
                    if row is not None and scope is not None and projection.in_scope(row, scope):
                        derived.note(tallies, counted, row)
                        row = counted = None
                    continue
                before, row = row, apply(row, recorded, event)
                if row is before:
                    continue
                if recorded.type in begins:  # the old row need not have been loaded
                    derived.note(tallies, counted, before)
                    counted = None
                elif history is not None and before is not None:
                    derived.remember(history, key, before, row, recorded)
            derived.note(tallies, counted, row)
        except Exception as error:
            return _fold_before(projection, stored, entries, poison_of(recorded, describe(error)))
        rows[key] = row
    return Fold(rows, touched.forgotten, touched.poison, derived)


def _fold_before(
    projection: AnyProjection, stored: dict[Key, Any], entries: Sequence[Entry], poison: Poison
) -> Fold:
    """Once more without the poison event and what follows it, which may hold another one that comes first."""
    before = [entry for entry in entries if entry[0].position < poison.position]
    result = fold(projection, stored, before, touched_by(projection, before))
    result.poison = result.poison or poison
    return result


def fold_all(projection: AnyProjection, entries: Iterable[Entry]) -> dict[Key, Any]:
    """The whole table as these events make it, from nothing. Raises `ValueError` at a poison event."""
    entries = list(entries)
    result = fold(projection, {}, entries, touched_by(projection, entries))
    if result.poison is not None:
        position, kind, reason = msgspec.structs.astuple(result.poison)
        raise ValueError(f"{projection.name} cannot fold position {position} ({kind}): {reason}")
    return {key: row for key, row in result.rows.items() if row is not None}


def event_types(*classes: type[Event]) -> frozenset[str]:
    """The tags of these event classes."""
    return frozenset(str(cls.__struct_config__.tag) for cls in classes)


def poison_of(recorded: Recorded, reason: str) -> Poison:
    return Poison(recorded.position, recorded.type, reason[:REASON_CHARS_MAX])


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def owned_by(recorded: Recorded) -> streams.ConversationKey:
    """Owner and conversation of an event for which `key_of` has given a key."""
    key = conversation_key(recorded.stream)
    if key is None:
        raise ValueError(f"{recorded.stream} is not a conversation")
    return key


@lru_cache(maxsize=4_096)
def conversation_key(stream: str) -> streams.ConversationKey | None:
    """`app.core.streams.conversation_key`, remembered: folds ask for it at every event."""
    return streams.conversation_key(stream)
