"""Rows of a view as they were at a moment of their conversation: exactly what folding its stream up to there gives.

    row            ├──────────────┤              its first and its last change
    behind X     X │              │              was not there yet
    before X       │              │ X            is now as it was then
    around X       │      X       │              its own events are folded again, from its first one to X

Only rows around X cost anything: those of the runs that were at work then. Reads take them from a `Source`, beside the
rows that are as they were.

What was before a deletion is gone from the views; there the stream is folded from the last deletion before X, as far as
X. That is exact as well, and takes as long as folding does (some 40 ms for 1 000 events).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, LiteralString, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.envelope import Recorded
from projections.moments import Moment
from projections.pages import PAGE_EVENTS_MAX, decode_page
from projections.projection import AnyProjection, Damaged, Entry, Key, fold, touched_by
from projections.reads import read_one
from projections.tables import fetch_rows

Found = TypeVar("Found")
Rows: TypeAlias = dict[Key, Any]

FINISHED = "operation.finished"
"""Changes rows of two tasks: of the one that it is recorded for, and of the one that had asked for it."""

_EVENTS: LiteralString = """
SELECT %s::text AS stream, e.stream_offset AS "offset", e.position, e.partition, e.id, e.type,
       e.payload::text AS payload, e.schema_version, e.actor, e.task_id, e.causation_id, e.correlation_id,
       e.idempotency_key, e.recorded_at
FROM events e
WHERE e.stream_id = (SELECT id FROM streams WHERE name = %s) AND e.stream_offset > %s AND e.stream_offset <= %s
  AND e.type = ANY(%s)
  AND (%s::uuid[] IS NULL OR e.task_id = ANY(%s) OR e.type = ANY(%s) OR (%s AND e.task_id IS NULL))
ORDER BY e.stream_offset LIMIT %s
"""
_LAST_DELETION = b"""
SELECT stream_offset FROM events
WHERE stream_id = (SELECT id FROM streams WHERE name = %s)
  AND stream_offset > %s AND stream_offset <= %s AND type = 'conversation.deleted'
ORDER BY stream_offset DESC LIMIT 1
"""
_LIVES = b"SELECT first_offset <= %s FROM conversations WHERE owner = %s AND conversation_id = %s"


class PastUnfoldable(Exception):
    """An event of the past that this release cannot fold: the view is stopped in front of it as well."""


class Source(msgspec.Struct, frozen=True):
    """Where a read takes the rows of a view from: `sql` stands behind FROM, with `arguments`, the first of the query;
    `where` stands behind its other conditions.

    `until`: the offset behind which nothing has happened; None: this is the present. `whole`: no row of the table
    counts that is not in the source.
    """

    sql: str
    arguments: tuple[object, ...] = ()
    until: int | None = None
    whole: bool = False

    @property
    def where(self) -> str:
        return "" if self.until is None else f"AND last_offset <= {self.until}"


class View(msgspec.Struct, frozen=True):
    """How a view's rows are found by the last column of their key: their whole key, and the task to which they belong
    (None: to none). The rows have `owner`, `conversation_id`, `first_offset` and `last_offset`."""

    projection: AnyProjection
    key_of: Callable[[Moment, str], Key]
    task_of: Callable[[str], UUID | None]
    demand: Callable[[Rows], Rows] = lambda rows: rows


class _Around(msgspec.Struct, frozen=True):
    """A row that has changed on both sides of the moment."""

    key: str
    first_offset: int


async def read_at(
    pool: AsyncConnectionPool,
    view: View,
    moment: Moment,
    read: Callable[[Source], Awaitable[Found]],
) -> Found:
    """What `read` finds among the rows as they were. The view has to stand at `moment.head` or behind it.

    Raises `ViewsUnavailable`, `PastUnfoldable`.
    """
    if await lives(pool, moment):
        around = await _around(pool, view, moment)
        while True:
            rows = await fold_again(pool, view, moment, around)
            found = await read(_beside(view.projection, moment, rows))
            again = await _around(pool, view, moment)
            if again.keys() <= around.keys():  # else a row has changed for the first time behind X meanwhile
                break
            around = again
        if not await deleted_since(pool, moment):
            return found
    rows = view.demand(await fold_life(pool, view.projection, moment))
    return await read(_instead(view.projection, moment, rows))


async def lives(pool: AsyncConnectionPool, moment: Moment) -> bool:
    """Whether the conversation was there, and has not been deleted since, as far as the views know."""
    found = await read_one(pool, _LIVES, (moment.offset, moment.owner, moment.conversation_id))
    return found is not None and bool(found[0])


async def last_deletion(pool: AsyncConnectionPool, stream: str, until: int) -> int:
    """The offset of the last deletion up to `until`; 0: there is none."""
    found = await read_one(pool, _LAST_DELETION, (stream, 0, until))
    return int(found[0]) if found else 0


async def deleted_since(pool: AsyncConnectionPool, moment: Moment) -> bool:
    """Whether it was deleted while it was read."""
    return await read_one(pool, _LAST_DELETION, (moment.stream, moment.head, 2**62)) is not None


async def fold_life(
    pool: AsyncConnectionPool,
    projection: AnyProjection,
    moment: Moment,
    *,
    keys: Collection[Key] | None = None,
    tasks: Collection[UUID | None] | None = None,
) -> Rows:
    """The conversation's rows from the log alone; `keys` and `tasks` as for `fold_between`. Raises `PastUnfoldable`."""
    after = await last_deletion(pool, moment.stream, moment.offset)
    return await fold_between(pool, projection, moment.stream, after, moment.offset, keys=keys, tasks=tasks)


async def fold_again(
    pool: AsyncConnectionPool, view: View, moment: Moment, around: Mapping[str, _Around]
) -> Rows:
    """These rows as they were. Raises `PastUnfoldable`."""
    if not around:
        return {}
    tasks = [view.task_of(key) for key in around]
    return await fold_between(
        pool,
        view.projection,
        moment.stream,
        min(one.first_offset for one in around.values()) - 1,
        moment.offset,
        keys={view.key_of(moment, key) for key in around},
        tasks=tasks,
    )


async def fold_between(
    pool: AsyncConnectionPool,
    projection: AnyProjection,
    stream: str,
    after: int,
    until: int,
    *,
    rows: Mapping[Key, Any] | None = None,
    keys: Collection[Key] | None = None,
    tasks: Collection[UUID | None] | None = None,
) -> Rows:
    """`rows` with the events of a stream behind `after` and up to `until`; with `keys` only those that touch these
    rows, which belong to `tasks`. A page at a time. Raises `PastUnfoldable`.
    """
    found = dict(rows or {})
    while True:
        page = await _events(pool, projection, stream, after, until, tasks)
        if page:
            found = _folded(projection, found, page, keys)
            after = page[-1].offset
        if len(page) < PAGE_EVENTS_MAX:
            return found


async def _events(
    pool: AsyncConnectionPool,
    projection: AnyProjection,
    stream: str,
    after: int,
    until: int,
    tasks: Collection[UUID | None] | None,
) -> list[Recorded]:
    known = None if tasks is None else [task for task in tasks if task is not None]
    without = tasks is None or None in tasks
    handled = sorted(projection.handles)
    arguments = (stream, stream, after, until, handled, known, known, [FINISHED], without, PAGE_EVENTS_MAX)
    return await fetch_rows(pool, Recorded, _EVENTS, arguments)


def _folded(
    projection: AnyProjection, rows: Rows, page: list[Recorded], keys: Collection[Key] | None
) -> Rows:
    entries = decode_page(page, projection.handles).entries
    if keys is not None:
        entries = [entry for entry in entries if _touches(projection, entry, keys)]
    touched = touched_by(projection, entries)
    result = fold(projection, rows, entries, touched)
    if result.poison is not None:
        poison = result.poison
        raise PastUnfoldable(
            f"{projection.name}: position {poison.position} ({poison.type}): {poison.reason}"
        )
    for scope in result.forgotten:
        rows = {key: row for key, row in rows.items() if not projection.in_scope(row, scope)}
    rows.update((key, row) for key, row in result.rows.items() if row is not None)
    for key in [key for key, row in result.rows.items() if row is None]:
        rows.pop(key, None)
    return rows


def _touches(projection: AnyProjection, entry: Entry, keys: Collection[Key]) -> bool:
    recorded, event = entry
    return isinstance(event, Damaged) or projection.key_of(recorded, event) in keys


async def _around(pool: AsyncConnectionPool, view: View, moment: Moment) -> dict[str, _Around]:
    name, column = view.projection.name, view.projection.key[-1]
    found = await fetch_rows(
        pool,
        _Around,
        f"SELECT {column}::text AS key, first_offset FROM {name} "  # noqa: S608 (names are ours)
        "WHERE owner = %s AND conversation_id = %s AND last_offset > %s AND first_offset <= %s",
        (moment.owner, moment.conversation_id, moment.offset, moment.offset),
    )
    return {one.key: one for one in found}


def _beside(projection: AnyProjection, moment: Moment, rows: Rows) -> Source:
    """The rows of the table that are as they were, and these. No condition stands within: so the planner sees through
    it, and takes the indexes of the table."""
    name = projection.name
    given = f"SELECT * FROM json_populate_recordset(NULL::{name}, %s::json)"  # noqa: S608 (names are ours)
    sql = f"(SELECT * FROM {name} UNION ALL {given}) AS {name}"  # noqa: S608
    return Source(sql, (_json(rows),), moment.offset)


def _instead(projection: AnyProjection, moment: Moment, rows: Rows) -> Source:
    """These rows alone."""
    name = projection.name
    sql = f"json_populate_recordset(NULL::{name}, %s::json) AS {name}"
    return Source(sql, (_json(rows),), moment.offset, whole=True)


def _json(rows: Rows) -> str:
    return msgspec.json.encode(list(rows.values())).decode()
