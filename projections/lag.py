"""How late each view is, as the database knows it: in events, and in seconds since the oldest of them.

One query for all views and partitions, the same on every node, whoever folds: of each only the one event in front of
its checkpoint is looked up.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import Error

from projections.pages import connect
from projections.projection import AnyProjection
from projections.reads import ReadPool, ViewsUnavailable

# The age is a subquery so that the planner cannot read all of the log instead of one event a view.
_LAGS = """
SELECT n.name, max(c.version), coalesce(sum(c.position), 0)::bigint,
       sum(greatest(p.position - coalesce(c.position, 0), 0))::bigint,
       coalesce(max(CASE WHEN p.position > coalesce(c.position, 0) THEN (
           SELECT greatest(extract(epoch FROM clock_timestamp() - e.recorded_at), 0)
           FROM events e WHERE e.partition = p.partition AND e.position = coalesce(c.position, 0) + 1
       ) END), 0)::float8,
       max(c.worker_pid) FILTER (WHERE c.lease_until > now()),
       coalesce(string_agg(CASE WHEN p.partitions > 1 THEN 'partition ' || p.partition || ', ' ELSE '' END
                           || c.problem, '; ' ORDER BY p.partition), '')
FROM unnest({names}::text[]) n (name)
CROSS JOIN (SELECT partition, position, count(*) OVER () AS partitions FROM partitions) p
LEFT JOIN projection_checkpoints c ON c.name = n.name AND c.partition = p.partition
GROUP BY n.name
"""


class Lag(msgspec.Struct, frozen=True):
    """`position` and `events` are sums over the partitions; `seconds` is the age of the oldest event of all of them
    that is not folded. Both are 0 where everything is folded, and grow while a view is stopped.

    `worker` is the backend of the node that folds it now. `problem`: the event that stopped it and why; or there is no
    such table, or it is of another version.
    """

    name: str
    version: int
    position: int
    events: int
    seconds: float
    worker: int | None = None
    problem: str = ""


def lags(dsn: str, projections: Sequence[AnyProjection]) -> list[Lag]:
    """In the order of the projections. Raises `psycopg.Error`."""
    with connect(dsn) as connection:
        rows = connection.execute(_LAGS.format(names="$1").encode(), (_names(projections),)).fetchall()
    return _told(projections, rows)


async def read_lags(pool: ReadPool, projections: Sequence[AnyProjection]) -> list[Lag]:
    """The same through a pool. Has no limit of its own: cancel it. Raises `ViewsUnavailable`."""
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(_LAGS.format(names="%s").encode(), (_names(projections),))
            return _told(projections, await cursor.fetchall())
    except Error as error:
        raise ViewsUnavailable(f"how far the views are cannot be read: {error}") from error


def _names(projections: Sequence[AnyProjection]) -> list[str]:
    return [projection.name for projection in projections]


def _told(projections: Sequence[AnyProjection], rows: Sequence[tuple[Any, ...]]) -> list[Lag]:
    found = {row[0]: row for row in rows}
    return [_one(projection, found.get(projection.name)) for projection in projections]


def _one(projection: AnyProjection, row: tuple[Any, ...] | None) -> Lag:
    if row is None or row[1] is None:
        events, seconds = (0, 0.0) if row is None else row[3:5]
        problem = "it has not been built; start the service"
        return Lag(projection.name, projection.version, 0, events, seconds, problem=problem)
    lag = Lag(*row)
    if lag.version == projection.version:
        return lag
    problem = f"its table has version {lag.version}, this release knows {projection.version}"
    return msgspec.structs.replace(lag, problem=problem)
