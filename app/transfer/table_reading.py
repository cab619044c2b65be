"""The rows of a table as they are at one position of the log, streamed a page at a time.

events   the log never changes below a position, so pages by position need no transaction and can be taken up
         at any time
views    one snapshot of the live tables, locked against being replaced, where they stand at the position; where they
         have gone on since, are missing or of another version: the views folded anew beside the live ones, up to
         exactly that position
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from app.core.envelope import Recorded
from app.log.errors import HoleInLog
from app.log.sql import statement
from app.transfer.tables import Source, Subject
from projections.building import beside
from projections.checkpoints import ProjectionStatus
from projections.pages import PAGE_EVENTS_MAX, connect, read_page
from projections.projection import AnyProjection
from projections.runner import ProjectionRunner

if TYPE_CHECKING:
    from psycopg import Connection

PAGE_ROWS = 1_000
PAGE_BYTES = 8 * 1024 * 1024
"""What a page of events should have about, by the payloads of the page before."""
PAGE_EVENTS_MIN = 10
STRETCH_EVENTS = 100_000
SNAPSHOT_ATTEMPTS = 20
EPOCH_CHARS = 12
EXPORTING = "minutebook_exporting"

_SESSION = b"SET timezone = 'UTC'; SET idle_in_transaction_session_timeout = '600s'"
_SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_HEADS = b"SELECT partition, position FROM partitions ORDER BY partition"
_CHECKPOINTS = (
    b"SELECT partition, position FROM projection_checkpoints WHERE name = $1 AND version = $2 ORDER BY 1"
)
_STRETCH = b"""
SELECT count(*), min(position) FILTER (WHERE within), max(position) FILTER (WHERE within)
FROM (SELECT position, recorded_at >= coalesce($4::timestamptz, '-infinity')
             AND recorded_at < coalesce($5::timestamptz, 'infinity') AS within
      FROM events WHERE partition = $1 AND position > $2 AND position <= $3) e
"""

Positions: TypeAlias = dict[int, int]
"""A position of each partition."""
Row: TypeAlias = tuple[Any, ...]
Folding: TypeAlias = Callable[[list[ProjectionStatus]], None]


class Place(msgspec.Struct, frozen=True):
    """Where a row stands in the order of its table: the source (of the log: the partition), and its key there."""

    source: int
    key: tuple[str, ...]


Rows: TypeAlias = Iterator[tuple[Place, Row]]


class Span(msgspec.Struct, frozen=True):
    """A time from `since` on and before `until`. None: no limit."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class ViewStopped(Exception):
    """A view cannot be folded up to the position."""


class Reading(msgspec.Struct, frozen=True):
    """A table at `positions`; `rows` gives what is behind a place. Use it inside `reading` only."""

    positions: Positions
    rows: Callable[[Place | None], Rows]


@contextmanager
def reading(
    dsn: str, subject: Subject, span: Span, positions: Positions | None, folding: Folding
) -> Generator[Reading]:
    """The table at these positions, or (None) as it is now. Raises `ViewStopped`, `HoleInLog`, `psycopg.Error`."""
    if subject.sources:
        with _views_at(dsn, subject, positions, folding) as (connection, found):
            yield Reading(found, lambda after: _view_rows(connection, subject, span, after))
        return
    with connect(dsn) as connection:
        connection.execute(_SESSION)
        found = _heads(connection) if positions is None else positions
        yield Reading(found, lambda after: _log_rows(connection, found, span, after))


def epoch_of(dsn: str) -> str:
    """Differs after a restore, as in every cursor."""
    with connect(dsn) as connection:
        (digest,) = connection.execute(statement("epoch").encode()).fetchone() or ("",)
    return str(digest)[:EPOCH_CHARS]


def _heads(connection: "Connection[Row]") -> Positions:
    return dict(connection.execute(_HEADS).fetchall())


@contextmanager
def _views_at(
    dsn: str, subject: Subject, positions: Positions | None, folding: Folding
) -> Generator[tuple["Connection[Row]", Positions]]:
    for _ in range(SNAPSHOT_ATTEMPTS):
        if positions is None and not _catch_up(dsn, subject.projections, folding):
            break
        with _snapshot(dsn, subject.projections) as (connection, live):
            if live is not None and positions in (None, live):
                yield connection, live
                return
        if positions is not None:
            break
    # The schema's lock is held until the rows are read: who else exports this subject from a fold waits.
    with beside(dsn, f"{EXPORTING}_{subject.name}") as place:
        if positions is None:
            with connect(dsn) as connection:
                positions = _heads(connection)
        builder = ProjectionRunner(place.dsn, subject.projections, in_place=True)
        _demand_folded(builder.run_to_end(folding, until=positions))
        with _snapshot(place.dsn, subject.projections) as (connection, found):
            if found != positions:
                # The connection with the schema's lock was lost, and another export came in.
                raise ViewStopped(
                    f"the schema {place.schema}, where the views were folded, is another export's by now; "
                    "run the same command again to go on"
                )
            yield connection, positions


def _catch_up(dsn: str, projections: Sequence[AnyProjection], folding: Folding) -> bool:
    """Fold the live views up to the log's end of now. False where they are not those of this release."""
    with connect(dsn) as connection:
        if not all(_checkpoints(connection, projection) for projection in projections):
            return False
        heads = _heads(connection)
    _demand_folded(ProjectionRunner(dsn, projections).run_to_end(folding, until=heads))
    return True


def _demand_folded(found: Sequence[ProjectionStatus]) -> None:
    for status in found:
        if status.stopped is not None:
            at = f"position {status.stopped.position} ({status.stopped.type})"
            raise ViewStopped(
                f"the view {status.name} has stopped at {at}: {status.stopped.reason}. "
                "`minutebook project status` shows it"
            )


@contextmanager
def _snapshot(
    dsn: str, projections: Sequence[AnyProjection]
) -> Generator[tuple["Connection[Row]", Positions | None]]:
    """What it reads stays as it is now, and where all of the views stand; None where they are apart or missing.

    The locks come before the snapshot: in that, a table that is put in the place of another one later would be empty.
    """
    with connect(dsn) as connection:
        connection.execute(_SESSION)
        if not all(_checkpoints(connection, projection) for projection in projections):
            yield connection, None
            return
        connection.execute(_SNAPSHOT)
        names = ", ".join(projection.name for projection in projections)
        connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE".encode())
        first, *others = (_checkpoints(connection, projection) for projection in projections)
        yield connection, first if first and all(other == first for other in others) else None
        connection.execute(b"ROLLBACK")


def _checkpoints(connection: "Connection[Row]", projection: AnyProjection) -> Positions:
    return dict(connection.execute(_CHECKPOINTS, (projection.name, projection.version)).fetchall())


def _view_rows(connection: "Connection[Row]", subject: Subject, span: Span, after: Place | None) -> Rows:
    for number, source in enumerate(subject.sources):
        if after is not None and number < after.source:
            continue
        place = after.key if after is not None and number == after.source else None
        indexes = [[column.name for column in subject.columns].index(name) for name in source.key]
        while True:
            query, arguments = _page_query(source, span, place)
            page = connection.execute(query, arguments).fetchall()
            for row in page:
                place = tuple(str(row[index]) for index in indexes)
                yield Place(number, place), row
            if len(page) < PAGE_ROWS:
                break


def _page_query(source: Source, span: Span, after: tuple[str, ...] | None) -> tuple[bytes, Sequence[object]]:
    """Names are ours, so nothing has to be quoted; values of the key are texts that Postgres reads by its columns."""
    key = ", ".join(source.key)
    arguments: list[object] = []
    conditions: list[str] = []
    for sign, at in ((">=", span.since), ("<", span.until)):
        if at is not None:
            arguments.append(at)
            conditions.append(f"{source.at} {sign} ${len(arguments)}::timestamptz")
    if after is not None:
        marks = ", ".join(f"${len(arguments) + n}" for n in range(1, len(after) + 1))
        arguments.extend(after)
        conditions.append(f"({key}) > ({marks})")
    where = " AND ".join(conditions) or "true"
    return (
        f"SELECT * FROM ({source.query}) t WHERE {where} ORDER BY {key} LIMIT {PAGE_ROWS}".encode(),  # noqa: S608
        arguments,
    )


def _log_rows(
    connection: "Connection[Row]", positions: Mapping[int, int], span: Span, after: Place | None
) -> Rows:
    for partition, end in sorted(positions.items()):
        if after is not None and partition < after.source:
            continue
        start = int(after.key[0]) if after is not None and partition == after.source else 0
        for recorded in _events(connection, partition, start, end, span):
            yield Place(partition, (str(recorded.position),)), msgspec.structs.astuple(recorded)


def _events(
    connection: "Connection[Row]", partition: int, after: int, end: int, span: Span
) -> Iterator[Recorded]:
    limit = PAGE_EVENTS_MAX // 10
    for start, stop in _stretches(connection, partition, after, end, span):
        position = start
        while position < stop:
            page = read_page(connection, partition, position, min(limit, stop - position))
            if not page:
                raise HoleInLog(f"(partition {partition})", position, stop)
            yield from (recorded for recorded in page if recorded.recorded_at in span)
            position = page[-1].position
            mean_bytes = sum(len(recorded.payload) for recorded in page) // len(page) + 1
            limit = max(PAGE_EVENTS_MIN, min(PAGE_EVENTS_MAX, PAGE_BYTES // mean_bytes))


def _stretches(
    connection: "Connection[Row]", partition: int, after: int, end: int, span: Span
) -> Iterator[tuple[int, int]]:
    """What has to be read, as positions (behind, up to): times ascend with positions nearly, but not quite.

    Nothing is left out that is in the span; what lies far from it is counted, and not read.
    """
    if span == Span():
        yield after, end
        return
    for start in range(after, end, STRETCH_EVENTS):
        stop = min(start + STRETCH_EVENTS, end)
        arguments = (partition, start, stop, span.since, span.until)
        count, first, last = connection.execute(_STRETCH, arguments).fetchone() or (0, None, None)
        if count != stop - start:
            raise HoleInLog(f"(partition {partition})", start, stop)
        if first is not None and last is not None:
            yield first - 1, last
