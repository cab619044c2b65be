"""Is a view what the log says? Its table is folded anew beside it, and the two are compared row by row.

    fold a shadow up to where the live table was ─► one snapshot: where is the live table now? ─► fold the shadow up to
    exactly there, seen by this transaction only ─► compare

So both are at the same position although folding goes on, and nobody is held up.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg

from projections.building import CHECKING, beside
from projections.checkpoints import ProjectionStatus
from projections.pages import PAGE_EVENTS_MAX, connect, decode_page, read_page
from projections.projection import AnyProjection, Key, fold, touched_by
from projections.runner import ProjectionRunner
from projections.tables import Table

DIFFERENCES_SHOWN_MAX = 20
_SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ"
_LIVE = b"SELECT partition, position FROM public.projection_checkpoints WHERE name = $1 AND version = $2 ORDER BY 1"
_SHADOW = b"SELECT partition, position FROM projection_checkpoints WHERE name = $1 ORDER BY 1"


class Difference(msgspec.Struct, frozen=True):
    """A row of a live table that is not as it should be. `kind`: `missing`, `surplus`, or `changed` in `columns`.
    `table`: where it is not the view's own, but one kept beside it."""

    key: dict[str, Any]
    kind: str
    columns: tuple[str, ...] = ()
    table: str = ""


class Checked(msgspec.Struct, frozen=True):
    """What a check has found: of `rows` at this position `differences` are wrong; the first 20 are `shown`.

    `position` is the sum over the partitions. `problem` says why the two could not be compared.
    """

    name: str
    version: int
    position: int
    rows: int
    differences: int
    shown: tuple[Difference, ...] = ()
    problem: str = ""

    @property
    def fine(self) -> bool:
        return not self.differences and not self.problem


def check(
    dsn: str,
    projection: AnyProjection,
    progress: Callable[[list[ProjectionStatus]], None] = lambda found: None,
) -> Checked:
    """Raises `psycopg.Error`. The live table is only read."""
    with beside(dsn, f"{CHECKING}_{projection.name}") as place:
        builder = ProjectionRunner(place.dsn, [projection], in_place=True)
        with connect(dsn) as connection:
            live = dict(connection.execute(_LIVE, (projection.name, projection.version)).fetchall())
        if not live:
            reason = (
                "there is no table of this version; start the service, or run `minutebook project rebuild`"
            )
            return Checked(projection.name, projection.version, 0, 0, 0, problem=reason)
        (status,) = builder.run_to_end(progress, until=live)
        if status.stopped is not None:
            at = f"position {status.stopped.position} ({status.stopped.type})"
            reason = f"cannot be folded: {at}: {status.stopped.reason}"
            return Checked(projection.name, projection.version, status.position, 0, 0, problem=reason)
        return _compare(place.dsn, projection)


def _compare(dsn: str, projection: AnyProjection) -> Checked:
    with connect(dsn) as connection, connect(dsn) as log:
        connection.execute("SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0")
        connection.execute(_SNAPSHOT)
        live = dict(connection.execute(_LIVE, (projection.name, projection.version)).fetchall())
        if not live:
            connection.execute(b"ROLLBACK")
            reason = "another release has put its table there meanwhile"
            return Checked(projection.name, projection.version, 0, 0, 0, problem=reason)
        shadow = dict(connection.execute(_SHADOW, (projection.name,)).fetchall())
        for partition, until in live.items():
            _fold_up_to(connection, log, projection, partition, shadow.get(partition, 0), until)
        rows, wrong = 0, 0
        shown: list[Difference] = []
        for name, key in projection.tables:
            row = connection.execute(_count(name, key)).fetchone()
            rows, wrong = (rows + row[0], wrong + row[1]) if row is not None else (rows, wrong)
            found = connection.execute(_differing(name, key)).fetchall()
            table = "" if name == projection.name else name
            shown += [_difference(table, *one) for one in found]
        connection.execute(b"ROLLBACK")
    shown = shown[:DIFFERENCES_SHOWN_MAX]
    return Checked(projection.name, projection.version, sum(live.values()), rows, wrong, tuple(shown))


def _fold_up_to(
    connection: psycopg.Connection[Any],
    log: psycopg.Connection[Any],
    projection: AnyProjection,
    partition: int,
    position: int,
    until: int,
) -> None:
    """In the transaction of the snapshot, which sees what it writes itself."""
    table = Table(projection)
    while position < until:
        page = decode_page(
            read_page(log, partition, position, min(PAGE_EVENTS_MAX, until - position)), projection.handles
        )
        touched = touched_by(projection, page.entries)
        stored, _ = table.load(connection, partition, touched.needed)
        table.write(connection, fold(projection, stored, page.entries, touched))
        position = page.end


def _joined(name: str, keys: Key) -> str:
    """Live and shadow rows side by side. JSON is compared as a value: the order of its keys does not matter."""
    same = " AND ".join(f"live.{column} = shadow.{column}" for column in keys)
    return (
        f"FROM public.{name} live FULL JOIN {name} shadow ON {same} "
        "WHERE to_jsonb(live) IS DISTINCT FROM to_jsonb(shadow)"
    )


def _count(name: str, keys: Key) -> bytes:
    return f"SELECT (SELECT count(*) FROM public.{name}), (SELECT count(*) {_joined(name, keys)})".encode()  # noqa: S608


def _differing(name: str, keys: Key) -> bytes:
    key = ", ".join(f"'{column}', coalesce(live.{column}, shadow.{column})" for column in keys)
    order = ", ".join(f"coalesce(live.{column}, shadow.{column})" for column in keys)
    return (
        f"SELECT jsonb_build_object({key}), to_jsonb(live), to_jsonb(shadow) {_joined(name, keys)} "
        f"ORDER BY {order} LIMIT {DIFFERENCES_SHOWN_MAX}"
    ).encode()


def _difference(
    table: str, key: dict[str, Any], live: dict[str, Any] | None, right: dict[str, Any] | None
) -> Difference:
    if live is None or right is None:
        return Difference(key, "missing" if live is None else "surplus", table=table)
    columns = tuple(column for column in right if live.get(column) != right.get(column))
    return Difference(key, "changed", columns, table)


def check_all(
    dsn: str,
    projections: Sequence[AnyProjection],
    progress: Callable[[list[ProjectionStatus]], None] = lambda found: None,
) -> list[Checked]:
    """One after the other. Raises `psycopg.Error`."""
    return [check(dsn, projection, progress) for projection in projections]
